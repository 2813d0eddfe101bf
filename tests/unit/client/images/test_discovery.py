"""Folders among the arguments PHOTO: what is found, what fails as a photo would, and what is counted as skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from triptych._images.discovery import Missing, find_photos
from triptych.sources.photo_files import SkippedFiles


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "a.HEIC",
        "b.avif",
        "c.jfif",
        "IMG_1",
        "README",
        "d.psd",
        "cache/e.jpg",
        "__MACOSX/._a.HEIC",
        "far/f.jpg",
    ):
        path = tmp_path / ("" if name.startswith("far") else "shop") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8\xff\xe0 a photo" if name.startswith("IMG") else b"not opened")
    return tmp_path / "shop"


def test_photos_of_every_format_are_found_and_all_else_is_counted() -> None:
    skipped = SkippedFiles()
    assert list(find_photos(["shop"], skipped)) == ["shop/IMG_1", "shop/a.HEIC", "shop/b.avif", "shop/c.jfif"]
    assert {each.reason: each.examples for each in skipped.by_reason()} == {
        "no photo (unknown suffix)": ("shop/README",),
        "left by another program": ("shop/__MACOSX/",),
        "thumbnails or a cache": ("shop/cache/",),
        "no photo (.psd)": ("shop/d.psd",),
    }


def test_linked_photo_is_read_wherever_it_leads_and_linked_folder_is_counted(shop: Path, tmp_path: Path) -> None:
    (shop / "near.jpg").symlink_to(tmp_path / "far/f.jpg")
    (shop / "round").symlink_to(tmp_path)
    skipped = SkippedFiles()
    assert list(find_photos(["shop"], skipped))[-1] == "shop/near.jpg"
    assert "link that leads out of the folder" in {each.reason for each in skipped.by_reason()}
    assert skipped.faults == 1


def test_broken_link_is_given_to_the_client_which_says_that_there_is_no_such_file(shop: Path) -> None:
    (shop / "gone.jpg").symlink_to("nowhere.jpg")
    assert "shop/gone.jpg" in list(find_photos(["shop"]))


def test_folder_that_cannot_be_read_comes_after_the_photos(shop: Path) -> None:
    (shop / "zz").mkdir()
    finding = find_photos(["shop"])
    found = [next(finding)]
    (shop / "zz").rmdir()
    found += finding
    (missing,) = [each for each in found if isinstance(each, Missing)]
    assert found[-1] == missing
    assert str(missing.error) == (
        "The folder 'shop/zz' cannot be read (No such file or directory). Check its permissions."
    )
