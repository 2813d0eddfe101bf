"""Catalogues as shops have them, trained on: splits and classes of folders, rows with faults, names of every kind."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from export.cli.main import main
from export.training.heads.trained_folder import read_trained_folder
from tests.contract.colours import COLOURS, paint


def arguments(repository: Path, catalogue: Path, *more: str) -> list[str]:
    folder = catalogue.parent if catalogue.is_file() else catalogue
    places = ["--repository", str(repository), "--output", str(folder.parent / "trained"), "--cache"]
    return ["train", str(catalogue), *places, str(folder.parent / "cache"), "--trials", "1", *more]


def table_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def facts_of(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "training.json").read_text())
    return facts


def test_rows_with_faults_are_refused_into_a_file_that_can_be_mended_and_trained_on(
    repository: Path, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = shop / "shop.csv"
    photos = sorted(shop.glob("*/*.png"))
    table.write_text("image,colour\n" + "".join(f"{one.parent.name}/{one.name},{one.parent.name}\n" for one in photos))
    (shop / "red/cut.png").write_bytes((shop / "red/0.png").read_bytes()[:200])
    lines = table.read_text().splitlines()
    bad = ["red/cut.png,red", ",red", "green/gone.png,green", "../../etc/passwd,blue", "blue/1.png,blue,more"]
    table.write_text("\n".join([*lines[:9], *bad, *lines[9:]]))
    assert main([*arguments(repository, table), "--json"]) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["refused"], report["exit_code"]) == (5, 1)
    assert "warning: 5 of 41 rows or photos were refused; all others were used" in err
    assert sum(facts_of(shop.parent / "trained")["photos"].values()) == 36 + 1  # one is unreadable
    rejects = Path(report["rejects"])
    assert rejects == shop / "shop.rejects.csv"
    with rejects.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["colour"]) for row in rows] == [tuple(line.split(",")[:2]) for line in bad]
    assert [int(row["reason_row"]) for row in rows] == [9, 10, 11, 12, 13]
    assert [row["reason_column"] for row in rows] == ["image", "image", "image", "image", ""]
    shutil.copy(shop / "red/1.png", shop / "green/gone.png")
    rejects.write_text(rejects.read_text().replace("../../etc/passwd,blue", "red/2.png,red"))
    again = arguments(repository, rejects, "--from", str(shop.parent / "trained"), "--allow-regression")
    again[again.index("--output") + 1] = str(shop.parent / "again")
    assert main(again) == 1
    assert "warning: 2 of 5 rows" in capsys.readouterr().out
    assert (shop / "shop.rejects-2.csv").is_file()


def test_split_folders_are_the_splits_of_the_training(repository: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for seed, (split, count) in enumerate((("Train", 20), ("val", 6), ("TEST", 4))):
        paint(data / split, COLOURS, count, 110, seed)
    shutil.copy(data / "Train/red/0-0.png", data / "TEST/red/leak.png")
    (data / "Train/white").mkdir()
    assert main(arguments(repository, data)) == 0
    names = {"Train": "train", "val": "validation", "TEST": "test"}
    for row in table_of(tmp_path / "trained/split.csv"):
        assert row["split"] == names[row["photo"].split("/")[0]]
    notices = facts_of(tmp_path / "trained")["notices"]
    assert any("plits by folder: 13 test, 60 train, 18 validation photos" in notice for notice in notices)
    assert any("without a photo, left out (1): Train/white" in notice for notice in notices)
    assert any("1 pairs of near-duplicates are in different splits that are given" in notice for notice in notices)


def test_validation_set_is_a_part_of_the_training_photos_when_none_is_given(repository: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for seed, (split, count) in enumerate((("train", 20), ("test", 4))):
        paint(data / split, COLOURS, count, 110, seed)
    assert main(arguments(repository, data)) == 0
    splits = {row["photo"]: row["split"] for row in table_of(tmp_path / "trained/split.csv")}
    assert all((split == "test") == photo.startswith("test/") for photo, split in splits.items())
    assert 6 <= list(splits.values()).count("validation") <= 15
    assert any("No photo is given for validation" in notice for notice in facts_of(tmp_path / "trained")["notices"])


def test_nested_folders_belong_to_the_class_unless_the_last_level_is_asked_for(repository: Path, shop: Path) -> None:
    (shop / "red/dark").mkdir()
    for number in range(6):
        (shop / f"red/{number}.png").rename(shop / f"red/dark/{number}.png")
    assert main(arguments(repository, shop)) == 0
    assert read_trained_folder(shop.parent / "trained").heads["category"].classes == ("blue", "green", "red")
    assert main(arguments(repository, shop, "--replace", "--class-level", "last")) == 0
    assert read_trained_folder(shop.parent / "trained").heads["category"].classes == ("blue", "dark", "green", "red")


def test_dry_run_shows_what_would_be_trained_and_does_nothing(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(shop / "red/0.png", shop / "blue/copy.png")
    (shop / "white").mkdir()
    (shop / "__MACOSX").mkdir()
    before = sorted(shop.parent.rglob("*"))
    words = [
        "train",
        str(shop),
        "--dry-run",
        "--repository",
        "nowhere",
        "--cache",
        str(shop.parent / "cache"),
        "--json",
    ]
    assert main(words) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["attributes"] == {"category": {"blue": 13, "green": 12, "red": 12}}
    assert (report["photos"], report["splits"], report["refused"]) == (37, {}, [])
    assert report["skipped"][0]["reason"] == "left by another program"
    for said in (
        "category: 3 classes",
        "blue: 13 photos",
        "left out (1): white",
        "identical files with different labels",
    ):
        assert said in err
    assert sorted(shop.parent.rglob("*")) == before
    (shop / "blue/gone.png").symlink_to("nowhere.png")
    assert main(words) == 1
    assert json.loads(capsys.readouterr().out)["refused"] != []


def test_names_that_no_text_can_hold_reach_the_trained_folder(repository: Path, shop: Path) -> None:
    os.rename(shop / "red/0.png", os.fsencode(shop) + b"/red/sch\xf6n\n.png")
    os.rename(shop / "blue", os.fsencode(shop) + b"/bl\xe4u")
    assert main(arguments(repository, shop)) == 0
    assert read_trained_folder(shop.parent / "trained").heads["category"].classes == ("bläu", "green", "red")
    names = [row["photo"] for row in table_of(shop.parent / "trained/split.csv")]
    assert len(names) == 36
    assert any("sch\\udcf6n" in name for name in names)
    again = ["--from", str(shop.parent / "trained"), "--output", str(shop.parent / "next"), "--allow-regression"]
    assert main(arguments(repository, shop, *again)) == 0
