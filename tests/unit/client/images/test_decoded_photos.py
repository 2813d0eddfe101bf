"""Photos that the client itself decodes: crops, PIL images, perceptual hashes; AVIF, HEIC, ICC profiles, 16 bits."""

from __future__ import annotations

import io
import itertools
import struct
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from triptych import InvalidInput, UnreadableImage
from triptych._images.hashes import differing_bits, perceptual_hash
from triptych._images.photo import MAX_IMAGE_BYTES, read_photo
from triptych._images.pixels import crop_photo
from triptych.testing import FakeServer, fake_client

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BOX = (8, 4, 40, 36)


def smooth(width: int = 64, height: int = 48) -> npt.NDArray[np.uint8]:
    """A picture that lossy formats keep: slopes and a few shapes."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], axis=-1)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = (250, 40, 30)
    return np.asarray(pixels, np.uint8)


def press_profile() -> bytes:
    """A CMYK profile whose inks are far from Pillow's formula: cyan alone is L* 80, a* -40, b* 0."""
    inks = np.array(list(itertools.product((0, 1), repeat=4)))
    lab = np.stack([100 - 20 * inks[:, :3].sum(axis=1), 40 * (inks[:, 1] - inks[:, 0]), 60 * inks[:, 2]], axis=1)
    lab[inks[:, 3] == 1] = 0
    grid = np.round(lab * (2.55, 1, 1) + (0, 128, 128)).astype(np.uint8)
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    table: bytes = b"mft1\0\0\0\0\4\3\2\0" + matrix + identity * 4 + grid.tobytes() + identity * 3
    head = struct.pack(">I4sI4s4s4s12x4s", 144 + len(table), b"", 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    head = head.ljust(128, b"\0")
    return head + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def decoded(photo: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(photo))
    image.load()
    return image


def heic(pixels: npt.NDArray[np.uint8], **options: Any) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed: `make setup` installs it")
    content = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(content, quality=95, **options)
    return content.getvalue()


@pytest.fixture
def without_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra `heif` were not installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)


# Of noise-free photos at quality 95, the mean error of a channel stays below 6 of 255.
_LOSS = 6.0


def test_crop_of_avif_and_heic_shows_its_part() -> None:
    pixels = smooth()
    left, top, right, bottom = BOX
    for photo in (encoded(Image.fromarray(pixels), "AVIF", quality=95), heic(pixels)):
        assert read_photo(photo) == photo
        part = np.asarray(decoded(read_photo(photo, box=BOX)).convert("RGB"), np.float64)
        assert part.shape == (32, 32, 3)
        assert np.abs(part - pixels[top:bottom, left:right]).mean() < _LOSS


def test_heic_stands_upright_when_it_is_cropped() -> None:
    """Its rotation is in the file's own boxes; the EXIF orientation beside them must not turn it again."""
    pixels = smooth()
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = heic(np.rot90(pixels).copy(), exif=exif.tobytes())
    whole = np.asarray(decoded(crop_photo(photo, (0, 0, 64, 48), max_bytes=MAX_IMAGE_BYTES)).convert("RGB"), np.float64)
    assert whole.shape in ((48, 64, 3), (48, 48, 3))
    assert np.abs(whole - pixels[:, : whole.shape[1]]).mean() < _LOSS


def test_hash_of_avif_and_heic_is_that_of_the_same_photo() -> None:
    pixels = smooth(256, 192)
    expected = perceptual_hash(encoded(Image.fromarray(pixels), "PNG"))
    for photo in (encoded(Image.fromarray(pixels), "AVIF", quality=95), heic(pixels)):
        assert differing_bits(perceptual_hash(photo), expected) <= 2


def test_heic_says_what_is_missing_and_goes_without_a_hash_when_the_extra_is_not_installed(without_heif: None) -> None:
    photo = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(40)
    assert read_photo(photo) == photo
    with pytest.raises(UnreadableImage) as caught:
        read_photo(photo, box=BOX)
    assert "for a HEIC photo, cropping needs pillow-heif, which is not installed" in str(caught.value)
    assert "pip install 'triptych-client[heif]'" in str(caught.value)
    assert "the server reads HEIC" in str(caught.value)
    with pytest.raises(UnreadableImage, match="computing its perceptual hash needs pillow-heif"):
        perceptual_hash(photo)
    with fake_client(FakeServer(catalogue_key="secret"), catalogue_key="secret") as client:
        client.catalogue.upsert("shoe", photo)
        product = client.catalogue.get("shoe")
        assert product is not None
        assert product.photos[0].phash is None
        assert client.match(photo).method == "digest"


