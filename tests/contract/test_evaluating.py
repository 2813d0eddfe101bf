"""`triptych evaluate` on photos whose use in the training is known."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from export.cli.main import main
from tests.contract.colours import COLOURS, paint


@pytest.fixture(scope="module")
def folder(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`photos` with noise in which no two photos are near-duplicates, and `trained` on them."""
    folder = tmp_path_factory.mktemp("evaluating")
    paint(folder / "photos", COLOURS, 40, 110, 1)
    words = ["--output", str(folder / "trained"), "--cache", str(folder / "cache"), "--repository", str(repository)]
    assert main(["train", str(folder / "photos"), "--trials", "1", "--precision", "0.8", *words]) == 0
    return folder


@pytest.fixture
def run(repository: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """`evaluate` on the trained folder; returns exit code, its JSON where there is some, and what was said."""

    def call(catalogue: Path, *more: str, trained: Path = folder / "trained") -> tuple[int, dict[str, Any], str]:
        capsys.readouterr()
        words = [
            "--output",
            str(tmp_path / "report"),
            "--repository",
            str(repository),
            "--cache",
            str(folder / "cache"),
        ]
        code = main(["evaluate", str(trained), str(catalogue), *words, "--json", *more])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out.strip() else {}, err

    return call


def splits_of(trained: Path) -> dict[str, list[str]]:
    """Split -> photos of the training, below its folder."""
    found: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for row in csv.DictReader((trained / "split.csv").read_text().splitlines()):
        found[row["split"]].append(row["photo"])
    return found


def test_catalogue_of_the_training_gives_the_figures_of_its_test_photos(run: Any, folder: Path, tmp_path: Path) -> None:
    code, report, said = run(folder / "photos")
    assert code == 0, said
    sizes = {split: len(photos) for split, photos in splits_of(folder / "trained").items()}
    assert report["photos"] == {
        "unused": sizes["test"],
        "train": sizes["train"],
        "validation": sizes["validation"],
        "near-duplicate": 0,
        "unreadable": 0,
    }
    trained = json.loads((folder / "trained/metrics.json").read_text())["category"]
    assert {name: report["metrics"]["category"][name] for name in trained["test"]} == trained["test"]
    assert report["metrics"]["category"]["classes"] == trained["classes"]
    written = json.loads((tmp_path / "report/evaluation.json").read_text())["attributes"]["category"]
    first = json.loads((folder / "trained/evaluation.json").read_text())["attributes"]["category"]
    assert first["threshold"] is not None
    for name in ("threshold", "temperature", "accuracy", "confusion", "target_precision", "answered_test"):
        assert written[name] == first[name], name
    page = (tmp_path / "report/report.html").read_text()
    assert "trained: evaluated on photos" in page
    assert f"Left out are {sizes['train'] + sizes['validation']} of 120 photos" in page


def test_photos_that_the_training_has_seen_are_left_out(run: Any, folder: Path, tmp_path: Path) -> None:
    used = [photo for photo in splits_of(folder / "trained")["train"] if photo.startswith("red/")]
    fresh = tmp_path / "fresh"
    paint(fresh, COLOURS, 10, 110, 2)
    paint(fresh, {"yellow": (200, 200, 40)}, 4, 110, 2)
    (fresh / "red").rename(fresh / "RED")  # a label is the same in another spelling
    shutil.copy(folder / "photos" / used[0], fresh / "RED/copy.png")
    with Image.open(folder / "photos" / used[1]) as photo:
        photo.resize((180, 180)).save(fresh / "RED/larger.png")
    (fresh / "blue/text.jpg").write_text("no photo")
    code, report, said = run(fresh)
    assert (code, report["refused"]) == (1, 1), said
    assert "warning: 1 of 37 rows or photos were refused; all others were used" in said
    (refused,) = csv.DictReader(Path(report["rejects"]).read_text().splitlines())
    assert Path(refused["photo"]).name == "text.jpg"
    assert report["photos"] == {"unused": 34, "train": 1, "validation": 0, "near-duplicate": 1, "unreadable": 1}
    figures = report["metrics"]["category"]
    assert figures["photos"] == 30
    assert figures["accuracy"] > 0.6
    assert {name: one["photos"] for name, one in figures["classes"].items()} == dict.fromkeys(COLOURS, 10)
    assert "Left out are 2 of 36 photos: 1 were used for training, 0 for validation, 1 are" in said
    assert "category: 4 photos have labels that the head does not know and are left out: yellow." in said
    assert "1 photos cannot be read and are left out" in said


def test_table_with_one_class_is_evaluated(run: Any, tmp_path: Path) -> None:
    paint(tmp_path, {"green": COLOURS["green"]}, 5, 110, 3)
    rows = "".join(f"green/3-{number}.png,green,x{number % 2}\n" for number in range(5))
    (tmp_path / "new.csv").write_text(f"image,category,season\n{rows}")
    code, report, said = run(tmp_path / "new.csv")
    assert code == 0, said
    assert report["metrics"].keys() == {"category"}
    assert report["metrics"]["category"]["photos"] == 5


def test_report_is_replaced_only_when_asked_and_nothing_else_is(run: Any, folder: Path, tmp_path: Path) -> None:
    paint(tmp_path / "fresh", COLOURS, 2, 110, 4)
    assert run(tmp_path / "fresh")[0] == 0
    code, _, said = run(tmp_path / "fresh")
    assert (code, "replace it with --replace" in said) == (1, True)
    assert run(tmp_path / "fresh", "--replace")[0] == 0
    for place in (folder / "trained", tmp_path / "fresh"):
        code, _, said = run(tmp_path / "fresh", "--replace", "--output", str(place))
        assert (code, "is not a report of `evaluate`" in said) == (1, True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_test_photos_are_evaluated_when_the_catalogue_names_its_splits(run: Any, tmp_path: Path) -> None:
    paint(tmp_path / "fresh/train", COLOURS, 3, 110, 5)
    paint(tmp_path / "fresh/testing", COLOURS, 2, 110, 6)
    code, report, said = run(tmp_path / "fresh")
    assert (code, report["photos"]["unused"]) == (0, 6), said
    assert "Evaluated are 6 photos: the 9 that the catalogue's splits keep for training" in said


def test_dry_run_shows_the_catalogue_and_writes_nothing(run: Any, tmp_path: Path) -> None:
    paint(tmp_path / "fresh/one", COLOURS, 2, 110, 7)
    code, report, said = run(tmp_path / "fresh", "--dry-run", trained=tmp_path / "nowhere")
    assert (code, report["attributes"]) == (0, {"category": {"one": 6}}), said
    assert "This was a dry run" in said
    assert [path.name for path in tmp_path.iterdir()] == ["fresh"]


@pytest.mark.parametrize("kind", ["seen", "unknown", "attribute", "nowhere", "untrained"])
def test_evaluation_is_refused_with_a_sentence(run: Any, folder: Path, tmp_path: Path, kind: str) -> None:
    paint(tmp_path / "unknown", {"yellow": (200, 200, 40)}, 3, 110, 2)
    (tmp_path / "unknown/other.csv").write_text("image,season\nyellow/2-0.png,summer\nyellow/2-1.png,winter\n")
    for photo in splits_of(folder / "trained")["train"][:5]:
        target = tmp_path / "seen" / photo
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "photos" / photo, target)
    catalogue, trained, sentence = {
        "seen": (tmp_path / "seen", folder / "trained", "0 of 5 readable photos were not used for training"),
        "unknown": (tmp_path / "unknown", folder / "trained", "none of these has a label that the heads know"),
        "attribute": (tmp_path / "unknown/other.csv", folder / "trained", "has heads of category"),
        "nowhere": (tmp_path / "nowhere", folder / "trained", "does not exist"),
        "untrained": (folder / "photos", folder / "photos", "is not a trained folder"),
    }[kind]
    code, report, said = run(catalogue, trained=trained)
    assert (code, report) == (1, {})
    assert sentence in said
    assert not (tmp_path / "report").exists()
