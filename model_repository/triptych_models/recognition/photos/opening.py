"""Opens a photo: what it is, whether it is read, whether decoding stays within the limits. Decodes no pixel."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from triptych_models.errors import ImageTooLarge, InvalidPhoto, UnreadableImage
from triptych_models.recognition.photos.decode_cost import check_cost, display_name
from triptych_models.recognition.photos.geometry import TURNS, Turn
from triptych_models.recognition.photos.isobmff import StillFile
from triptych_models.recognition.photos.raw_photos import raw_photo_kind
from triptych_models.recognition.photos.signatures import kind_of
from triptych_models.recognition.photos.still_files import is_still_file, open_still_file

# Pillow's names; AVIF and HEIC are opened by `still_files`. MPO, the JPEG variant of many phones, is opened as JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

_EXIF_ORIENTATION = 0x0112

# `open_photo` checks the size before a pixel is decoded; Pillow's own limit would only warn.
Image.MAX_IMAGE_PIXELS = None

# Pillow warns about each damaged tag with a different text: 2,000 log lines for one photo, all of them remembered.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class Limits:
    """Limits that are checked before a pixel is decoded."""

    max_image_bytes: int
    max_image_pixels: int

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Limits:
        """The limits in the parameters of a model's config."""
        return cls(int(parameters["max_image_bytes"]), int(parameters["max_image_pixels"]))


@dataclass(frozen=True)
class OpenedPhoto:
    """A photo whose header is read.

    Attributes:
        image: Pillow's; pixels are decoded when it is loaded.
        still: the boxes of a HEIC or AVIF file, None for other formats.
        turn: what turns the decoded photo upright; None where it is upright.
        format_name: for sentences.
    """

    image: Image.Image
    still: StillFile | None
    turn: Turn | None
    format_name: str


def open_photo(photo: bytes, limits: Limits) -> OpenedPhoto:
    """Opens a photo.

    Raises:
        UnreadableImage: not in one of the formats that are read, or its header is damaged.
        ImageTooLarge: over `limits`, or its decoding would cost too much.
    """
    if not photo:
        raise UnreadableImage("got 0 bytes", "The file is empty: send the original.")
    if len(photo) > limits.max_image_bytes:
        raise ImageTooLarge(f"{len(photo) / 1e6:.1f} MB", f"{limits.max_image_bytes / 1e6:g} MB")
    image, still = open_still_file(photo) if is_still_file(photo) else (_open(photo), None)
    width_px, height_px = image.size
    if width_px * height_px > limits.max_image_pixels:
        raise ImageTooLarge(
            f"{width_px} x {height_px} = {width_px * height_px / 1e6:.1f} megapixels",
            f"{limits.max_image_pixels / 1e6:g} megapixels",
        )
    name = display_name(image.format)
    try:
        check_cost(image, photo, still)
    except InvalidPhoto:
        raise
    except Exception as error:  # tags that are not numbers
        raise UnreadableImage(f"the {name} file is damaged") from error
    return OpenedPhoto(image, still, _turn_of(image), name)


def _open(photo: bytes) -> Image.Image:
    raw = raw_photo_kind(photo)
    if raw is None:
        try:
            return Image.open(io.BytesIO(photo), formats=FORMATS)
        except Exception as error:  # decoders raise errors of any class; the photo is the cause
            cause = error
    else:
        cause = None
    kind = kind_of(photo)
    if kind is not None:
        raise UnreadableImage(f"got {kind.name}", kind.mend) from cause
    raise UnreadableImage(f"got {len(photo)} bytes of no format that is known here") from cause


def _turn_of(image: Image.Image) -> Turn | None:
    """The turn that a decoded photo still needs.

    Pillow turns a TIFF while it loads it, and reports the turned size; libheif turns a HEIC file, and Pillow reports
    the boxes of an AVIF file as EXIF. As in a browser, XMP turns nothing, nor does EXIF that cannot be read or stands
    behind the pixels.
    """
    data = image.info.get("exif")
    if image.format == "TIFF" or not isinstance(data, bytes):
        return None
    try:
        exif = Image.Exif()
        exif.load(data)
        return TURNS.get(exif.get(_EXIF_ORIENTATION, 1))
    except Exception:  # Pillow raises errors of any class on damaged EXIF; the pixels are whole
        return None
