"""What people pass where a photo belongs: answered, or refused with what it is and what to pass instead."""

from __future__ import annotations

import io
import unicodedata
from decimal import Decimal
from pathlib import Path, PureWindowsPath
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from triptych import InvalidInput
from triptych._images.photo import read_photo

PHOTO = b"\xff\xd8\xff\xe0 photo \x80\x00\x00"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with one photo in several places."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photos").mkdir()
    for name in ("shoe.jpg", "photos/red shoe.jpg", unicodedata.normalize("NFC", "photos/schön.jpg")):
        (tmp_path / name).write_bytes(PHOTO)
    return tmp_path


def refusal(photo: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_photo(photo)
    message = str(caught.value)
    assert message.endswith((".", "?"))
    assert len(message) < 600
    is_content = isinstance(photo, bytes)
    assert caught.value.code == ("image_unreadable" if is_content else "input_invalid")
    return message


@pytest.mark.parametrize(
    "photo",
    [
        {"bytes": PHOTO, "path": None},
        {"bytes": PHOTO, "path": "gone.jpg"},
        {"bytes": None, "path": "shoe.jpg"},
        {"path": "shoe.jpg"},
        {"bytes": memoryview(PHOTO)},
    ],
)
def test_cell_of_hugging_face_is_its_bytes_otherwise_its_path(photo: Any, folder: Path) -> None:
    assert read_photo(photo) == PHOTO


def test_file_url_is_the_file(folder: Path) -> None:
    assert read_photo((folder / "photos/red shoe.jpg").as_uri()) == PHOTO
    assert read_photo(f"FILE://localhost{folder}/shoe.jpg") == PHOTO
    assert "names a file of another machine" in refusal("file://server/share/shoe.jpg")
    assert "There is no file" in refusal(f"file://{folder}/gone.jpg")


@pytest.mark.parametrize(
    ("photo", "found", "mend"),
    [
        # A path in another spelling.
        ("~/shoe.jpg", "There is no file '~/shoe.jpg'", "os.path.expanduser(path)"),
        ("photos\\red shoe.jpg", "There is no file", "Write / between folders: pass 'photos/red shoe.jpg'"),
        (PureWindowsPath("photos\\red shoe.jpg"), "There is no file", "pass 'photos/red shoe.jpg'"),
        ("C:\\Users\\Anna\\shoe.jpg", "There is no file", "a path of Windows: pass the path of 'shoe.jpg'"),
        ("\\\\server\\share\\shoe.jpg", "There is no file", "a path of Windows"),
        ("photos/*.jpg", "There is no file", "sorted(glob.glob(pattern))"),
        ("photos/shoe[12].jpg", "There is no file", "It is a pattern"),
        ("photos", "'photos' is a directory", "Pass the files in it"),
        ("'shoe.jpg'", "There is no file", "Remove the quotes"),
        ("shoe.jpg\n", "There is no file", "Did you mean 'shoe.jpg'?"),
        ("SHOE.JPG", "There is no file", "Did you mean 'shoe.jpg'?"),
        ("photos/Red%20Shoe.jpg".lower(), "There is no file", "Did you mean 'photos/red shoe.jpg'?"),
        (unicodedata.normalize("NFD", "photos/Schön.jpg"), "There is no file", "Did you mean 'photos/schön.jpg'?"),
        ("shoe.jpg/front.jpg", "There is no file", "relative to the current folder"),
        ("gone/shoe.jpg", "There is no file 'gone/shoe.jpg'", "relative to the current folder"),
        ("/gone/shoe.jpg", "There is no file", "Check the path."),
        ("x" * 300, "of 300 characters is too long for a path", "photo_from_base64"),
        (Path("x" * 5000), "got the base64 text of a file", "photo_from_base64"),
        (Path("a\0b"), "cannot be a path", "Check the path"),
        # A URL in another spelling.
        (Path("https://shop.example/shoe.jpg"), "There is no file", "Pass a URL as str"),
        (Path("data:image/png;base64,iVBORw0KGgo"), "There is no file", "Pass a URL as str"),
        ("www.shop.example/shoe.jpg", "There is no file", "write https:// before it"),
        ("cdn.shop.example/a/shoe.jpg", "There is no file", "write https:// before it"),
        ("//cdn.shop.example/shoe.jpg", "There is no file", "write https:// before it"),
        ("gs://shop/shoe.jpg", "There is no file", "downloads only http:// and https://"),
        # Text as bytes.
        (b"https://shop.example/shoe.jpg", "a URL as bytes ('https://shop.example/shoe.jpg')", "url.decode()"),
        (b"data:image/png;base64,iVBORw0KGgo", "a URL as bytes", "url.decode()"),
        (b"file:///shoe.jpg", "a URL as bytes", "url.decode()"),
        (b"shoe.jpg", "the path of a file as bytes ('shoe.jpg')", "os.fsdecode(path)"),
        (b"/gone/shoe.HEIC", "the path of a file as bytes", "os.fsdecode(path)"),
        # Bytes as text.
        (str(PHOTO), "the text of a bytes object", "not their str()"),
        (PHOTO.decode("latin-1"), "the bytes of a photo that were decoded as text", "mode 'rb'"),
        (PHOTO.decode("utf-8", errors="replace"), "decoded as text", "response.content"),
        (PHOTO.decode("utf-8", errors="surrogateescape"), "decoded as text", "response.content"),
        ((PHOTO + bytes(40)).hex(), "the hexadecimal text of a photo", "bytes.fromhex(text)"),
        ("<!doctype html><p>", "a web page or an SVG drawing", "Pass the photo itself"),
        ('{"image": 7}', "JSON text", "Pass the value with the photo alone"),
        # An empty cell.
        ("", "an empty text", "leave out rows without one"),
        (" \n", "an empty text", "leave out rows without one"),
        ("nan", "the text 'nan', an empty cell", "Leave out rows"),
        (None, "got None", "an empty cell of a table for example: leave out rows without a photo"),
        (float("nan"), "got a float", "an empty cell of a table"),
        (np.float32("nan"), "got a numpy.float32", "an empty cell of a table"),
        (Decimal("nan"), "got a decimal.Decimal", "an empty cell of a table"),
        ({"bytes": None, "path": None}, "got None", "an empty cell of a table"),
        # A wrapping.
        ({}, "got a dict", "Pass the photo itself"),
        ({"id": 7, "image": PHOTO}, "got a dict", "photo['image']"),
        ({"url": "https://shop.example/shoe.jpg"}, "got a dict", "photo['url']"),
        ({"sku": "a", "image_url": {"url": "data:..."}}, "got a dict", "photo['image_url']"),
        (list(PHOTO), "got a list", "pass bytes(photo)"),
        (7, "got a int", "Pass the photo itself"),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_mistake_is_named_with_the_mend(photo: Any, found: str, mend: str, folder: Path) -> None:
    message = refusal(photo)
    assert found in message
    assert mend in message


def test_cells_of_pandas_are_named() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: `make setup` installs it")
    for cell in (pandas.NA, pandas.NaT):
        assert "an empty cell of a table for example: leave out rows without a photo" in refusal(cell)
    assert "recognize_many" in refusal(pandas.Series(["shoe.jpg"]))


def test_response_is_named_with_its_content() -> None:
    requests = pytest.importorskip("requests", reason="requests is not installed: `make setup` installs it")
    of_requests = requests.Response()
    of_requests.status_code = 404
    for response in (of_requests, httpx.Response(404, content=b"<html>")):
        assert "It is a response with status 404: pass response.content." in refusal(response)


def test_name_of_an_opened_image_is_a_path(folder: Path) -> None:
    Image.new("RGB", (4, 4)).save("shoe.png")
    with Image.open("shoe.png") as image:
        assert read_photo(image.filename) == Path("shoe.png").read_bytes()
    content = io.BytesIO(Path("shoe.png").read_bytes())
    with Image.open(content) as image:
        assert "an empty text" in refusal(getattr(image, "filename", ""))


def test_file_object_at_its_end_says_so(folder: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (4, 4)).save(content, "PNG")
    assert "nothing left to read; if it was read before, seek(0)" in refusal(content)


def test_arrow_scalar_says_how_it_becomes_a_photo() -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: `make setup` installs it")
    assert "Pass photo.as_py()." in refusal(arrow.scalar(PHOTO))
    assert read_photo(arrow.scalar(PHOTO).as_py()) == PHOTO
