"""AVIF and HEIC: read like the other formats, turned once, bounded before a pixel is decoded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import AvifImagePlugin, Image

from tests.faults.photo_parts import encode, picture
from tests.faults.still_file_parts import (
    Item,
    avif,
    avif_of_frames,
    grid_data,
    heic,
    heic_of_10_bits,
    still_file,
    tile,
    transparent,
    with_size,
)
from triptych_models.errors import ImageTooLarge, UnreadableImage
from triptych_models.recognition.preprocessing import Limits, preprocess
from triptych_models.recognition.transform import Transform

TRANSFORM = Transform(side_px=224, crop_ratio=0.875, interpolation="bicubic")
LIMITS = Limits(max_image_bytes=20_000_000, max_image_pixels=50_000_000)
ORIENTATION = 0x0112
# Both codecs lose some; mean over the photo. A turned or mirrored one differs by 30 and more.
MAX_MEAN_DIFFERENCE = 5.0
PHOTO = picture(400, 300)


def pixels_of(photo: bytes) -> npt.NDArray[np.int_]:
    return preprocess(photo, TRANSFORM, LIMITS).astype(int)


def difference(left: bytes, right: bytes) -> float:
    return float(np.abs(pixels_of(left) - pixels_of(right)).mean())


KINDS = {
    "avif": avif(PHOTO),
    "avif of frames": avif_of_frames(PHOTO, PHOTO.rotate(90)),
    "heic": heic(PHOTO),
    "heic in tiles": heic(PHOTO, tile_size=128),
    "heic of 10 bits": heic_of_10_bits(PHOTO),
}


@pytest.mark.parametrize("name", KINDS)
def test_still_file_is_read_as_the_same_photo_in_png(name: str) -> None:
    assert difference(KINDS[name], encode(PHOTO, "PNG")) < MAX_MEAN_DIFFERENCE


@pytest.mark.parametrize("make", [avif, heic])
def test_transparency_is_put_on_white(make: Callable[..., bytes]) -> None:
    photo = transparent(PHOTO)
    assert difference(make(photo), encode(photo, "PNG")) < MAX_MEAN_DIFFERENCE


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("make", [avif, heic])
def test_still_file_is_turned_once_when_boxes_and_exif_both_turn_it(
    make: Callable[..., bytes], orientation: int
) -> None:
    """Both encoders turn EXIF's orientation into boxes; libheif's writes EXIF as well."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    expected = encode(PHOTO, "JPEG", quality=95, subsampling=0, exif=exif.tobytes())
    assert difference(make(PHOTO, exif=exif.tobytes()), expected) < MAX_MEAN_DIFFERENCE


def test_exif_turns_no_still_file_whose_boxes_do_not() -> None:
    """As browsers and phones show it: the boxes alone decide."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    turned = heic(PHOTO, exif=exif.tobytes())
    without_box = turned.replace(b"irot", b"free")
    assert difference(without_box, encode(PHOTO, "PNG")) < MAX_MEAN_DIFFERENCE


def test_photo_of_a_phone_is_read_when_it_has_24_megapixels() -> None:
    size = 5_712, 4_284
    photo = still_file([Item(b"grid", grid_data(12, 9, size), size, [2] * 108), tile(512)])
    assert pixels_of(photo).shape == (224, 224, 3)


LARGE = Image.new("RGB", (6_000, 5_000), (9, 99, 199))


@pytest.mark.parametrize(
    ("photo", "sentence"),
    [
        (with_size(avif(PHOTO), 6_000, 5_000), r"an AVIF of 6000 x 5000 that takes 285 MB of memory"),
        (with_size(heic(PHOTO), 6_000, 5_000), r"a HEIC of 6000 x 5000 that takes 255 MB of memory"),
        # The coded picture counts, not what the box says: libavif would decode all of it, and then shrink it.
        (with_size(avif(LARGE), 64, 64), r"an AVIF of 6000 x 5000 that takes 285 MB"),
        (with_size(heic(PHOTO), 16_384, 16_384), r"16384 x 16384 = 268\.4 megapixels; the limit is 50 megapixels"),
        (
            still_file([Item(b"grid", grid_data(30, 30, (512, 512)), (512, 512), [2] * 900), tile(512)]),
            "a photo composed of 900 pictures of 236 megapixels in all; the limit is 60 megapixels",
        ),
        (
            still_file([Item(b"grid", grid_data(100, 80, (6400, 5120)), (6400, 5120), [2] * 8_000), tile()]),
            "composed of 8,000 pictures; the limit is 1,024",
        ),
    ],
    ids=["avif", "heic", "avif that says less", "heic that says more", "large tiles", "tiles"],
)
def test_still_file_is_refused_before_decoding_what_would_cost_too_much(photo: bytes, sentence: str) -> None:
    with pytest.raises(ImageTooLarge, match=sentence):
        pixels_of(photo)


@pytest.mark.parametrize(
    "photo",
    [
        with_size(heic(PHOTO), 64, 64),
        heic(PHOTO).replace(b"ispe", b"free"),
        KINDS["heic in tiles"][: int(0.9 * len(KINDS["heic in tiles"]))],
        KINDS["avif"][:-100],
    ],
    ids=["says less", "says no size", "tiles missing", "cut"],
)
def test_still_file_is_refused_when_it_contradicts_itself_or_ends_early(photo: bytes) -> None:
    with pytest.raises(UnreadableImage, match="is damaged"):
        pixels_of(photo)


def test_heic_is_named_with_the_mend_when_its_decoder_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "photo.heic").write_bytes(KINDS["heic"])
    code = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from triptych_models.recognition.preprocessing import *\n"
        "from triptych_models.recognition.transform import Transform\n"
        "photo = open(sys.argv[1], 'rb').read()\n"
        "preprocess(photo, Transform(224, 0.875, 'bicubic'), Limits(10**7, 10**7))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "photo.heic")], capture_output=True, text=True, check=False
    )
    assert "got a HEIC photo; this server has no decoder for it" in ran.stderr
    assert "install the Python package pillow-heif" in ran.stderr


def test_nothing_of_pillow_changes_when_a_heic_photo_is_read() -> None:
    """The package's own opener would change what `Image.open` and `Image.save` do everywhere in the process."""
    pixels_of(KINDS["heic"])
    Image.init()
    assert "HEIF" not in Image.OPEN
    assert "HEIF" not in Image.SAVE
    assert AvifImagePlugin.DEFAULT_MAX_THREADS == 1
