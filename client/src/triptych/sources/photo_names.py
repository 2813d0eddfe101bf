"""What the name or the first bytes of a file say: a photo, the trace of another program, or something else."""

from __future__ import annotations

import os
from enum import Enum

PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".png", ".apng", ".webp", ".gif"),
    *(".bmp", ".dib", ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif"),
)
# Suffixes of other content: such a file is not opened. Any other suffix is found out by the first bytes.
_OTHER = """
.txt .md .csv .tsv .json .jsonl .ndjson .xml .yaml .yml .toml .cfg .ini .html .htm .css .js .py .ipynb .pyc .php .sh
.bat .dvc .sha256 .pdf .doc .docx .xls .xlsx .ods .odt .ppt .pptx .parquet .zip .rar .7z .gz .tar .tgz .bz2 .xz .iso
.exe .dll .log .url .mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg .3gp .wmv .mp3 .wav .aac .m4a .ogg .aae .xmp .thm .lnk
.db .db3 .sqlite .mdb .svg .svgz .psd .psb .ai .eps .indd .sketch .fig .xcf .kra .jxl .jp2 .j2k .jxr .wdp .hdr .exr
.tga .pcx .ico .icns .cur .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .dng .orf .rw2 .raf .pef .srw .raw .rwl .3fr .iiq
.x3f .ppm .pgm .pbm .pnm .dds .glb .gltf .obj .stl .fbx .usdz .npy .npz .pt .pth .onnx .h5 .pkl .safetensors .tfrecord
.lmdb .lst .dat .md5 .lrcat .lrprev
"""
_OTHER_SUFFIXES = frozenset(_OTHER.split())
_UNFINISHED_SUFFIXES = (
    *(".bak", ".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".filepart", ".old", ".orig", ".swp"),
    *(".lock", ".aria2", "~"),
)
# Left by macOS, Windows, NAS systems and editors, in lower case; one a line, because some have blanks.
_SYSTEM = """
__macosx
@eadir
@tmp
@sharebin
@snapshot
@recycle
@recently-snapshot
#snapshot
#recycle
$recycle.bin
recycler
system volume information
network trash folder
temporary items
lost+found
__pycache__
node_modules
ipynb_checkpoints
checkpoints
checkpoint
thumbs.db
ehthumbs.db
ehthumbs_vista.db
desktop.ini
picasa.ini
zbthumbnail.info
pspbrwse.jbf
"""
_SYSTEM_NAMES = frozenset(_SYSTEM.split("\n")[1:-1]) | {"icon\r"}
_SYSTEM_ENDINGS = ("@synoeastream", "@synoresource")
# Names of folders without the signs around them: `_thumbs`, `@thumb`.
_THUMBNAILS = frozenset({"cache", "caches", "thumb", "thumbs", "thumbnail", "thumbnails", "tmb"})
# Previews that Lightroom and Capture One keep beside a catalogue.
_PREVIEW_ENDINGS = (".lrdata", ".lrcat-data")

_HEIF_BRANDS = frozenset(
    (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
)
_DIB_HEADERS = frozenset((12, 16, 40, 52, 56, 64, 108, 124))


class Skip(Enum):
    """Why a file or a folder is not read as a photo, in the words of a report."""

    HIDDEN = "hidden"
    SYSTEM = "left by another program"
    THUMBNAILS = "thumbnails or a cache"
    UNFINISHED = "backup or unfinished copy"
    OTHER = "no photo"
    SPECIAL = "pipe, socket or device"
    LINK_AGAIN = "link to a folder that is read anyway"
    LINK_OUT = "link that leads out of the folder"
    LINK_BROKEN = "broken link"
    UNREADABLE = "cannot be read"
    UNCLASSED = "photo in no class folder"

    @property
    def is_fault(self) -> bool:
        """Whether a photo may be missing that the user meant."""
        return self in (Skip.LINK_OUT, Skip.LINK_BROKEN, Skip.UNREADABLE)


def suffix_of(name: str) -> str:
    """The suffix in lower case, with its dot; "" without one."""
    return os.path.splitext(name)[1].lower().strip()


def is_other_suffix(suffix: str) -> bool:
    """Whether the suffix is that of content that is no photo; the first bytes tell for suffixes that are unknown."""
    return suffix in _OTHER_SUFFIXES


def skip_by_name(name: str, is_folder: bool) -> Skip | None:
    """Why an entry is skipped, if its name alone says so."""
    lower = name.lower()
    if lower in _SYSTEM_NAMES or lower.endswith(_SYSTEM_ENDINGS):
        return Skip.SYSTEM
    if name.startswith("."):
        return Skip.HIDDEN
    if is_folder:
        is_preview = lower.endswith(_PREVIEW_ENDINGS)
        return Skip.THUMBNAILS if is_preview or lower.strip("_@.- ") in _THUMBNAILS else None
    return Skip.UNFINISHED if lower.startswith("~$") or lower.endswith(_UNFINISHED_SUFFIXES) else None


def is_photo_content(start: bytes) -> bool:
    """Whether a file that begins with these bytes, 32 or more where it has them, is JPEG, PNG, GIF, BMP, TIFF, WebP,
    AVIF or HEIC.
    """
    if start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")):
        return True
    if start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return True
    if start.startswith(b"BM"):
        return int.from_bytes(start[14:18], "little") in _DIB_HEADERS
    if start[4:8] == b"ftyp":
        return start[8:12] in _HEIF_BRANDS
    return start.startswith(b"RIFF") and start[8:12] == b"WEBP"
