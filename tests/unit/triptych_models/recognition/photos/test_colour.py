"""Colours are those that a browser shows: profiles and colour numbers are converted to sRGB, damaged ones ignored."""

from __future__ import annotations

import io
import struct

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from tests.faults.photo_parts import encode, picture, png_chunk
from tests.faults.still_file_parts import heic
from tests.unit.triptych_models.recognition.photos.photos_of_shops import (
    PRIMARIES,
    cmyk_profile,
    encoded,
    grey_profile,
    rgb_profile,
)
from triptych_models.recognition.preprocessing import Limits, preprocess
from triptych_models.recognition.transform import Transform

TRANSFORM = Transform(side_px=224, crop_ratio=0.875, interpolation="bicubic")
LIMITS = Limits(max_image_bytes=20_000_000, max_image_pixels=50_000_000)
SRGB = ImageCms.createProfile("sRGB")
# 8 bits of a wider space are coarser than those of sRGB; mean over the photo.
MAX_MEAN_DIFFERENCE = 2.0
PHOTO = picture(500, 400)


def pixels_of(photo: bytes) -> npt.NDArray[np.int_]:
    return preprocess(photo, TRANSFORM, LIMITS).astype(int)


def difference(left: bytes, right: bytes) -> float:
    return float(np.abs(pixels_of(left) - pixels_of(right)).mean())


def in_space_of(image: Image.Image, profile: bytes) -> Image.Image:
    """The same colours in other numbers."""
    transform = ImageCms.buildTransform(SRGB, ImageCms.ImageCmsProfile(io.BytesIO(profile)), "RGB", "RGB")
    return Image.fromarray(np.asarray(transform.apply(image)))


@pytest.mark.parametrize("name", PRIMARIES)
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_colours_are_those_of_srgb_when_the_file_has_a_profile(name: str, image_format: str) -> None:
    profile = rgb_profile(name)
    twin = encoded(PHOTO, image_format, None)
    other = in_space_of(PHOTO, profile)
    assert difference(encoded(other, image_format, profile), twin) < MAX_MEAN_DIFFERENCE
    assert difference(encoded(other, image_format, None), twin) > 2 * MAX_MEAN_DIFFERENCE, "else this cannot fail"


def test_avif_and_heic_are_converted_when_they_have_a_profile() -> None:
    profile = rgb_profile("Adobe RGB")
    other = in_space_of(PHOTO, profile)
    for make in (heic, lambda image, **options: encode(image, "AVIF", subsampling="4:4:4", quality=95, **options)):
        assert difference(make(other, icc_profile=profile), encoded(PHOTO, "PNG", None)) < 2 * MAX_MEAN_DIFFERENCE


def test_heic_is_converted_when_its_colour_box_says_display_p3() -> None:
    profile = rgb_profile("Display P3")
    content = bytearray(heic(in_space_of(PHOTO, profile), quality=95, chroma=444))
    at = content.find(b"colrnclx") + 8
    twin = encoded(PHOTO, "PNG", None)
    unlabelled = difference(bytes(content), twin)
    content[at : at + 4] = struct.pack(">HH", 12, 13)
    assert difference(bytes(content), twin) < 0.7 * unlabelled


def test_photo_is_the_same_when_its_profile_is_srgb_under_any_name() -> None:
    plain = encoded(PHOTO, "PNG", None)
    assert np.array_equal(pixels_of(encoded(PHOTO, "PNG", ImageCms.ImageCmsProfile(SRGB).tobytes())), pixels_of(plain))


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_greys_are_converted_when_the_profile_is_of_greys(mode: str) -> None:
    levels = np.tile(np.linspace(0, 255, 300), (300, 1)).astype(np.uint8)
    image = Image.fromarray(levels)
    grey = Image.fromarray(levels.astype(np.uint16) << 8) if mode == "I;16" else image.convert(mode)
    linear = pixels_of(encode(grey, "PNG", icc_profile=grey_profile(1.0)))
    plain = pixels_of(encode(grey, "PNG"))
    linear_light = plain / 255
    expected = 255 * np.where(
        linear_light <= 0.0031308, 12.92 * linear_light, 1.055 * linear_light ** (1 / 2.4) - 0.055
    )
    assert np.abs(linear - expected).max() <= 2


