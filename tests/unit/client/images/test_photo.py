"""Every way to name a photo, and every way to get it wrong."""

from __future__ import annotations

import array
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from triptych import InvalidInput
from triptych._images.photo import read_photo

if TYPE_CHECKING:
    from collections.abc import Callable

# Ends in zero bytes and is no text: what a wrong conversion would lose.
PHOTO = b"\xff\xd8\xff\xe0 photo \x80\x00\x00"


class _BytesSubclass(bytes):
    pass


class _AsyncFile:
    async def read(self) -> bytes:
        return PHOTO


class _ArrayLike:
    def __array__(self) -> np.ndarray[Any, Any]:
        return np.zeros((2, 2, 3), np.uint8)


class _PathLike:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


@pytest.fixture
def photo_path(tmp_path: Path) -> Path:
    path = tmp_path / "shoe.jpg"
    path.write_bytes(PHOTO)
    return path


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: PHOTO, id="bytes"),
        pytest.param(lambda path: _BytesSubclass(PHOTO), id="bytes-subclass"),
        pytest.param(lambda path: bytearray(PHOTO), id="bytearray"),
        pytest.param(lambda path: memoryview(PHOTO), id="memoryview"),
        pytest.param(lambda path: memoryview(PHOTO[::-1])[::-1], id="strided"),
        pytest.param(lambda path: memoryview(array.array("H", PHOTO)), id="memoryview-of-words"),
        pytest.param(str, id="str"),
        pytest.param(lambda path: path, id="path"),
        pytest.param(lambda path: np.str_(path), id="numpy-str"),
        pytest.param(_PathLike, id="path-like"),
        pytest.param(lambda path: io.BytesIO(PHOTO), id="file-object"),
        pytest.param(lambda path: io.BufferedReader(io.BytesIO(PHOTO)), id="buffered"),
    ],
)
def test_photo_becomes_plain_bytes_when_kind_is_allowed(make: Callable[[Path], Any], photo_path: Path) -> None:
    content = read_photo(make(photo_path))
    assert content == PHOTO
    assert type(content) is bytes


def test_photo_is_read_from_where_it_stands_when_it_is_an_open_file(photo_path: Path) -> None:
    with photo_path.open("rb") as file:
        file.seek(2)
        assert read_photo(file) == PHOTO[2:]
        assert not file.closed


@pytest.mark.parametrize(
    ("photo", "got"),
    [
        (None, "None"),
        (7, "a int"),
        ([PHOTO], "a list; expected one photo"),
        ([PHOTO], "recognize_many"),
        ((PHOTO, PHOTO), "recognize_many"),
        ((photo for photo in (PHOTO,)), "recognize_many"),
        ({"image": PHOTO}, "a dict"),
        (np.bytes_(PHOTO), "may have lost zeros"),
        (np.uint8(7), "a numpy.uint8 uint8[]"),
        (memoryview(bytes(12)).cast("B", (2, 2, 3)), "has 3 dimensions"),
        (_ArrayLike(), "numpy.asarray(photo)"),
        (_AsyncFile(), "Await its read()"),
        (io.BytesIO, "a type"),
        (b"", "bytes of length 0"),
        (bytearray(), "bytearray of length 0"),
        (memoryview(b""), "memoryview of length 0"),
        (io.BytesIO(), "nothing left to read"),
        (io.StringIO("text"), "text mode"),
        ("no-such-file.jpg", "no file 'no-such-file.jpg'"),
        (" http://127.0.0.1/shoe.jpg\n", "no public address"),
        ("s3://shop/shoe.jpg", "download the photo"),
        (Path("https://shop.example/shoe.jpg"), "Pass a URL as str"),
        ("http://127.0.0.1/shoe.jpg", "no public address"),
        ("a\0b", "cannot be a path"),
        ("x: " * 2000, "of 6000 characters is too long for a path"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else type(value).__name__,
)
def test_photo_is_refused_with_what_it_was_when_kind_is_wrong(photo: Any, got: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_photo(photo)
    message = str(caught.value)
    assert got in message
    assert message.endswith(".")
    assert len(message) < 500
    assert caught.value.request_id is None


def test_photo_is_refused_when_it_is_a_directory(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is a directory"):
        read_photo(tmp_path)


def test_photo_is_refused_when_its_file_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    with pytest.raises(InvalidInput, match="got the empty file '"):
        read_photo(path)


def test_photo_is_refused_when_the_file_object_is_closed(photo_path: Path) -> None:
    with photo_path.open("rb") as file:
        pass
    with pytest.raises(InvalidInput, match="closed file"):
        read_photo(file)


def test_photo_is_refused_when_the_file_is_open_in_text_mode(photo_path: Path) -> None:
    with photo_path.open() as file, pytest.raises(InvalidInput, match="mode 'rb'"):
        read_photo(file)  # type: ignore[arg-type]


def test_photo_is_refused_when_read_gives_no_bytes() -> None:
    class _Text:
        def read(self) -> str:
            return "text"

    with pytest.raises(InvalidInput, match="gave a str"):
        read_photo(_Text())  # type: ignore[arg-type]


def test_photo_is_refused_when_the_memoryview_is_released() -> None:
    view = memoryview(PHOTO)
    view.release()
    with pytest.raises(InvalidInput, match="released"):
        read_photo(view)
