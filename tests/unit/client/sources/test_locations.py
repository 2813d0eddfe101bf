"""The photo that a cell names."""

from __future__ import annotations

import base64
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from triptych.errors import InvalidInput
from triptych.sources.locations import Location, PhotoFolder
from triptych.sources.photo_cells import photos_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = tmp_path / "shop"
    (base / "photos/Deep").mkdir(parents=True)
    for name in (
        "a.jpg",
        "photos/Red Shoe.JPG",
        "photos/Deep/b.png",
        unicodedata.normalize("NFC", "Größe.jpg"),
        "a,b.jpg",
    ):
        (base / name).write_bytes(b"photo")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    return base


@pytest.mark.parametrize(
    ("text", "file", "note"),
    [
        ("a.jpg", "a.jpg", None),
        ("./a.jpg", "a.jpg", None),
        ("  a.jpg\u00a0", "a.jpg", None),
        ('"a.jpg"', "a.jpg", None),
        ("A.JPG", "a.jpg", "written in other letter case"),
        ("photos\\Red Shoe.JPG", "photos/Red Shoe.JPG", "written with backslashes"),
        (".\\PHOTOS\\red shoe.jpg", "photos/Red Shoe.JPG", "written with backslashes"),
        ("/photos/Deep/b.png", "photos/Deep/b.png", "written with a leading slash"),
        ("Photos/deep/B.PNG", "photos/Deep/b.png", "written in other letter case"),
        ("photos/Red%20Shoe.JPG", "photos/Red Shoe.JPG", "written in another way"),
        ("file://photos/Red%20Shoe.JPG", "photos/Red Shoe.JPG", None),
        ("file:///a.jpg", "a.jpg", "written as a file: address"),
        (unicodedata.normalize("NFD", "Größe.jpg"), "Größe.jpg", "written in another Unicode form"),
        ("GRÖSSE.JPG", "Größe.jpg", "written in other letter case"),
        ("a,b.jpg", "a,b.jpg", None),
    ],
)
def test_file_is_found_when_its_name_is_written_in_another_way(
    folder: Path, text: str, file: str, note: str | None
) -> None:
    found = PhotoFolder(folder).locate(text)
    assert isinstance(found.image, str)
    assert Path(found.image).samefile(folder / file)
    assert found.note == note


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://cdn.test/a b.jpg", "https://cdn.test/a%20b.jpg"),
        ("HTTP://cdn.test/a.jpg", "HTTP://cdn.test/a.jpg"),
        ("//cdn.test/a.jpg", "https://cdn.test/a.jpg"),
        ("cdn.shop.com/x.jpg", "https://cdn.shop.com/x.jpg"),
        ("shop.de/x/y.jpg?v=1", "https://shop.de/x/y.jpg?v=1"),
    ],
)
def test_address_is_kept_when_it_has_no_scheme(folder: Path, text: str, url: str) -> None:
    assert PhotoFolder(folder).locate(text).image == url


def test_name_with_a_point_is_a_path_when_it_is_no_host(folder: Path) -> None:
    (folder / "photos.com").mkdir()
    (folder / "photos.com/1.jpg").write_bytes(b"photo")
    assert PhotoFolder(folder).locate("photos.com/1.jpg").image == str(folder / "photos.com/1.jpg")
    with pytest.raises(InvalidInput, match=r"there is no photo 'photos\.com/2\.jpg'"):
        PhotoFolder(folder).locate("photos.com/2.jpg")
    with pytest.raises(InvalidInput, match=r"there is no photo 'photos\.old/2\.jpg'"):
        PhotoFolder(folder).locate("photos.old/2.jpg")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("../secret.jpg", "leads out of the catalogue's folder"),
        ("photos/../../secret.jpg", "leads out of the catalogue's folder"),
        ("..\\secret.jpg", "leads out of the catalogue's folder"),
        ("../SECRET.jpg", "leads out of the catalogue's folder"),
        ("/etc/passwd", "leads out of the catalogue's folder"),
        ("file:///etc/passwd", "leads out of the catalogue's folder"),
        ("link/secret.jpg", "leads out of the catalogue's folder"),
        ("LINK/Secret.jpg", "leads out of the catalogue's folder"),
        ("~/a.jpg", "there is no photo"),
        ("a.jpeg", r"Did you mean 'a\.jpg'\?"),
        ("b.png", r"Did you mean 'photos/Deep/b\.png'\?"),
        ("C:\\Pictures\\a.jpg", "It is a path of another computer"),
        ("s3://bucket/a.jpg", "begins with s3://, which is not read"),
        ("gs://bucket/a.jpg", "begins with gs://"),
        ("a\0.jpg", "no photo|cannot be a path"),
        ("photos", "there is no photo 'photos'"),
        ("data:image/png;base64,***", "base64 text that cannot be decoded"),
    ],
)
def test_location_is_refused_with_the_mend(folder: Path, text: str, sentence: str) -> None:
    (folder / "link").symlink_to(folder.parent)
    with pytest.raises(InvalidInput, match=sentence):
        PhotoFolder(folder).locate(text)


