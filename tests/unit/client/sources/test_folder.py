"""Folders of class folders as shops and data sets have them: classes, splits, products, and what is said."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import InvalidInput
from triptych.sources.folder import LAST_LEVEL, ClassFolder, open_class_folder

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make("red/1.jpg", ...)` makes these files below a folder, empty folders for names with "/" at the end."""

    def call(*names: str) -> Path:
        for name in names:
            path = tmp_path / "shop" / name
            (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                path.write_bytes(b"not opened")
        return tmp_path / "shop"

    return call


def said(opened: ClassFolder) -> str:
    return "\n".join((*opened.understood, *map(str, opened.skipped.by_reason())))


def test_class_is_the_first_folder_and_folders_below_belong_to_it(make: Make) -> None:
    opened = open_class_folder(make("shoes/front/1.jpg", "shoes/side/2.jpg", "shoes/3.jpg", "bags/4.jpg"))
    assert opened.classes == {"bags": 1, "shoes": 3}
    assert "shoes/front, shoes/side" in said(opened)
    assert "--class-level last" in said(opened)


@pytest.mark.parametrize(
    ("level", "classes", "unclassed"),
    [
        (1, {"dress": 4, "shoe": 1}, 0),
        (2, {"blue": 1, "red": 2}, 2),
        (LAST_LEVEL, {"dress": 1, "red": 2, "shoe": 1, "x": 1}, 0),
    ],
)
def test_class_level_is_chosen(make: Make, level: int, classes: dict[str, int], unclassed: int) -> None:
    folder = make("dress/red/1.jpg", "dress/red/2.jpg", "dress/blue/x/3.jpg", "dress/4.jpg", "shoe/5.jpg")
    opened = open_class_folder(folder, level)
    assert opened.classes == classes
    assert len(opened.unclassed) == unclassed


def test_hidden_and_foreign_folders_are_no_classes(make: Make) -> None:
    folder = make(
        *("red/1.jpg", "blue/2.jpg", "__MACOSX/red/._1.jpg", ".git/1.jpg", ".ipynb_checkpoints/1.jpg", "@eaDir/1.jpg"),
        *("red/@eaDir/1.jpg", "red/Thumbs.db", "thumbnails/1.jpg", "cache/1.jpg", "checkpoints/model.pt"),
    )
    opened = open_class_folder(folder)
    assert opened.classes == {"blue": 1, "red": 1}
    assert opened.empty == ()
    assert len(opened.skipped) == 9


def test_empty_classes_and_photos_without_a_class_are_named(make: Make) -> None:
    opened = open_class_folder(make("red/1.jpg", "blue/", "green/notes.txt", "white/deep/er/", "loose.jpg"))
    assert opened.classes == {"red": 1}
    assert opened.empty == ("blue", "green", "white")
    assert [os.path.basename(path) for path in opened.unclassed] == ["loose.jpg"]
    assert "photo in no class folder" in said(opened)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "val", "test"), ("train", "validation", "test")),
        (("Train", "VALID", "Testing"), ("train", "validation", "test")),
        (("training", "validation", "TEST"), ("train", "validation", "test")),
        (("training_set", "validation-set", "test_set"), ("train", "validation", "test")),
        (("train data", "valset", "tests"), ("train", "validation", "test")),
    ],
)
def test_split_folders_are_honoured_and_said(make: Make, names: tuple[str, ...], splits: tuple[str, ...]) -> None:
    folder = make(
        *(f"{name}/{label}/{number}.jpg" for name in names for label in ("red", "blue") for number in range(2))
    )
    opened = open_class_folder(folder)
    assert opened.classes == {"blue": 6, "red": 6}
    assert opened.splits == dict.fromkeys(splits, 4)
    assert {(Path(photo.path).parts[-3], photo.split) for photo in opened.photos} == set(
        zip(names, splits, strict=True)
    )
    assert "splits by folder" in said(opened)


def test_split_folders_below_the_classes_are_honoured(make: Make) -> None:
    opened = open_class_folder(make("red/train/1.jpg", "red/test/2.jpg", "blue/train/3.jpg", "blue/test/x/4.jpg"))
    assert (opened.classes, opened.splits) == ({"blue": 2, "red": 2}, {"test": 2, "train": 2})


