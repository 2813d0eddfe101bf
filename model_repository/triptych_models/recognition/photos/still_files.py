"""Opens HEIC and AVIF photos: one thread each, the primary picture alone, nothing registered with Pillow.

libheif and libde265 (package `pillow-heif`) decode HEIC; Pillow's own libavif and dav1d decode AVIF. `pillow-heif` is
imported when the first HEIC photo comes.
"""

from __future__ import annotations

import io

from PIL import AvifImagePlugin, Image

from triptych_models.errors import ImageTooLarge, UnreadableImage
from triptych_models.recognition.photos.isobmff import StillFile, read_still_file, still_picture_of
from triptych_models.recognition.photos.signatures import kind_of

AVIF_BRANDS = (b"avif", b"avis")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
# Brands of either; the pictures' codec decides.
_EITHER_BRANDS = (b"mif1", b"mif2", b"msf1", b"miaf", b"MiHE", b"MiHB", b"MiPr")

# A model instance decodes one photo at a time; instances are as many as cores. 0 would be a thread for each core.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

# Phones write 192 tiles for 48 megapixels. A tile may be named any number of times.
MAX_DECODES = 1_024
# Of all tiles, which may be larger than the picture that they are cut to: 900 times one tile of 4 megapixels took
# minutes, 60 megapixels take 2 s. Phones write 28 for 24 megapixels.
MAX_DECODED_PX = 60_000_000


def is_still_file(photo: bytes) -> bool:
    """Whether the first box says that the file holds still pictures."""
    return photo[4:8] == b"ftyp" and photo[8:12] in (*AVIF_BRANDS, *HEIC_BRANDS, *_EITHER_BRANDS)


def open_still_file(photo: bytes) -> tuple[Image.Image, StillFile]:
    """Opens the primary picture; pixels are decoded when it is loaded.

    Raises:
        UnreadableImage: no still picture, a damaged file, or a codec that is not installed.
        ImageTooLarge: a picture composed of too many pictures.
    """
    still = read_still_file(photo)
    if still is None:
        kind = kind_of(photo)
        if kind is not None:
            raise UnreadableImage(f"got {kind.name}", kind.mend)
        raise UnreadableImage("the HEIC or AVIF file is damaged")
    kinds = set(still.item_kinds.values())
    if still.decodes > MAX_DECODES or b"iovl" in kinds:
        raise ImageTooLarge(f"a photo composed of {still.decodes:,} pictures", f"{MAX_DECODES:,}, and no overlays")
    if still.decodes > 1 and still.decoded_px > MAX_DECODED_PX:
        found = f"a photo composed of {still.decodes:,} pictures of {still.decoded_px / 1e6:,.0f} megapixels in all"
        raise ImageTooLarge(found, f"{MAX_DECODED_PX / 1e6:g} megapixels")
    is_avif = b"av01" in kinds
    if not still.is_complete:
        raise UnreadableImage(f"the {'AVIF' if is_avif else 'HEIC'} file is damaged or cut short")
    if not still.is_sized:
        raise UnreadableImage(f"the {'AVIF' if is_avif else 'HEIC'} file is damaged: a picture in it has no size")
    if not is_avif and b"hvc1" not in kinds:
        names = {b"jpeg": "JPEG", b"j2k1": "JPEG 2000", b"vvc1": "VVC", b"avc1": "AVC", b"unci": "no compression"}
        codec = next((name for kind, name in names.items() if kind in kinds), "an unknown compression")
        raise UnreadableImage(f"got a HEIF photo with {codec} inside", "Save or export it as JPEG or PNG.")
    content = io.BytesIO(still_picture_of(photo, still))
    try:
        return (_open_avif if is_avif else _open_heic)(content), still
    except UnreadableImage:
        raise
    except Exception as error:
        raise UnreadableImage(f"the {'AVIF' if is_avif else 'HEIC'} file is damaged or cut short") from error


def _open_avif(content: io.BytesIO) -> Image.Image:
    if not AvifImagePlugin.SUPPORTED:
        raise UnreadableImage("got an AVIF photo; this server's Pillow is built without AVIF", "Send a JPEG or PNG.")
    return AvifImagePlugin.AvifImageFile(content)


def _open_heic(content: io.BytesIO) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile, options
    except ImportError as error:
        raise UnreadableImage(
            "got a HEIC photo; this server has no decoder for it",
            "Send it as JPEG, or ask the server's operator to install the Python package pillow-heif.",
        ) from error
    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    image: Image.Image = HeifImageFile(content)  # type: ignore[no-untyped-call]
    return image
