"""Folders as cameras, macOS, Windows, NAS systems and editors leave them: each file is a photo or is named."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.sources.photo_files import (
    PHOTO_SUFFIXES,
    Skip,
    SkippedFile,
    SkippedFiles,
    printable_path,
    walk_photos,
)
from triptych.sources.photo_names import is_photo_content

JPEG, TEXT = b"\xff\xd8\xff\xe0" + bytes(40), b"no photo at all, but text that goes on"
HEADERS = {
    "jpeg": JPEG,
    "png": b"\x89PNG\r\n\x1a\n" + bytes(30),
    "gif": b"GIF89a" + bytes(30),
    "webp": b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20),
    "bmp": b"BM" + bytes(12) + (40).to_bytes(4, "little") + bytes(20),
    "tiff": b"MM\0*" + bytes(30),
    "avif": b"\0\0\0 ftypavif" + bytes(20),
    "heic": b"\0\0\0 ftypheic" + bytes(20),
}
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make("a/b.jpg", "c.txt", content=...)` makes these files below a folder and returns it."""

    def call(*names: str, content: bytes = JPEG) -> Path:
        for name in names:
            path = tmp_path / "shop" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path / "shop"

    return call


def photos_of(folder: Path) -> list[str]:
    return [os.path.relpath(found, folder) for found in walk_photos(folder) if isinstance(found, str)]


def skipped_of(folder: Path) -> dict[str, Skip]:
    return {
        os.path.relpath(found.path, folder): found.reason
        for found in walk_photos(folder)
        if isinstance(found, SkippedFile)
    }


@pytest.mark.parametrize("suffix", PHOTO_SUFFIXES)
def test_photo_is_found_by_its_suffix_in_any_case(make: Make, suffix: str) -> None:
    folder = make(f"a{suffix}", f"b{suffix.upper()}", f"c.v2{suffix.title()}", content=b"not opened")
    assert len(photos_of(folder)) == 3


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("name", ["IMG_0001", "shoe.v2", "Dr. Martens", "1.jpg_large", "x.jpg?v=3", "12345.0"])
def test_photo_without_a_known_suffix_is_found_by_its_first_bytes(make: Make, kind: str, name: str) -> None:
    folder = make(name, content=HEADERS[kind])
    make("README", "shoe.v3", content=TEXT)
    make("empty", content=b"")
    assert photos_of(folder) == [name]
    assert set(skipped_of(folder).values()) == {Skip.OTHER}


@pytest.mark.parametrize(
    "start", [b"", b"BM is a word", b"\0\0\0 ftypisom" + bytes(20), b"RIFF\0\0\0\0WAVE", b"GIF is a word", b"%PDF-1.7"]
)
def test_first_bytes_of_other_files_are_no_photo(start: bytes) -> None:
    assert not is_photo_content(start)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("._1.jpg", Skip.HIDDEN),
        (".DS_Store", Skip.HIDDEN),
        (".hidden/1.jpg", Skip.HIDDEN),
        (".git/objects/1.jpg", Skip.HIDDEN),
        (".thumbnails/1.jpg", Skip.HIDDEN),
        (".ipynb_checkpoints/1-checkpoint.jpg", Skip.HIDDEN),
        (".@__thumb/1.jpg", Skip.HIDDEN),
        ("__MACOSX/red/._1.jpg", Skip.SYSTEM),
        ("@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", Skip.SYSTEM),
        ("Thumbs.db", Skip.SYSTEM),
        ("THUMBS.DB", Skip.SYSTEM),
        ("desktop.ini", Skip.SYSTEM),
        ("Icon\r", Skip.SYSTEM),
        ("$RECYCLE.BIN/1.jpg", Skip.SYSTEM),
        ("#recycle/1.jpg", Skip.SYSTEM),
        ("lost+found/1.jpg", Skip.SYSTEM),
        ("System Volume Information/1.jpg", Skip.SYSTEM),
        ("__pycache__/1.jpg", Skip.SYSTEM),
        ("1.jpg@SynoEAStream", Skip.SYSTEM),
        ("thumbnails/1.jpg", Skip.THUMBNAILS),
        ("_thumbs/1.jpg", Skip.THUMBNAILS),
        ("Cache/1.jpg", Skip.THUMBNAILS),
        ("1.jpg~", Skip.UNFINISHED),
        ("~$1.jpg", Skip.UNFINISHED),
        ("1.jpg.part", Skip.UNFINISHED),
        ("1.jpg.crdownload", Skip.UNFINISHED),
        ("1.jpg.bak", Skip.UNFINISHED),
        ("1.psd", Skip.OTHER),
        ("1.CR2", Skip.OTHER),
        ("1.svg", Skip.OTHER),
        ("1.mp4", Skip.OTHER),
        ("labels.csv", Skip.OTHER),
    ],
)
def test_traces_of_other_programs_are_skipped_with_their_reason(make: Make, name: str, reason: Skip) -> None:
    folder = make(name, "red/1.jpg")
    assert photos_of(folder) == ["red/1.jpg"]
    assert skipped_of(folder) == {name.split("/")[0]: reason}


def test_skipped_files_are_counted_by_reason_and_suffix_with_the_first_examples(make: Make) -> None:
    folder = make(*(f"{number}.psd" for number in range(5)), "a.txt", ".x", "1.jpg")
    counted = SkippedFiles()
    for found in walk_photos(folder):
        if isinstance(found, SkippedFile):
            counted.add(found)
    told = {each.reason: each for each in counted.by_reason()}
    assert {reason: each.count for reason, each in told.items()} == {
        "no photo (.psd)": 5,
        "no photo (.txt)": 1,
        "hidden": 1,
    }
    assert told["no photo (.psd)"].examples == tuple(str(folder / f"{number}.psd") for number in range(3))
    assert (len(counted), counted.faults) == (7, 0)


