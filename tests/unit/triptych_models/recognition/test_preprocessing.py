"""The pure decoder against Pillow's own full decode and torchvision's Resize + CenterCrop."""

from __future__ import annotations

import io
import re

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps
from torchvision.transforms import v2

from tests.faults.hostile_bombs import many_scans
from triptych_models.errors import ImageTooLarge, InvalidPhoto, UnreadableImage
from triptych_models.recognition.preprocessing import Limits, preprocess
from triptych_models.recognition.transform import Transform

TRANSFORM = Transform(side_px=224, crop_ratio=0.875, interpolation="bicubic")
LIMITS = Limits(max_image_bytes=20_000_000, max_image_pixels=50_000_000)
REFERENCE = v2.Compose([v2.Resize(256, v2.InterpolationMode.BICUBIC), v2.CenterCrop(224)])

# Resampling a box in one step instead of resizing and then cropping rounds differently in the last bit or two.
SAME_PIXELS_ATOL = 2


def photo_of(width_px: int, height_px: int, mode: str = "RGB") -> Image.Image:
    """A smooth, asymmetric picture: turned, mirrored or shifted it is another."""
    x = np.linspace(0, 1, width_px)[None, :]
    y = np.linspace(0, 1, height_px)[:, None]
    channels = [255 * x * (1 - 0.3 * y), 255 * y**2 + 0 * x, 127 + 120 * np.sin(9 * x + 5 * y)]
    return Image.fromarray(np.stack(channels, axis=2).clip(0, 255).astype(np.uint8)).convert(mode)


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def reference_pixels(photo: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(photo)) as image:
        upright = ImageOps.exif_transpose(image)
        assert upright is not None
        if upright.has_transparency_data:
            rgba = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return np.asarray(REFERENCE(upright.convert("RGB")))


def largest_difference(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> int:
    return int(np.abs(left.astype(int) - right.astype(int)).max())


@pytest.mark.parametrize("size", [(40, 40), (224, 224), (256, 300), (301, 257), (640, 480), (333, 1000), (50, 1500)])
@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_preprocess_equals_reference_when_lossless(size: tuple[int, int], image_format: str) -> None:
    photo = encode(photo_of(*size), image_format)
    pixels = preprocess(photo, TRANSFORM, LIMITS)
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    assert largest_difference(pixels, reference_pixels(photo)) <= SAME_PIXELS_ATOL


@pytest.mark.parametrize("size", [(640, 480), (901, 1203), (1799, 2401), (4000, 3000)])
def test_preprocess_stays_near_reference_when_jpeg_is_shrunk_by_dct(size: tuple[int, int]) -> None:
    photo = encode(photo_of(*size), "JPEG", quality=92)
    # A DCT-scaled decode filters differently; on a smooth picture a shift of half a pixel would show as more than 4.
    assert largest_difference(preprocess(photo, TRANSFORM, LIMITS), reference_pixels(photo)) <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(341, 256), (257, 600), (2000, 1501)])