def test_inks_are_converted_when_the_profile_is_of_a_printer() -> None:
    image = Image.new("CMYK", (64, 64), (0, 0, 0, 128))
    for image_format in ("JPEG", "TIFF"):
        grey = pixels_of(encode(image, image_format, icc_profile=cmyk_profile()))
        # Lightness 50 is 119 in sRGB; without a profile, half the ink is half the value.
        assert np.abs(grey - 119).max() <= 3
        assert np.abs(pixels_of(encode(image, image_format)) - 127).max() <= 1


def damaged_profiles() -> dict[str, bytes]:
    whole = rgb_profile("Adobe RGB")
    return {
        "empty": b"",
        "noise": bytes(range(256)) * 4,
        "cut": whole[:200],
        "header alone": whole[:128],
        "says 2 GB": b"\x7f" + whole[1:],
        "no tags": whole[:128] + bytes(4) + whole[132:],
        "tags beyond the end": whole[:136] + b"\xff" * 76 + whole[212:],
        "of inks": cmyk_profile(),
        "of greys": grey_profile(2.2),
        "a device link": whole[:12] + b"link" + whole[16:],
        "named colours": whole[:12] + b"nmcl" + whole[16:],
        "of Lab": whole[:16] + b"Lab " + whole[20:],
        "black primaries": whole.replace(b"XYZ \0\0\0\0", b"XYZ \0\0\0\0" + bytes(12))[: len(whole)],
        "9 MB": whole + bytes(9_000_000),
    }


@pytest.mark.parametrize("name", damaged_profiles())
def test_profile_costs_no_answer_when_damaged_or_of_other_channels(name: str) -> None:
    profile = damaged_profiles()[name]
    for image_format in ("JPEG", "TIFF") if profile else ("JPEG",):
        if name == "9 MB" and image_format == "JPEG":
            continue
        answered = pixels_of(encode(PHOTO, image_format, icc_profile=profile))
        if name not in ("9 MB", "says 2 GB", "black primaries"):
            assert np.array_equal(answered, pixels_of(encode(PHOTO, image_format)))


def with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    return png[:33] + b"".join(png_chunk(kind, content) for kind, content in chunks) + png[33:]


GAMMA_1 = (b"gAMA", struct.pack(">I", 100_000))
P3_CHROMATICITIES = (
    b"cHRM",
    struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
)


def test_png_is_converted_when_it_tells_gamma_or_primaries() -> None:
    plain = encode(Image.new("RGB", (64, 64), (100, 100, 100)), "PNG")
    # 100 of 255 in linear light is 168 in sRGB.
    assert np.abs(pixels_of(with_chunks(plain, GAMMA_1)) - 168).max() <= 1
    red = encode(Image.new("RGB", (64, 64), (200, 40, 40)), "PNG")
    p3 = pixels_of(with_chunks(red, (b"gAMA", struct.pack(">I", 45_455)), P3_CHROMATICITIES))[0, 0]
    cicp = pixels_of(with_chunks(red, (b"cICP", bytes([12, 13, 0, 1]))))[0, 0]
    assert p3[0] > 210
    assert np.abs(p3 - cicp).max() <= 10  # a power of 2.2 is not sRGB's curve near black
    assert p3[1] < 40


def test_png_follows_the_order_of_its_rules_when_several_colours_are_told() -> None:
    """The chunk cICP before iCCP before sRGB before gAMA; primaries without a gamma tell nothing."""
    plain = encode(Image.new("RGB", (64, 64), (100, 100, 100)), "PNG")
    expected = pixels_of(plain)
    srgb = (b"sRGB", b"\0")
    for chunks in ([srgb, GAMMA_1], [GAMMA_1, srgb], [P3_CHROMATICITIES], [(b"cICP", bytes([1, 13, 0, 1])), GAMMA_1]):
        assert np.array_equal(pixels_of(with_chunks(plain, *chunks)), expected)
    for number in (0, 1, 2**31, 2**32 - 1):
        assert pixels_of(with_chunks(plain, (b"gAMA", struct.pack(">I", number)))).shape == (224, 224, 3)


def test_grey_of_16_bits_keeps_its_transparency() -> None:
    values = np.full((64, 64), 1_000, np.uint16)
    values[:, 32:] = 40_000
    photo = with_chunks(encode(Image.fromarray(values), "PNG"), (b"tRNS", struct.pack(">H", 1_000)))
    pixels = pixels_of(photo)
    assert (pixels[:, :100] == 255).all()
    assert (pixels[:, 124:] == 40_000 >> 8).all()
