"""Photos in text: base64 as it really comes, and `data:` URLs."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from triptych import ImageTooLarge, InvalidInput, photo_from_base64
from triptych._images.photo import MAX_IMAGE_BYTES, read_photo


def _photo(kind: str) -> bytes:
    pixels = np.random.default_rng(5).integers(0, 256, (24, 24, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


JPEG = _photo("JPEG")
TEXT = base64.b64encode(JPEG).decode()
URL_SAFE = base64.urlsafe_b64encode(JPEG).decode()

FORMS: dict[str, Callable[[], str | bytes]] = {
    "plain": lambda: TEXT,
    "bytes": lambda: TEXT.encode(),
    "bytearray": lambda: bytearray(TEXT.encode()),  # type: ignore[dict-item,return-value]
    "mime lines": lambda: base64.encodebytes(JPEG).decode(),
    "windows lines": lambda: base64.encodebytes(JPEG).decode().replace("\n", "\r\n"),
    "folded lines": lambda: base64.encodebytes(JPEG).decode().replace("\n", " "),
    "escaped lines": lambda: base64.encodebytes(JPEG).decode().replace("\n", "\\n"),
    "escaped slashes": lambda: TEXT.replace("/", "\\/"),
    "url alphabet": lambda: URL_SAFE,
    "no padding": lambda: URL_SAFE.rstrip("="),
    "quoted": lambda: f'"{TEXT}"',
    "json string": lambda: json.dumps(TEXT),
    "str of bytes": lambda: str(TEXT.encode()),
    "byte order mark": lambda: "\ufeff" + TEXT,
    "byte order mark as bytes": lambda: b"\xef\xbb\xbf" + TEXT.encode(),
    "blanks around": lambda: f" \n{TEXT}\n ",
    "percent-encoded": lambda: quote(TEXT, safe=""),
    "data url": lambda: f"data:image/jpeg;base64,{TEXT}",
    "quoted data url": lambda: f"'data:image/png;base64,{TEXT}'",
}


@pytest.mark.parametrize("form", FORMS)
def test_base64_becomes_its_photo_in_every_form(form: str) -> None:
    assert "+" in TEXT or "/" in TEXT
    assert photo_from_base64(FORMS[form]()) == JPEG


@given(st.binary(min_size=1, max_size=200), st.booleans(), st.integers(1, 80))
def test_any_content_survives_base64(content: bytes, url_safe: bool, width: int) -> None:
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(content).decode()
    lines = "\r\n".join(text[start : start + width] for start in range(0, len(text), width))
    assert photo_from_base64(lines) == content
    assert read_photo(f"data:,{quote(content)}") == content
    assert read_photo(f"data:text/plain;base64,{lines}") == content


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("====", "is empty"),
        ("/9j/4AAQ*Zk", "the character '*' at place 9"),
        ("shoe.jpg", "the character '.' at place 5"),
        (TEXT[:41], "has 41 symbols, which no base64 has: it was cut"),
        (TEXT[:24] + "=" + TEXT[24:], "the character '=' at place 25"),
        ("ab cdef ghi", "turned each + into a blank"),
        (json.dumps({"id": 7, "photo": TEXT}), "json.loads(text)['photo']"),
        (json.dumps([TEXT]), "The text is JSON"),
        (JPEG, "the JPEG photo itself"),
        (7, "got a int"),
        (None, "got a NoneType"),
        ("data:image/jpeg;base64", "has no comma"),
        ("data:image/jpeg;base64,", "is empty"),
        ("data:image/jpeg,", "nothing after its comma"),
    ],
)
def test_text_is_refused_with_its_fault_when_it_is_no_base64(text: Any, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        photo_from_base64(text)
    assert said in str(caught.value)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/jpeg;base64,{TEXT}",
        f"DATA:image/jpeg;BASE64,{TEXT}",
        f"data:;base64,{TEXT}",
        f"data:text/html;charset=utf-8;base64,{TEXT}",
        f"data:image/jpeg;base64,{quote(TEXT, safe='')}",
        f"data:image/jpeg;base64,{URL_SAFE}",
        f" data:image/jpeg;base64,{TEXT}\n",
        f"data:image/jpeg,{quote(JPEG)}",
        f"data:,{quote(JPEG)}",
    ],
    ids=lambda url: url[:30],
)
def test_data_url_is_a_photo_whatever_type_it_names(url: str) -> None:
    assert read_photo(url) == JPEG


@pytest.mark.parametrize(
    "make", [lambda size: f"data:;base64,{'A' * (size * 4 // 3 + 8)}", lambda size: f"data:,{'a' * (size + 1)}"]
)
def test_data_url_is_refused_when_it_is_over_the_limit(make: Callable[[int], str]) -> None:
    with pytest.raises(ImageTooLarge, match="over 20 MB, the limit"):
        read_photo(make(MAX_IMAGE_BYTES))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize(
    "spell",
    [
        lambda text: text,
        lambda text: text.encode(),
        lambda text: base64.encodebytes(base64.b64decode(text)).decode(),
        lambda text: base64.urlsafe_b64encode(base64.b64decode(text)).decode(),
        lambda text: f'"{text}"',
        lambda text: io.BytesIO(text.encode()),
    ],
)
def test_base64_in_the_place_of_a_photo_is_named_with_the_mend(kind: str, spell: Callable[[str], Any]) -> None:
    photo = _photo(kind)
    with pytest.raises(InvalidInput) as caught:
        read_photo(spell(base64.b64encode(photo).decode()))
    name = "WebP" if kind == "WEBP" else kind
    assert f"got the base64 text of a {name} photo; expected one photo" in str(caught.value)
    assert str(caught.value).endswith("Pass triptych.photo_from_base64(text).")
    assert len(str(caught.value)) < 500


def test_sentence_about_json_names_the_call_that_reads_it() -> None:
    text = json.dumps({"sku": "a", "image": TEXT})
    for photo in (text, text.encode()):
        with pytest.raises(InvalidInput) as caught:
            read_photo(photo)
        assert "got JSON text" in str(caught.value)
        assert "Pass triptych.photo_from_base64(json.loads(text)['image'])." in str(caught.value)
    assert photo_from_base64(json.loads(text)["image"]) == JPEG


def test_long_base64_of_no_photo_is_named_too() -> None:
    with pytest.raises(InvalidInput, match="the base64 text of a file"):
        read_photo(base64.b64encode(bytes(9000)).decode())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_photo_is_never_taken_for_text(kind: str, tmp_path: Path) -> None:
    photo = _photo(kind)
    (tmp_path / "shoe").write_bytes(photo)
    assert read_photo(photo) == read_photo(tmp_path / "shoe") == read_photo(io.BytesIO(photo)) == photo
    assert read_photo(photo[:40]) == photo[:40]  # what is damaged is the server's to name


@given(st.binary(min_size=1, max_size=300))
def test_bytes_that_are_no_text_are_passed_on(content: bytes) -> None:
    if not content.isascii():
        assert read_photo(content) == content
