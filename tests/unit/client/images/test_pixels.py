"""Pixels keep their values on the way to the server, and what is no picture gets a sentence."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from triptych import InvalidInput, UnreadableImage
from triptych._images.photo import MAX_IMAGE_BYTES, read_photo
from triptych._images.pixels import encode_array, encode_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_RANDOM = np.random.default_rng(0)
COLOURS = _RANDOM.integers(0, 256, (48, 64, 3), np.uint8)
GREY = _RANDOM.integers(0, 256, (48, 64), np.uint8)
ALPHA = _RANDOM.integers(0, 256, (48, 64, 4), np.uint8)
ORIENTATION = 0x0112


def decoded(photo: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(photo)) as image:
        return np.asarray(image)


def file_of(image: Image.Image, kind: str, **options: Any) -> io.BytesIO:
    content = io.BytesIO()
    image.save(content, kind, **options)
    content.seek(0)
    return content


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(COLOURS, id="rgb"),
        pytest.param(GREY, id="grey"),
        pytest.param(COLOURS[::-1, ::2], id="strided"),
        pytest.param(np.asfortranarray(COLOURS), id="column-major"),
        pytest.param(COLOURS.transpose(2, 0, 1).copy().transpose(1, 2, 0), id="from-chw"),
        pytest.param(COLOURS[:3], id="three-rows"),
        pytest.param(COLOURS[:1, :1], id="one-pixel"),
        pytest.param(COLOURS.view(type("_Sub", (np.ndarray,), {})), id="subclass"),
    ],
)
@pytest.mark.parametrize("max_bytes", [MAX_IMAGE_BYTES, 1], ids=["uncompressed", "compressed"])
def test_array_keeps_its_pixels(pixels: npt.NDArray[np.uint8], max_bytes: int) -> None:
    photo = encode_array(pixels, max_bytes=max_bytes)
    assert type(photo) is bytes
    assert np.array_equal(decoded(photo), pixels)


def test_array_is_compressed_when_its_pixels_alone_are_over_the_limit() -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    assert encode_array(pixels, max_bytes=31_000)[:2] in (b"II", b"MM")
    assert encode_array(pixels, max_bytes=30_999)[:4] == b"\x89PNG"
    assert len(encode_array(pixels, max_bytes=31_000)) <= 31_000


@pytest.mark.parametrize(
    ("array", "got", "advice"),
    [
        (np.zeros((4, 5, 3), np.float32), "float32[4,5,3]", "(pixels * 255).round().astype('uint8')"),
        (np.zeros((4, 5, 3), np.float64), "float64[4,5,3]", "(pixels * 255).round()"),
        (np.zeros((4, 5, 3), np.int64), "int64[4,5,3]", "Scale its values"),
        (np.zeros((4, 5), np.uint16), "uint16[4,5]", "Scale its values"),
        (np.zeros((4, 5), bool), "bool[4,5]", "astype('uint8') * 255"),
        (np.zeros((2, 4, 5, 3), np.uint8), "uint8[2,4,5,3]", "recognize_many"),
        (np.zeros((1, 3, 4, 5), np.float32), "float32[1,3,4,5]", "recognize_many"),
        (np.zeros((3, 40, 50), np.uint8), "uint8[3,40,50]", "transpose(1, 2, 0)"),
        (np.zeros((40, 50, 4), np.uint8), "uint8[40,50,4]", "pixels[:, :, :3]"),
        (np.zeros((40, 50, 1), np.uint8), "uint8[40,50,1]", "pixels[:, :, 0]"),
        (np.zeros((40, 50, 7), np.uint8), "uint8[40,50,7]", "three channels"),
        (np.zeros((1, 1, 4, 5, 3), np.uint8), "uint8[1,1,4,5,3]", "Pass one photo"),
        (np.frombuffer(b"\xff\xd8\xff\xe0", np.uint8), "uint8[4]", "tobytes()"),
        (np.zeros((400, 1), np.uint8), "uint8[400,1]", "tobytes()"),
        (np.array(7, np.uint8), "uint8[]", "tobytes()"),
        (np.zeros((0, 5, 3), np.uint8), "uint8[0,5,3]", "no pixels"),
        (np.array([b"\xff\xd8\0\0"]), "|S4[1]", "may lose zeros"),
        (np.array([b"\xff\xd8\0\0"], object), "object[1]", "as bytes"),
        (np.array(["shoe.jpg"]), "<U8[1]", "as bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_array_is_refused_with_shape_and_dtype_when_it_is_no_photo(
    array: npt.NDArray[Any], got: str, advice: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_photo(array)
    message = str(caught.value)
    assert f"got {got}; expected uint8[H,W,3], RGB, 0-255, or grey uint8[H,W]" in message
    assert advice in message
    assert message.endswith(".")
    assert len(message) < 400


def _palette_with_hole() -> Image.Image:
    image = Image.fromarray(COLOURS).quantize(16)
    image.info["transparency"] = 3
    return image


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(lambda: Image.fromarray(COLOURS), lambda image: COLOURS, id="RGB"),
        pytest.param(lambda: Image.fromarray(GREY), lambda image: GREY, id="L"),
        pytest.param(lambda: Image.fromarray(ALPHA), lambda image: ALPHA, id="RGBA"),
        pytest.param(
            lambda: Image.fromarray(GREY).convert("LA"), lambda image: np.asarray(image.convert("RGBA")), id="LA"
        ),
        pytest.param(lambda: Image.new("La", (4, 4)), lambda image: np.zeros((4, 4, 4), np.uint8), id="La"),
        pytest.param(
            lambda: Image.fromarray(COLOURS).quantize(16), lambda image: np.asarray(image.convert("RGB")), id="P"
        ),
        pytest.param(_palette_with_hole, lambda image: np.asarray(image.convert("RGBA")), id="P-transparent"),
        pytest.param(lambda: Image.fromarray(GREY > 127), lambda image: np.dstack([image] * 3) * np.uint8(255), id="1"),
        pytest.param(
            lambda: Image.fromarray(ALPHA).convert("CMYK"), lambda image: np.asarray(image.convert("RGB")), id="CMYK"
        ),
        pytest.param(
            lambda: Image.fromarray(COLOURS).convert("YCbCr"), lambda image: np.asarray(image.convert("RGB")), id="YCC"
        ),
        pytest.param(lambda: Image.fromarray(GREY.astype(np.uint16) << 8 | 99), lambda image: GREY, id="I;16"),
        pytest.param(lambda: Image.fromarray((GREY.astype(np.uint16) << 8).astype(">u2")), lambda image: GREY, id="BE"),
    ],
)
@pytest.mark.parametrize("max_bytes", [MAX_IMAGE_BYTES, 1], ids=["uncompressed", "compressed"])
def test_image_shows_the_same_in_every_mode(
    make: Callable[[], Image.Image], expected: Callable[[Image.Image], npt.NDArray[np.uint8]], max_bytes: int
) -> None:
    image = make()
    assert np.array_equal(decoded(encode_image(image, max_bytes=max_bytes)), expected(image))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_stands_upright_when_its_file_only_notes_the_orientation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = file_of(Image.fromarray(COLOURS), kind, exif=exif)
    with Image.open(file) as image, Image.open(file) as same:
        upright = np.asarray(ImageOps.exif_transpose(same).convert("RGB"))
        assert upright.shape[:2] == ((64, 48) if orientation > 4 else (48, 64))
        assert np.array_equal(decoded(read_photo(image)), upright)
        assert np.array_equal(decoded(read_photo(image.convert("RGB"))), upright)
        assert np.array_equal(decoded(read_photo(ImageOps.exif_transpose(image))), upright)
        assert "exif" not in Image.open(io.BytesIO(read_photo(image))).info


def test_image_is_left_as_it_was() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    with Image.open(file_of(Image.fromarray(COLOURS), "PNG", exif=exif)) as image:
        read_photo(image)
        assert image.size == (64, 48)
        assert image.getexif()[ORIENTATION] == 6


def test_image_of_several_frames_gives_the_one_it_stands_at() -> None:
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 200)]
    with Image.open(file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])) as image:
        image.seek(1)
        assert decoded(read_photo(image)).max() == 200


@pytest.mark.parametrize("mode", ["I", "F"])
def test_image_is_refused_when_its_mode_has_no_white(mode: str) -> None:
    with pytest.raises(InvalidInput, match=f"mode '{mode}', 32 bits per sample"):
        read_photo(Image.new(mode, (4, 4)))


def test_image_is_refused_when_it_has_no_pixels() -> None:
    with pytest.raises(InvalidInput, match="got 0 x 5"):
        read_photo(Image.new("RGB", (0, 5)))


def test_image_is_refused_when_its_file_is_cut_short() -> None:
    whole = file_of(Image.fromarray(COLOURS), "JPEG").getvalue()
    with (
        Image.open(io.BytesIO(whole[: len(whole) // 2])) as image,
        pytest.raises(UnreadableImage, match=r"cannot be read .*truncated"),
    ):
        read_photo(image)


def test_image_is_refused_when_its_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "shoe.png"
    Image.fromarray(COLOURS).save(path)
    with Image.open(path) as image:
        pass
    with pytest.raises(UnreadableImage, match="while its file is open"):
        read_photo(image)


_IMPORTS = """
import json, sys
import triptych._images.photo
after_import = "PIL" in sys.modules
triptych._images.photo.read_photo(b"photo")
after_bytes = "PIL" in sys.modules
triptych._images.photo.read_photo(triptych._images.photo.np.zeros((2, 2, 3), "uint8"))
print(json.dumps([after_import, after_bytes, "PIL" in sys.modules]))
"""


def test_pillow_is_imported_only_when_pixels_come() -> None:
    answer = subprocess.run([sys.executable, "-c", _IMPORTS], check=True, capture_output=True, text=True).stdout
    assert json.loads(answer) == [False, False, True]