def test_split_folders_of_an_unpacked_archive_are_found(make: Make) -> None:
    opened = open_class_folder(make("archive/data/train/red/1.jpg", "archive/data/test/blue/2.jpg", "__MACOSX/x"))
    assert (opened.classes, opened.splits) == ({"blue": 1, "red": 1}, {"test": 1, "train": 1})
    assert "archive/data" in said(opened)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train/train", "test/test"),
        ("archive/train/train", "archive/test/test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("dataset_train", "dataset_test"),
        ("train_images", "test_images"),
        ("Train-512", "Val-512"),
        ("shop v2 training", "shop v2 validation"),
    ],
)
def test_split_folders_that_share_a_word_or_are_repeated_are_honoured(make: Make, train: str, test: str) -> None:
    opened = open_class_folder(
        make(*(f"{split}/{label}/1.jpg" for split in (train, test) for label in ("red", "blue")), f"{train}/green/")
    )
    assert opened.classes == {"blue": 2, "red": 2}
    assert sorted(opened.splits.values()) == [2, 2]
    assert [os.path.basename(each) for each in opened.empty] == ["green"]
    assert "splits by folder" in said(opened)


@pytest.mark.parametrize(
    "names",
    [
        ("test kits", "crash test"),
        ("train toys", "test tubes"),
        ("train tracks", "car tracks"),
        ("test_a", "val_a"),
        ("train_a", "train_A"),
    ],
)
def test_classes_with_a_word_of_splits_stay_classes(make: Make, names: tuple[str, ...]) -> None:
    opened = open_class_folder(make(*(f"{name}/1.jpg" for name in names)))
    assert opened.splits == {}
    assert sum(opened.classes.values()) == len(names)


@pytest.mark.parametrize(
    ("names", "is_said"),
    [
        (("shoes", "Shoes (120)"), True),
        (("shoes", "shoes - Copy"), True),
        (("shoes", "shoes copy 2"), True),
        (("shoes", "01_shoes"), True),
        (("Schuhe", "Kopie von Schuhe"), True),
        (("Size 36", "Size 37"), False),
        (("7 up", "up"), False),
        (("01_shoes", "02_bags"), False),
        (("(1)", "(2)"), False),
    ],
)
def test_classes_that_may_be_one_are_named_and_not_merged(make: Make, names: tuple[str, ...], is_said: bool) -> None:
    opened = open_class_folder(make(*(f"{name}/1.jpg" for name in names)))
    assert opened.classes == dict.fromkeys(names, 1)
    assert ("stay 2 classes" in said(opened)) == is_said


def test_folders_of_product_numbers_are_named(make: Make) -> None:
    opened = open_class_folder(make("4006381333931/front.jpg", "4006381333948/front.jpg"))
    assert "If they are products" in said(opened)
    assert "If they are products" not in said(open_class_folder(make("x/1.jpg")))


def test_previews_of_a_photo_program_are_no_class(make: Make) -> None:
    opened = open_class_folder(make("red/1.jpg", "Shop Previews.lrdata/A/1.jpg", "Shop Smart Previews.lrdata/1.dng"))
    assert (opened.classes, opened.empty) == ({"red": 1}, ())
    assert "thumbnails or a cache" in said(opened)


def test_tables_and_the_folder_around_the_classes_are_told(make: Make) -> None:
    opened = open_class_folder(make("Takeout/Photos/red/1.jpg", "Takeout/Photos/blue/1.jpg", "labels.csv"))
    assert opened.wrapper == os.path.join("Takeout", "Photos")
    assert [os.path.basename(each) for each in opened.tables] == ["labels.csv"]


def test_split_folders_beside_class_folders_are_refused_unless_they_are_classes(make: Make) -> None:
    folder = make("Training/1.jpg", "Running/2.jpg", "Football/3.jpg")
    with pytest.raises(InvalidInput, match=r"Training beside the folders Football, Running.*--no-split-folders"):
        open_class_folder(folder)
    opened = open_class_folder(folder, has_split_folders=False)
    assert (opened.classes, opened.splits) == ({"Football": 1, "Running": 1, "Training": 1}, {})


def test_folders_without_photos_beside_split_folders_are_no_mixture(make: Make) -> None:
    opened = open_class_folder(make("train/red/1.jpg", "test/red/2.jpg", "annotations/a.json", "runs/"))
    assert opened.splits == {"test": 1, "train": 1}


def test_class_that_is_empty_in_one_split_is_named(make: Make) -> None:
    opened = open_class_folder(
        make("train/red/1.jpg", "train/blue/2.jpg", "test/red/3.jpg", "test/blue/", "test/white/")
    )
    assert opened.empty == ("test/blue (its class has photos elsewhere)", "test/white")


@pytest.mark.parametrize(
    "names",
    [
        ("Schöne Schuhe", unicodedata.normalize("NFD", "Schöne Schuhe")),
        ("red", "RED"),
        ("red", "red "),
        ("red", "r\u200bed"),
        ("T-Shirts  blue", "T-Shirts blue"),
        ("Straße", "STRASSE"),
    ],
)
def test_names_that_look_the_same_are_one_class_and_said(make: Make, names: tuple[str, str]) -> None:
    opened = open_class_folder(make(f"{names[0]}/1.jpg", f"{names[0]}/2.jpg", f"{names[1]}/3.jpg", "other/4.jpg"))
    label = " ".join(unicodedata.normalize("NFC", names[0]).split())
    assert opened.classes == {label: 3, "other": 1} or opened.classes == dict(sorted({label: 3, "other": 1}.items()))
    assert f"are unified to {label!r}" in said(opened)
    assert ascii(names[1])[1:-1] in said(opened) or repr(names[1]) in said(opened)