def test_order_is_by_name_with_the_files_of_a_folder_before_its_folders(make: Make) -> None:
    folder = make("b/2.jpg", "b/1.jpg", "a/z/1.jpg", "a/3.jpg", "c.jpg")
    assert photos_of(folder) == ["c.jpg", "a/3.jpg", "a/z/1.jpg", "b/1.jpg", "b/2.jpg"]


def test_links_are_followed_once_and_otherwise_named(make: Make, tmp_path: Path) -> None:
    folder = make("red/1.jpg", "red/deep/2.jpg", ".data/blue/3.jpg")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "4.jpg").write_bytes(JPEG)
    links = {
        "red/up": folder,
        "red/self": folder / "red",
        "again": folder / "red/deep",
        "blue": folder / ".data/blue",
        "blue-too": folder / ".data/blue",
        "far": outside,
        "red/far.jpg": outside / "4.jpg",
        "red/near.jpg": folder / "red/1.jpg",
        "red/gone.jpg": folder / "gone.jpg",
        "red/gone": folder / "gone",
        "notes.txt": folder / "gone.txt",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target, target_is_directory=target.is_dir())
    (folder / "red/round").symlink_to(folder / "red/round")
    assert photos_of(folder) == ["blue/3.jpg", "red/1.jpg", "red/near.jpg", "red/deep/2.jpg"]
    assert skipped_of(folder) == {
        ".data": Skip.HIDDEN,
        "again": Skip.LINK_AGAIN,
        "blue-too": Skip.LINK_AGAIN,
        "far": Skip.LINK_OUT,
        "notes.txt": Skip.OTHER,
        "red/far.jpg": Skip.LINK_OUT,
        "red/gone": Skip.LINK_BROKEN,
        "red/gone.jpg": Skip.LINK_BROKEN,
        "red/round": Skip.LINK_BROKEN,
        "red/self": Skip.LINK_AGAIN,
        "red/up": Skip.LINK_AGAIN,
    }


def test_pipe_is_named_and_not_opened(make: Make) -> None:
    folder = make("1.jpg")
    os.mkfifo(folder / "2.jpg")
    os.mkfifo(folder / "pipe")
    assert photos_of(folder) == ["1.jpg"]
    assert skipped_of(folder) == {"2.jpg": Skip.SPECIAL, "pipe": Skip.SPECIAL}


def test_folder_that_vanishes_is_named_with_the_systems_reason(make: Make, tmp_path: Path) -> None:
    folder = make("1.jpg", "red/2.jpg")
    walk = walk_photos(folder)
    assert next(walk) == str(folder / "1.jpg")
    (folder / "red").rename(tmp_path / "elsewhere")
    (found,) = walk
    assert found == SkippedFile(str(folder / "red"), Skip.UNREADABLE, True, "No such file or directory")


def test_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    (found,) = walk_photos(tmp_path / "nowhere")
    assert isinstance(found, SkippedFile)
    assert (found.reason, found.is_folder) == (Skip.UNREADABLE, True)


def test_tree_deeper_than_pythons_stack_is_read(tmp_path: Path) -> None:
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(os.open("1.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=place))
    os.close(place)
    assert list(walk_photos(tmp_path)) == [f"{tmp_path}{'/d' * 1500}/1.jpg"]
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # pytest's own cleaning is recursive


def test_name_that_is_not_utf8_is_found_and_can_be_printed(make: Make) -> None:
    folder = make("1.jpg")
    with open(os.fsencode(folder) + b"/sch\xf6n\n.jpg", "wb") as file:
        file.write(JPEG)
    (_, strange) = photos_of(folder)
    assert printable_path(strange) == "sch\\xf6n\\n.jpg"
    printable_path(strange).encode()


NAMES = st.one_of(
    st.sampled_from(
        [
            *("a.jpg", "b.JPEG", "c.heic", "IMG_1", "d.txt", "e.psd", ".f.jpg", "._g.jpg", "h.jpg~", "i.jpg.part"),
            *("Thumbs.db", "desktop.ini", "ü.png", "u\u0308.png", "j .jpg", "k.jpg ", "l.gif.jpg", "m.unknown"),
        ]
    ),
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=12),
).filter(lambda name: name not in (".", ".."))
FOLDERS = st.sampled_from(
    ["red", "blue", ".git", "__MACOSX", "@eaDir", "cache", "x y", "train", "Ä", "red/front", "a/b/c"]
)
TREES = st.lists(st.tuples(FOLDERS, NAMES, st.sampled_from([JPEG, TEXT, b""])), max_size=25)


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_every_file_is_a_photo_or_is_skipped_exactly_once(tree: list[tuple[str, str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        for folder, name, content in tree:
            path = Path(place, folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_dir() and len(os.fsencode(name)) < 250:
                path.write_bytes(content)
        files = {os.path.join(root, name) for root, _, names in os.walk(place) for name in names}
        found = list(walk_photos(place))
        photos = [each for each in found if isinstance(each, str)]
        skipped = [each for each in found if isinstance(each, SkippedFile)]
        folders = tuple(os.path.join(each.path, "") for each in skipped if each.is_folder)
        alone = [each.path for each in skipped if not each.is_folder]
        within = [path for path in files if path.startswith(folders)]
        assert sorted([*photos, *alone, *within]) == sorted(files)
        assert not any("/." in path.removeprefix(place) for path in photos)