def test_preprocess_turns_photo_upright_when_exif_says_so(orientation: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = encode(photo_of(*size), "JPEG", quality=95, exif=exif.tobytes())
    assert largest_difference(preprocess(photo, TRANSFORM, LIMITS), reference_pixels(photo)) <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("image_format", "options"),
    [("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("PNG", {}), ("WEBP", {"lossless": True})],
)
def test_preprocess_turns_photo_upright_when_not_a_jpeg(
    image_format: str, options: dict[str, object], orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = encode(photo_of(257, 600), image_format, exif=exif, **options)
    # Pillow itself treats each format in its own way; the pixels are the same, so the reference is that of one of them.
    same_as_png = encode(photo_of(257, 600), "PNG", exif=exif)
    difference = largest_difference(preprocess(photo, TRANSFORM, LIMITS), reference_pixels(same_as_png))
    assert difference <= SAME_PIXELS_ATOL


def test_preprocess_ignores_orientation_when_exif_value_is_unknown() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    plain = preprocess(encode(photo_of(300, 400), "JPEG"), TRANSFORM, LIMITS)
    assert np.array_equal(preprocess(encode(photo_of(300, 400), "JPEG", exif=exif.tobytes()), TRANSFORM, LIMITS), plain)


@pytest.mark.parametrize(
    ("mode", "image_format"),
    [("L", "JPEG"), ("L", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("P", "PNG"), ("P", "GIF"), ("1", "PNG")],
)
def test_preprocess_equals_reference_when_mode_is_not_rgb(mode: str, image_format: str) -> None:
    photo = encode(photo_of(301, 257, mode), image_format)
    assert largest_difference(preprocess(photo, TRANSFORM, LIMITS), reference_pixels(photo)) <= SAME_PIXELS_ATOL


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF"])
def test_preprocess_puts_transparency_on_white(image_format: str) -> None:
    rgba = photo_of(300, 300).convert("RGBA")
    rgba.putalpha(Image.linear_gradient("L").resize((300, 300)))
    photo = encode(rgba, image_format, **({"lossless": True} if image_format == "WEBP" else {}))
    assert largest_difference(preprocess(photo, TRANSFORM, LIMITS), reference_pixels(photo)) <= SAME_PIXELS_ATOL


def test_preprocess_puts_palette_transparency_on_white() -> None:
    palette = Image.new("P", (300, 300), 0)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    pixels = preprocess(encode(palette, "PNG", transparency=0), TRANSFORM, LIMITS)
    assert (pixels == 255).all()


def test_preprocess_keeps_high_byte_when_grey_has_16_bits() -> None:
    grey = np.asarray(photo_of(300, 260, "L")).astype(np.uint16)
    deep = preprocess(encode(Image.fromarray(grey * 256 + 77), "PNG"), TRANSFORM, LIMITS)
    shallow = preprocess(encode(Image.fromarray(grey.astype(np.uint8)), "PNG"), TRANSFORM, LIMITS)
    assert np.array_equal(deep, shallow)


def test_preprocess_takes_first_frame_when_animated() -> None:
    first, second = photo_of(300, 300), Image.new("RGB", (300, 300), "red")
    photo = encode(first, "GIF", save_all=True, append_images=[second])
    assert largest_difference(preprocess(photo, TRANSFORM, LIMITS), reference_pixels(photo)) <= SAME_PIXELS_ATOL


def test_preprocess_reads_the_first_picture_of_a_phones_mpo() -> None:
    first, second = photo_of(900, 1200), Image.new("RGB", (900, 1200), "red")
    photo = encode(first, "MPO", save_all=True, append_images=[second])
    assert photo.startswith(b"\xff\xd8")
    assert largest_difference(preprocess(photo, TRANSFORM, LIMITS), reference_pixels(photo)) <= 4


def test_preprocess_reads_progressive_jpeg_as_baseline() -> None:
    baseline = preprocess(encode(photo_of(1200, 900), "JPEG"), TRANSFORM, LIMITS)
    progressive = preprocess(encode(photo_of(1200, 900), "JPEG", progressive=True), TRANSFORM, LIMITS)
    assert largest_difference(baseline, progressive) <= SAME_PIXELS_ATOL


def test_preprocess_reads_one_pixel() -> None:
    pixels = preprocess(encode(Image.new("RGB", (1, 1), (9, 99, 200)), "PNG"), TRANSFORM, LIMITS)
    assert (pixels == (9, 99, 200)).all()


def test_preprocess_follows_transform_when_side_is_another() -> None:
    transform = Transform(side_px=260, crop_ratio=1.0, interpolation="bilinear")
    reference = v2.Compose([v2.Resize(260, v2.InterpolationMode.BILINEAR), v2.CenterCrop(260)])
    pixels = preprocess(encode(photo_of(500, 400), "PNG"), transform, LIMITS)
    assert largest_difference(pixels, np.asarray(reference(photo_of(500, 400)))) <= SAME_PIXELS_ATOL


WHOLE_JPEG = encode(photo_of(300, 300), "JPEG")


@pytest.mark.parametrize(
    ("photo", "sentence"),
    [
        (b"", "got 0 bytes"),
        (b"this is a text, not a photo", "got plain text; expected a complete JPEG"),
        (WHOLE_JPEG[:20], "got a JPEG file that is damaged or cut short"),
        (WHOLE_JPEG[: len(WHOLE_JPEG) // 2], "the JPEG file is damaged or cut short"),
        (encode(photo_of(300, 300), "PNG")[:500], "the PNG file is damaged or cut short"),
        (encode(photo_of(300, 300), "ICO"), "got an icon (ICO)"),
        (encode(photo_of(50, 50, "F"), "TIFF"), "32 bits a sample"),
        (encode(photo_of(50, 50, "I"), "TIFF"), "32 bits a sample"),
        (WHOLE_JPEG[:-2], "the JPEG file is damaged or cut short"),
    ],
)
def test_preprocess_refuses_with_a_sentence_when_unreadable(photo: bytes, sentence: str) -> None:
    with pytest.raises(UnreadableImage) as refusal:
        preprocess(photo, TRANSFORM, LIMITS)
    message = str(refusal.value)
    assert message.startswith("unreadable image: ")
    assert sentence in message
    assert re.search(r"file\. [A-Z].*\.$", message), "ends with what mends it"


def test_preprocess_refuses_when_over_bytes() -> None:
    with pytest.raises(ImageTooLarge, match=r"^image too large: 0\.0 MB; the limit is 1e-05 MB"):
        preprocess(WHOLE_JPEG, TRANSFORM, Limits(max_image_bytes=10, max_image_pixels=50_000_000))


def test_preprocess_refuses_before_decoding_when_over_pixels() -> None:
    bomb = encode(Image.new("1", (40_000, 40_000)), "PNG")
    assert len(bomb) < 300_000
    with pytest.raises(ImageTooLarge, match=r"40000 x 40000 = 1600\.0 megapixels; the limit is 50 megapixels"):
        preprocess(bomb, TRANSFORM, LIMITS)


def test_refusals_are_of_one_family() -> None:
    assert issubclass(UnreadableImage, InvalidPhoto)
    assert issubclass(ImageTooLarge, InvalidPhoto)


def large(mode: str) -> bytes:
    """5 megapixels, more than are brought to RGB at once."""
    image = photo_of(2_500, 2_100)
    if mode == "I;16":
        return encode(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 256 + 77), "PNG")
    if mode == "RGBA":
        image = image.convert("RGBA")
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        return encode(image, "PNG", compress_level=1)
    return encode(image.quantize(64) if mode == "P" else image.convert(mode), "PNG", compress_level=1)


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "I;16"])
def test_preprocess_sees_the_same_when_a_large_photo_is_shrunk_in_bands(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = large(mode)
    in_bands = preprocess(photo, TRANSFORM, LIMITS)
    monkeypatch.setattr("triptych_models.recognition.photos.geometry.WHOLE_PX", 10_000_000)
    # The same sums in another order: the last bit may differ.
    assert largest_difference(in_bands, preprocess(photo, TRANSFORM, LIMITS)) <= 1


@pytest.mark.parametrize(
    ("photo", "sentence"),
    [
        (
            encode(Image.new("RGB", (4_000, 4_000)), "WEBP", method=0),
            r"WebP of 4000 x 4000 that takes 256 MB of memory",
        ),
        (
            encode(Image.new("RGB", (6_100, 6_100)), "JPEG", progressive=True, subsampling=0),
            r"JPEG of 6100 x 6100 that takes 223 MB of memory",
        ),
        (many_scans(400, 101), r"JPEG of 400 x 400 in 102 scans; the limit is 100 scans"),
    ],
    ids=["webp", "progressive", "scans"],
)
def test_preprocess_refuses_before_decoding_what_would_cost_too_much(photo: bytes, sentence: str) -> None:
    with pytest.raises(ImageTooLarge, match=sentence):
        preprocess(photo, TRANSFORM, LIMITS)


def test_preprocess_takes_large_photos_of_cheap_kinds() -> None:
    for photo in (
        encode(Image.new("RGB", (7_000, 7_000)), "JPEG"),
        encode(Image.new("RGB", (5_000, 5_000)), "JPEG", progressive=True),
        encode(Image.new("RGB", (7_000, 7_000)), "PNG", compress_level=1),
        encode(Image.new("RGB", (3_000, 4_000)), "WEBP", method=0),
        many_scans(400, 90),
    ):
        assert preprocess(photo, TRANSFORM, LIMITS).shape == (224, 224, 3)