def test_names_that_differ_stay_apart(make: Make) -> None:
    opened = open_class_folder(make("a-b/1.jpg", "a_b/2.jpg", "ab/3.jpg", "o/4.jpg", "ö/5.jpg"))
    assert len(opened.classes) == 5


def test_name_that_is_not_utf8_is_read_and_said(make: Make) -> None:
    folder = make("Schön/1.jpg", "red/2.jpg")
    os.mkdir(os.fsencode(folder) + b"/Sch\xf6n")
    with open(os.fsencode(folder) + b"/Sch\xf6n/3.jpg", "wb"):
        pass
    opened = open_class_folder(folder)
    assert opened.classes == {"Schön": 2, "red": 1}
    assert "Sch\\xf6n" in said(opened)
    assert "Windows-1252" in said(opened)


def test_products_are_small_folders_whose_name_occurs_once(make: Make) -> None:
    folder = make(
        *(f"shoes/SKU{number}/{view}/1.jpg" for number in range(12) for view in ("front", "side")),
        *(f"bags/{view}/{number}.jpg" for view in ("left", "right") for number in range(12)),
        "bags/1.jpg",
    )
    opened = open_class_folder(folder)
    products = {photo.product for photo in opened.photos}
    assert products == {None, *(f"shoes/SKU{number}" for number in range(12))}
    assert "12 as products" in said(opened)
    assert open_class_folder(make("train/shoes/1.jpg"), has_split_folders=False).classes["train"] == 1


def test_products_do_not_change_the_splits_of_the_user(make: Make) -> None:
    folder = make(*(f"{split}/red/SKU{number}/1.jpg" for number in range(12) for split in ("train", "test")))
    assert {photo.product for photo in open_class_folder(folder).photos} == {None}


def test_links_out_broken_links_and_their_reasons_are_refused(make: Make, tmp_path: Path) -> None:
    folder = make("red/1.jpg", "blue/2.jpg")
    (folder / "far").symlink_to(tmp_path)
    (folder / "red/gone.jpg").symlink_to("nowhere")
    (folder / "blue/back").symlink_to(folder)
    opened = open_class_folder(folder)
    assert opened.classes == {"blue": 1, "red": 1}
    assert [os.path.relpath(each.path, folder) for each in opened.refused] == ["far", "red/gone.jpg"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("notes.txt", "a.psd"), r"holds no photo.*no photo \(.psd\)"),
        (("products.csv",), "holds the table .*products.csv: name that"),
        (("1.jpg", "2.jpg"), "2 photos but no class folders"),
        (("1.jpg", "labels.csv"), "no class folders.*holds the table"),
        (("train/1.jpg", "test/2.jpg"), "no class folders in the split folders"),
    ],
)
def test_folder_without_classes_is_refused_with_a_sentence(make: Make, names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        open_class_folder(make(*names))


def test_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        open_class_folder(tmp_path / "nowhere")


LABELS = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=8).filter(
    lambda text: text.lower() not in ("train", "training", "val", "valid", "validation", "test", "tests", "testing")
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        LABELS, st.lists(st.sampled_from(["", "front", "a/b", "SKU1"]), min_size=1, max_size=4), min_size=1, max_size=5
    ),
    st.sampled_from([(), ("train", "test")]),
    st.booleans(),
)
def test_classes_found_are_the_classes_made(
    labels: dict[str, list[str]], splits: tuple[str, ...], is_messy: bool
) -> None:
    unique = {"".join(label.casefold().split()): label for label in labels}
    with tempfile.TemporaryDirectory() as place:
        made: dict[str, int] = {}
        for label in unique.values():
            for number, below in enumerate(labels[label]):
                for split in splits or ("",):
                    path = Path(place, split, label, below, f"{number}.jpg")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch()
                    kept = unicodedata.normalize("NFC", label)
                    made[kept] = made.get(kept, 0) + 1
        if is_messy:
            for name in ("__MACOSX/._1.jpg", ".git/1.jpg", "notes.txt"):
                Path(place, name).parent.mkdir(exist_ok=True)
                Path(place, name).touch()
        opened = open_class_folder(place)
        assert opened.classes == dict(sorted(made.items()))
        assert sum(opened.splits.values()) == (len(opened.photos) if splits else 0)
        assert len(opened.skipped) == 3 * is_messy