def test_file_is_refused_when_several_fit(folder: Path) -> None:
    (folder / "A.jpg").write_bytes(b"another")
    assert PhotoFolder(folder).locate("A.jpg").image == str(folder / "A.jpg")
    with pytest.raises(InvalidInput, match=r"may be several files: '[aA]\.jpg', '[aA]\.jpg'"):
        PhotoFolder(folder).locate("a.JPG")


def test_photo_is_found_in_the_folders_of_an_export(folder: Path) -> None:
    (folder / "media/m/b").mkdir(parents=True)
    (folder / "media/m/b/mb1.jpg").write_bytes(b"photo")
    found = PhotoFolder(folder, ("media", "none")).locate("/m/b/mb1.jpg")
    assert found.image == str(folder / "media/m/b/mb1.jpg")
    assert found.note == "found in media"


def test_photo_as_text_is_decoded(folder: Path) -> None:
    assert PhotoFolder(folder).locate("data:image/png;base64,cGhvdG8=") == Location(b"photo", None)
    content = b"\xff\xd8\xff" + bytes(300)
    assert PhotoFolder(folder).locate(base64.b64encode(content).decode()) == Location(content, None)
    with pytest.raises(InvalidInput, match=r"there is no photo 'x{117}\.\.\.'") as caught:
        PhotoFolder(folder).locate("x" * 5000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text", ["C:\\Shop\\Photos\\deep\\B.png", "../photos/Deep/b.png", "/home/me/photos/Deep/b.png", "x/y/a.jpg"]
)
def test_path_from_elsewhere_is_found_by_its_end_when_the_user_names_the_folder(folder: Path, text: str) -> None:
    found = PhotoFolder(folder, is_given=True).locate(text)
    assert found.note == "found by the end of its path"
    with pytest.raises(InvalidInput):
        PhotoFolder(folder).locate(text)


@pytest.mark.parametrize(
    ("value", "photos"),
    [
        ("a.jpg", ["a.jpg"]),
        ("a.jpg, b.jpg;c.png", ["a.jpg", "b.jpg", "c.png"]),
        ("a.jpg|b.jpg", ["a.jpg", "b.jpg"]),
        ('["a.jpg", "b.jpg"]', ["a.jpg", "b.jpg"]),
        ("['a.jpg', 'b.jpg']", ["a.jpg", "b.jpg"]),
        ('[{"src": "https://x.test/a,b"}]', ["https://x.test/a,b"]),
        ("[sale] a.jpg", ["[sale] a.jpg"]),
        ("[a]", ["[a]"]),
        ("a.jpg\nb c.jpg", ["a.jpg", "b c.jpg"]),
        ("red, blue.jpg", ["red, blue.jpg"]),
        ("https://x.test/a.jpg, https://x.test/b.jpg", ["https://x.test/a.jpg", "https://x.test/b.jpg"]),
        ("https://x.test/w_1,h_2/a.jpg", ["https://x.test/w_1,h_2/a.jpg"]),
        ("https://x.test/w_1,h_2/a,//x.test/b", ["https://x.test/w_1,h_2/a", "//x.test/b"]),
        ("https://x.test/a https://x.test/b", ["https://x.test/a", "https://x.test/b"]),
        ("a.jpg,https://x.test/b", ["a.jpg", "https://x.test/b"]),
        ("data:image/png;base64,AAAA", ["data:image/png;base64,AAAA"]),
        (["a.jpg", {"src": "b.jpg"}], ["a.jpg", "b.jpg"]),
        ({"url": "https://x.test/a"}, ["https://x.test/a"]),
        ({"bytes": b"photo", "path": "a.jpg"}, [("a.jpg", b"photo")]),
        ({"bytes": b"photo", "path": None}, [b"photo"]),
        ({"bytes": None, "path": "a.jpg"}, ["a.jpg"]),
        ({"bytes": None, "path": None}, []),
        (b"photo", [b"photo"]),
        (b"", []),
        ([], []),
        (None, []),
        (" ; ", []),
    ],
)
def test_cell_gives_its_photos_in_order(value: Any, photos: list[Any]) -> None:
    assert list(photos_of(value)) == photos


