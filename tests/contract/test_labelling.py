"""The group `label` on a catalogue whose truth is known."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export.cli.main import main
from tests.contract.colours import COLOURS, paint


@pytest.fixture
def run(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The command line; returns exit code, its JSON where there is some, and what was said."""

    def call(*words: str) -> tuple[int, dict[str, Any], str]:
        capsys.readouterr()
        code = main([*words, "--repository", str(repository), "--cache", str(tmp_path / "cache"), "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out.strip() else {}, err

    return call


@pytest.fixture
def trained(run: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    # Noise in which two photos of a colour are no near-duplicates.
    paint(tmp_path / "noisy", COLOURS, 40, 110, 1)
    words = ("--output", str(folder), "--trials", "1", "--precision", "0.8")
    code, _, err = run("train", str(tmp_path / "noisy"), *words)
    assert code == 0, err
    return folder


@pytest.fixture
def unlabelled(shop: Path, tmp_path: Path) -> Path:
    """Four plain ones, two between red and blue, and a file that is no photo."""
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    for name, rgb in (("a", (200, 40, 40)), ("b", (40, 200, 40)), ("c", (40, 40, 200)), ("d", (205, 45, 45))):
        Image.new("RGB", (120, 120), rgb).save(folder / f"{name}.png")
    for name, rgb in (("between-1", (120, 40, 121)), ("between-2", (121, 40, 120))):
        Image.new("RGB", (120, 120), rgb).save(folder / f"{name}.png")
    (folder / "text.jpg").write_text("no photo")
    return folder


def test_suggested_photos_are_those_between_classes(run: Any, trained: Path, unlabelled: Path, tmp_path: Path) -> None:
    output = tmp_path / "next"
    code, report, _ = run("label", "suggest", str(trained), str(unlabelled), "--count", "2", "--output", str(output))
    assert (code, report["suggested"], report["photos"], report["refused"]) == (1, 2, 6, 1)
    (refused,) = csv.DictReader((output / "refused.csv").read_text().splitlines())
    assert (Path(refused["photo"]).name, "unreadable image" in refused["why"]) == ("text.jpg", True)
    rows = list(csv.DictReader((output / "suggested.csv").read_text().splitlines()))
    assert {row["image"] for row in rows} & {"between-1.png", "between-2.png"}
    assert all(row["category"] == "" and row["guess"] in ("red", "green", "blue") for row in rows)
    with Image.open(output / "suggested.png") as sheet:
        assert sheet.size == (2 * 170 + 10, 160 + 34 + 20)


def test_auto_labels_are_those_above_the_threshold_with_their_expected_error(
    run: Any, trained: Path, unlabelled: Path, tmp_path: Path
) -> None:
    output = tmp_path / "auto.csv"
    (unlabelled / "text.jpg").unlink()
    (unlabelled / ".thumbs").mkdir()
    shutil.copy(unlabelled / "a.png", unlabelled / ".thumbs/a.png")
    code, report, err = run("label", "auto", str(trained), str(unlabelled), "--output", str(output))
    assert code == 0, err
    chosen = json.loads((trained / "training.json").read_text())["attributes"]["category"]["abstain_below"]
    assert report["threshold"] == chosen
    assert report["expected_error"].endswith("%)")
    rows = {row["image"]: row for row in csv.DictReader(output.read_text().splitlines())}
    assert len(rows) == report["labelled"]
    assert all(float(row["score"]) >= chosen - 5e-4 for row in rows.values())
    expected = {"a.png": "red", "b.png": "green", "c.png": "blue", "d.png": "red"}
    assert {name: rows[name]["category"] for name in expected if name in rows}.items() <= expected.items()
    code, report, _ = run(
        "label", "auto", str(trained), str(unlabelled), "--output", str(output), "--threshold", "0.999999"
    )
    assert report["expected_error"] is None


def test_missing_threshold_is_said_before_a_photo_is_opened(
    run: Any, trained: Path, unlabelled: Path, tmp_path: Path
) -> None:
    facts = json.loads((trained / "training.json").read_text())
    facts["attributes"]["category"]["abstain_below"] = None
    (trained / "training.json").write_text(json.dumps(facts))
    before = sorted((tmp_path / "cache").rglob("*"))
    code, _, said = run("label", "auto", str(trained), str(unlabelled), "--output", str(tmp_path / "labels.csv"))
    assert code == 1
    assert "has no threshold for category" in said
    assert "Features of" not in said
    assert sorted((tmp_path / "cache").rglob("*")) == before


def test_exchanged_labels_are_listed(run: Any, shop: Path, tmp_path: Path) -> None:
    shutil.move(shop / "red/0.png", shop / "blue/was-red.png")
    code, report, _ = run("label", "check", str(shop), "--output", str(tmp_path / "errors"))
    assert code == 0
    rows = list(csv.DictReader((tmp_path / "errors/label-errors.csv").read_text().splitlines()))
    assert report["label_errors"] == len(rows) <= 3
    assert Path(rows[0]["image"]).name == "was-red.png"
    assert (rows[0]["label"], rows[0]["guess"]) == ("blue", "red")


@pytest.mark.parametrize("verb", ["suggest", "auto", "check", "estimate"])
def test_dry_run_counts_and_computes_nothing(run: Any, shop: Path, tmp_path: Path, verb: str) -> None:
    (shop / "red/._0.png").write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    words = ("nowhere", str(shop)) if verb in ("suggest", "auto") else (str(shop),)
    code, report, err = run("label", verb, *words, "--dry-run")
    assert (code, report["photos"], report["skipped"][0]["reason"]) == (0, 36, "hidden"), err
    assert sorted(tmp_path.rglob("*")) == before


def test_suggested_table_is_learned_from_without_its_guesses(
    run: Any, trained: Path, unlabelled: Path, tmp_path: Path
) -> None:
    output = tmp_path / "next"
    run("label", "suggest", str(trained), str(unlabelled), "--count", "4", "--output", str(output))
    rows = list(csv.DictReader((output / "suggested.csv").read_text().splitlines()))
    for number, row in enumerate(rows):
        row["category"] = ("warm", "cold")[number % 2]
    with (unlabelled / "suggested.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    code, report, err = run("train", str(unlabelled / "suggested.csv"), "--dry-run")
    assert (code, list(report["attributes"])) == (0, ["category"]), err
    assert "guesses of a model" in err


def test_few_shots_are_measured_over_their_draws(run: Any, shop: Path) -> None:
    code, report, _ = run("label", "estimate", str(shop), "--shots", "1", "4", "--draws", "3")
    assert code == 0
    assert set(report["shots"]) == {"1", "4"}
    for one in report["shots"].values():
        assert 0 <= one["low"] <= one["accuracy"] <= one["high"] <= 1
    assert report["shots"]["4"]["accuracy"] > 0.8


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("label", "suggest", "nowhere", "{photos}"), 1, "is not a trained folder"),
        (("label", "suggest", "{trained}", "{empty}"), 1, "contains no photo"),
        (("label", "suggest", "{trained}", "{photos}", "--attribute", "brand"), 1, "no head 'brand'; expected one of"),
        (("label", "auto", "{trained}", "{photos}", "--threshold", "7"), 2, "a score above 0 and below 1"),
        (("label", "check", "nowhere"), 1, "nowhere does not exist"),
        (("label", "check", "{shop}", "--attribute", "brand"), 1, "no attribute 'brand'"),
    ],
)
def test_tools_refuse_with_a_sentence_what_they_cannot_use(
    run: Any, trained: Path, unlabelled: Path, shop: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"trained": trained, "photos": unlabelled, "shop": shop, "empty": tmp_path / "empty"}
    found, _, err = run(*(word.format(**places) for word in words))
    assert said in err
    assert found == code


def test_threshold_of_the_report_reaches_the_trained_folder(trained: Path) -> None:
    facts = json.loads((trained / "training.json").read_text())
    report = json.loads((trained / "evaluation.json").read_text())["attributes"]["category"]
    assert facts["attributes"]["category"]["abstain_below"] == report["threshold"]
    assert np.isfinite(report["threshold"])
    assert "<svg" not in (trained / "report.html").read_text()  # plots are inside as data
    assert (trained / "report.html").stat().st_size > 100_000
