"""What a PHOTO on the command line stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from triptych._images.discovery import Missing, find_photos


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as exports and macOS leave it."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "b.JPG",
        "a.png",
        "notes.txt",
        "._a.png",
        "bags/c.webp",
        "bags/old/d.tiff",
        ".thumbs/e.jpg",
        "[1].jpg",
    ):
        path = tmp_path / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"photo")
    (tmp_path / "empty").mkdir()
    return tmp_path / "shop"


IN_SHOP = ["shop/[1].jpg", "shop/a.png", "shop/b.JPG", "shop/bags/c.webp", "shop/bags/old/d.tiff"]


@pytest.mark.parametrize("place", ["shop", "shop/", "./shop", "shop//"])
def test_folder_is_searched_for_photos_in_one_spelling(place: str) -> None:
    assert list(find_photos([place])) == IN_SHOP


def test_folder_is_searched_when_it_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("shop")
    assert list(find_photos(["."])) == [name.removeprefix("shop/") for name in IN_SHOP]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("shop/*.*g", ["shop/[1].jpg", "shop/a.png"]),
        ("shop/**/*.t*", ["shop/bags/old/d.tiff", "shop/notes.txt"]),
        ("shop/b*", ["shop/b.JPG", "shop/bags/c.webp", "shop/bags/old/d.tiff"]),
        ("shop/[1].jpg", ["shop/[1].jpg"]),
    ],
)
def test_pattern_stands_for_what_it_matches(pattern: str, found: list[str]) -> None:
    assert list(find_photos([pattern])) == found


@pytest.mark.parametrize("name", ["-", "https://example.com/*.jpg", "gone.jpg", "shop/notes.txt", "shop/._a.png"])
def test_name_is_taken_as_it_stands_when_it_is_no_folder_and_no_pattern(name: str) -> None:
    assert list(find_photos([name])) == [name]


def test_photo_is_found_once_when_named_twice() -> None:
    assert list(find_photos(["shop/b.JPG", "shop", "shop/*.png"])) == ["shop/b.JPG", *IN_SHOP[:2], *IN_SHOP[3:]]


@pytest.mark.parametrize(("place", "said"), [("empty", "holds no photo"), ("shop/*.gif", "No file matches")])
def test_place_without_photos_is_said(place: str, said: str) -> None:
    (missing, photo) = find_photos([place, "shop/a.png"])
    assert isinstance(missing, Missing)
    assert missing.place == place
    assert said in str(missing.error)
    assert photo == "shop/a.png"


def test_folder_that_cannot_be_read_is_said(shop: Path) -> None:
    finding = find_photos(["shop"])
    found = [next(finding) for _ in range(3)]
    (shop / "bags").rename("elsewhere")
    (missing,) = finding
    assert found == IN_SHOP[:3]
    assert isinstance(missing, Missing)
    assert str(missing.error).startswith("The folder 'shop/bags' cannot be read (No such file or directory)")


def test_linked_folder_is_not_followed_and_broken_link_is_kept(shop: Path) -> None:
    (shop / "bags" / "round").symlink_to(shop)
    (shop / "bags" / "x.jpg").symlink_to(shop / "gone")
    assert list(find_photos(["shop/bags"])) == ["shop/bags/c.webp", "shop/bags/x.jpg", "shop/bags/old/d.tiff"]