@pytest.mark.parametrize("value", [7, True, {"name": "a"}, [3]])
def test_cell_is_refused_when_it_names_no_photo(value: Any) -> None:
    with pytest.raises(InvalidInput, match="its photo"):
        list(photos_of(value))


@pytest.mark.parametrize(
    ("text", "photos"),
    [
        ('<img src="https://x.test/a.jpg" alt="A, b">', ["https://x.test/a.jpg"]),
        ("<p><img alt=x src='photos/a.jpg'/><IMG SRC=b.jpg></p>", ["photos/a.jpg", "b.jpg"]),
        ('<a href="https://x.test/a.jpg?w=1&amp;h=2">Photo</a>', ["https://x.test/a.jpg?w=1&h=2"]),
        ("![A shoe](https://x.test/a.jpg)", ["https://x.test/a.jpg"]),
        ("a.jpg (https://x.test/1/a.jpg),b.jpg (https://x.test/2)", ["https://x.test/1/a.jpg", "https://x.test/2"]),
        ("https://x.test/a.jpg ! alt : A ! title : B | https://x.test/b.jpg ! alt :", ["https://x.test/a.jpg", "https://x.test/b.jpg"]),
        ('=BILD("https://x.test/a.jpg";"x")', ["https://x.test/a.jpg"]),
        ('=IMAGE("https://x.test/a.jpg"; 1)', ["https://x.test/a.jpg"]),
        ('=LIEN_HYPERTEXTE("photos/a.jpg";"x")', ["photos/a.jpg"]),
        ("=\"photos/a.jpg\"", ["photos/a.jpg"]),
        ("„photos/a.jpg“", ["photos/a.jpg"]),
        ("\u200bphotos/a.jpg\ufeff", ["photos/a.jpg"]),
        ({"image": ["a.jpg", "b.jpg"]}, ["a.jpg", "b.jpg"]),
        ({"picture": {"url": "https://x.test/a"}}, ["https://x.test/a"]),
        ({"Image": "a.jpg", "image@type": "main"}, ["a.jpg"]),
        ("photo (1).jpg", ["photo (1).jpg"]),
        ("photo!.jpg", ["photo!.jpg"]),
        ("a.jpg (https://x.test/a.jpg), b.jpg", ["a.jpg (https://x.test/a.jpg), b.jpg"]),
        ('=CONCATENATE("https://x.test/","a.jpg")', ['=CONCATENATE("https://x.test/","a.jpg")']),
        ("a < b.jpg", ["a < b.jpg"]),
    ],
)  # fmt: skip
def test_cell_gives_its_photos_when_a_tool_has_wrapped_them(text: Any, photos: list[str]) -> None:
    assert list(photos_of(text)) == photos


@pytest.mark.parametrize("text", ["a.jpg?v=3", "a.jpg#main", "photos/Red%20Shoe.JPG?width=200"])
def test_file_is_found_when_a_query_of_a_web_address_follows(folder: Path, text: str) -> None:
    found = PhotoFolder(folder).locate(text)
    assert found.note == "written with a query such as ?v=1"
    assert Path(str(found.image)).is_file()


def test_link_out_of_the_folder_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "nas").mkdir()
    (tmp_path / "nas/x.jpg").write_bytes(b"photo")
    (folder / "linked").symlink_to(tmp_path / "nas")
    with pytest.raises(InvalidInput, match=r"leads out of .* through a link"):
        PhotoFolder(folder).locate("linked/x.jpg")
    assert PhotoFolder(folder / "linked").locate("x.jpg").named == "x.jpg"


def test_near_names_are_looked_for_only_for_the_first_missing_photos(folder: Path) -> None:
    photos = PhotoFolder(folder)
    told = []
    for number in range(300):
        with pytest.raises(InvalidInput) as caught:
            photos.locate(f"aa{number % 10}.jpg")
        told.append("Did you mean" in str(caught.value))
    assert told[:20] == [True] * 20
    assert not any(told[-20:])