def test_damaged_heic_and_avif_are_refused_by_the_crop() -> None:
    for photo in (heic(smooth()), encoded(Image.fromarray(smooth()), "AVIF")):
        with pytest.raises(UnreadableImage, match="cannot be cropped"):
            read_photo(photo[: len(photo) // 2], box=BOX)


def test_heic_leaves_pillows_registry_as_it_was() -> None:
    perceptual_hash(heic(smooth()))
    Image.init()
    assert "HEIF" not in Image.OPEN


@pytest.mark.parametrize("max_bytes", [MAX_IMAGE_BYTES, 1], ids=["uncompressed", "compressed"])
def test_profile_travels_with_the_part_of_a_photo(max_bytes: int) -> None:
    wide = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = encoded(Image.fromarray(smooth()), "PNG", icc_profile=wide)
    part = decoded(crop_photo(photo, BOX, max_bytes=max_bytes))
    assert part.info["icc_profile"] == wide
    assert np.array_equal(np.asarray(part), smooth()[4:36, 8:40])
    image = decoded(photo)
    assert decoded(read_photo(image)).info["icc_profile"] == wide
    assert decoded(read_photo(image.convert("RGBA"))).info["icc_profile"] == wide


@pytest.mark.parametrize(
    "profile", [b"", b"junk", SRGB[:16] + b"CMYK" + SRGB[20:], SRGB[:16] + b"GRAY" + SRGB[20:], "text"]
)
def test_profile_of_other_pixels_is_left_out(profile: Any) -> None:
    image = Image.fromarray(smooth())
    image.info["icc_profile"] = SRGB[:16] + profile + SRGB[20:] if profile in (b"CMYK", b"GRAY") else profile
    found = decoded(read_photo(image))
    assert "icc_profile" not in found.info
    assert np.array_equal(np.asarray(found), smooth())


def test_cmyk_is_shown_by_its_own_profile() -> None:
    image = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    image.info["icc_profile"] = press_profile()
    for photo in (read_photo(image), read_photo(encoded(image, "TIFF", icc_profile=press_profile()), box=(0, 0, 8, 8))):
        found = decoded(photo)
        assert "icc_profile" not in found.info
        # L* 80, a* -40, b* 0 of D50 in sRGB, by CIE's formulas; 3: 8 bits for each of a* and b*.
        assert np.abs(np.asarray(found, int) - (96, 219, 197)).max() <= 3


def test_cmyk_without_a_usable_profile_is_shown_by_pillows_formula() -> None:
    image = Image.fromarray(smooth()).convert("CMYK")
    for profile in (None, b"junk", SRGB[:16] + b"CMYK" + SRGB[20:], SRGB):
        image.info["icc_profile"] = profile
        found = decoded(read_photo(image))
        assert "icc_profile" not in found.info
        assert np.array_equal(np.asarray(found), np.asarray(image.convert("RGB")))


def test_grey_of_16_bits_keeps_its_transparency_and_is_hashed_like_8_bits() -> None:
    grey = smooth(256, 192)[:, :, 0]
    deep = (grey.astype(np.uint16) << 8) | 7
    photo = encoded(Image.fromarray(deep), "PNG", transparency=int(deep[0, 100]))
    whole = np.asarray(decoded(crop_photo(photo, (0, 0, 256, 192), max_bytes=MAX_IMAGE_BYTES)))
    assert whole.shape == (192, 256, 4)
    assert np.array_equal(whole[:, :, 0], grey)
    assert np.array_equal(whole[:, :, 3] == 0, grey == grey[0, 100])
    assert np.array_equal(np.asarray(decoded(read_photo(decoded(photo)))), whole)
    assert differing_bits(perceptual_hash(photo), perceptual_hash(encoded(Image.fromarray(grey), "PNG"))) <= 2


def test_damaged_exif_costs_a_crop_nothing() -> None:
    photo = encoded(Image.fromarray(smooth()), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert np.array_equal(np.asarray(decoded(read_photo(photo, box=BOX))), smooth()[4:36, 8:40])


def test_crop_names_the_formats_when_the_photo_is_none() -> None:
    with pytest.raises(UnreadableImage, match="Send a complete JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file"):
        read_photo(b"\0 no photo", box=BOX)
    with pytest.raises(InvalidInput, match="outside the photo of 64 x 48 pixels"):
        read_photo(encoded(Image.fromarray(smooth()), "AVIF"), box=(64, 0, 70, 10))
