"""`triptych train` on catalogues as people have them: what is wrong is said, and nothing is lost."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from export.cli.main import main
from export.repository.configs import CHECKOUT_REPOSITORY
from export.repository.layout import EMBEDDER_ONNX
from export.repository.serving_package import IMPORTED
from export.training.features.extractor import PIXEL_SOURCES
from export.training.heads.trained_folder import read_trained_folder
from tests.contract.colours import COLOURS, paint

ROOT = CHECKOUT_REPOSITORY.parent


def arguments(repository: Path, catalogue: Path, *more: str) -> list[str]:
    folder = catalogue.parent if catalogue.is_file() else catalogue
    places = ["--repository", str(repository), "--output", str(folder.parent / "trained"), "--cache"]
    # Noise has no product: all photos of a colour are near-duplicates to a network that sees colours alone.
    return ["train", str(catalogue), *places, str(folder.parent / "cache"), "--trials", "1", *more]


def with_products(shop: Path) -> Path:
    """A table of the photos, split by hand."""
    with (shop / "shop.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "colour"])
        writer.writerows(
            [f"{photo.parent.name}/{photo.name}", photo.parent.name] for photo in sorted(shop.glob("*/*.png"))
        )
    return shop / "shop.csv"


def test_train_learns_and_a_second_run_looks_at_no_photo_again(
    repository: Path, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(repository, shop)) == 0
    trained = read_trained_folder(shop.parent / "trained")
    assert trained.heads["category"].classes == ("blue", "green", "red")
    assert "features of 36 computed" in capsys.readouterr().out
    assert main(arguments(repository, shop)) == 1
    assert "--replace" in capsys.readouterr().err
    assert main(arguments(repository, shop, "--replace")) == 0
    assert "features of 0 computed" in capsys.readouterr().out


def test_train_lists_skips_and_counts_photos_that_cannot_be_read(
    repository: Path, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "red/cut.png").write_bytes((shop / "red/0.png").read_bytes()[:200])
    (shop / "red/text.jpg").write_text("no photo")
    (shop / "blue/gone.jpg").symlink_to("nowhere.jpg")
    assert main(arguments(repository, shop)) == 1
    told = capsys.readouterr().out
    assert "2 photos cannot be read" in told
    assert "warning: 3 of 39 rows or photos were refused; all others were used" in told
    rows = list(csv.DictReader((shop.parent / "trained/unreadable.csv").read_text().splitlines()))
    reasons = {Path(row["photo"]).name: row["why"] for row in rows}
    assert reasons.keys() == {"cut.png", "text.jpg", "gone.jpg"}
    assert "unreadable image" in reasons["cut.png"]
    assert "unreadable image" in reasons["text.jpg"]
    assert "broken link" in reasons["gone.jpg"]
    assert read_trained_folder(shop.parent / "trained").facts["photos"]["unreadable"] == 2


def test_train_learns_a_class_with_one_photo_and_says_it_is_not_measured(repository: Path, shop: Path) -> None:
    (shop / "white").mkdir()
    Image.new("RGB", (90, 90), "white").save(shop / "white/only.png")
    assert main(arguments(repository, shop)) == 0
    trained = read_trained_folder(shop.parent / "trained")
    assert "white" in trained.heads["category"].classes
    assert any("1 classes have 1 photo" in notice and "white" in notice for notice in trained.facts["notices"])
    metrics = json.loads((shop.parent / "trained/metrics.json").read_text())
    assert metrics["category"]["classes"]["white"] == {"photos": 0, "recall": None}


def test_train_takes_spellings_as_one_and_keeps_what_it_said(repository: Path, shop: Path) -> None:
    table = with_products(shop)
    table.write_text(table.read_text().replace("red/3.png,red", "red/3.png, RED "))
    assert main(arguments(repository, table)) == 0
    trained = read_trained_folder(shop.parent / "trained")
    assert trained.heads["colour"].classes == ("blue", "green", "red")
    assert any("'RED' (1)" in notice for notice in trained.facts["notices"])


def test_train_says_where_one_file_has_two_labels(repository: Path, shop: Path) -> None:
    shutil.copy(shop / "red/0.png", shop / "blue/copy.png")
    assert main(arguments(repository, shop)) == 0
    notices = read_trained_folder(shop.parent / "trained").facts["notices"]
    assert any("identical files with different labels" in notice for notice in notices)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,colour\n", "0 rows"),
        ("image,colour\nred/0.png,red\nred/1.png,red\n", "2 classes or more"),
        ("image,colour\nred/0.png,red\n../../etc/passwd,blue\n", "outside the folder"),
        ("image,colour\nred/0.png,red\nred/none.png,blue\n", "2 classes or more"),
    ],
)
def test_train_is_refused_and_leaves_nothing_when_there_is_nothing_to_learn(
    repository: Path, shop: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "shop.csv").write_text(text)
    assert main(arguments(repository, shop / "shop.csv")) == 1
    assert message in capsys.readouterr().err
    assert not (shop.parent / "trained").exists()


def test_train_is_refused_when_no_photo_can_be_read(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/1.jpg", "b/2.jpg"):
        (tmp_path / "shop" / name).parent.mkdir(parents=True)
        (tmp_path / "shop" / name).write_text("no photo")
    assert main(arguments(repository, tmp_path / "shop")) == 1
    assert "None of the 2 photos" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["--split", "0.9,0.9,0.1"], ["--minutes", "-1"], ["--views", "0"], ["--unfreeze", "some"]]
)
def test_train_is_wrong_usage_when_an_option_cannot_be(repository: Path, shop: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments(repository, shop, *wrong))
    assert exit_.value.code == 2


def test_embedding_loss_is_wrong_usage_when_nothing_is_tuned(repository: Path, shop: Path) -> None:
    assert main(arguments(repository, shop, "--embedding-loss", "supcon")) == 2


def run_apart(command: list[str], limit_bytes: int | None = None) -> subprocess.Popen[str]:
    def limit() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.Popen(
        [sys.executable, "-m", "export", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


@pytest.mark.parametrize("limit_bytes", [4_000, 60_000])
def test_train_says_so_and_loses_nothing_when_the_disk_is_full(repository: Path, shop: Path, limit_bytes: int) -> None:
    """A file that may not grow is what a full disk is to one process; at 60 kB the cache fits partly."""
    assert main(arguments(repository, shop)) == 0
    before = read_trained_folder(shop.parent / "trained").facts
    shutil.rmtree(shop.parent / "cache")
    process = run_apart(arguments(repository, shop, "--replace"), limit_bytes)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1, errors
    assert "error: " in errors
    assert "--cache" in errors or "--output" in errors
    assert "Traceback" not in errors
    assert read_trained_folder(shop.parent / "trained").facts == before
    assert [path.name for path in shop.parent.iterdir() if path.name.startswith(".")] == []
    assert main(arguments(repository, shop, "--replace")) == 0


def test_train_goes_on_with_what_was_seen_when_it_was_killed(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for number in range(400):
        colour = list(COLOURS)[number % 3]
        file = tmp_path / "shop" / colour / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (600, 600, 3), np.uint8)).save(file, compress_level=0)
    process = run_apart(arguments(repository, tmp_path / "shop"))
    deadline_s = time.monotonic() + 200
    while not any(file.stat().st_size > 100_000 for file in tmp_path.glob("cache/*/data.mdb")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "trained").exists()
    assert main(arguments(repository, tmp_path / "shop")) == 0
    told = capsys.readouterr().out
    seen = int(told.partition("features of ")[2].partition(" computed")[0])
    assert 0 < seen < 400


def facts_of(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "training.json").read_text())
    return facts


def test_train_from_keeps_old_classes_without_their_photos_and_says_what_changed(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paint(tmp_path / "old", COLOURS, 40, 110, 1)
    paint(tmp_path / "new", {"yellow": (200, 200, 40)}, 40, 110, 2)
    places = ["--repository", str(repository), "--cache", str(tmp_path / "cache"), "--trials", "2"]
    assert main(["train", str(tmp_path / "old"), "--output", str(tmp_path / "first"), *places]) == 0
    old_sides = {row["sha256"]: row["split"] for row in table_of(tmp_path / "first/split.csv")}
    shutil.rmtree(tmp_path / "old")
    more = ["--output", str(tmp_path / "second"), "--from", str(tmp_path / "first"), "--margin", "0.5"]
    assert main(["train", str(tmp_path / "new"), *more, *places]) == 0
    second = read_trained_folder(tmp_path / "second")
    assert second.heads["category"].classes == ("blue", "green", "red", "yellow")
    change = second.facts["continued"]["category"]
    assert change["new_classes"] == ["yellow"]
    assert set(change["classes"]) == set(COLOURS)
    assert change["after"] > 0.5
    assert "before" in capsys.readouterr().out
    sides = {row["sha256"]: row["split"] for row in table_of(tmp_path / "second/split.csv")}
    assert {digest: sides[digest] for digest in old_sides} == old_sides
    assert len(sides) == len(old_sides) + 40
    metrics = json.loads((tmp_path / "second/metrics.json").read_text())
    assert metrics["category"]["classes"]["yellow"]["recall"] is not None


def table_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def test_train_from_is_refused_when_old_classes_are_lost_unless_told_so(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paint(tmp_path / "old", COLOURS, 30, 60, 1)
    # The same colours under one another's names: what was known becomes wrong.
    turned = {"red": COLOURS["green"], "green": COLOURS["blue"], "blue": COLOURS["red"]}
    paint(tmp_path / "new", turned, 300, 60, 3)
    places = ["--repository", str(repository), "--cache", str(tmp_path / "cache"), "--trials", "2"]
    assert main(["train", str(tmp_path / "old"), "--output", str(tmp_path / "first"), *places]) == 0
    more = ["train", str(tmp_path / "new"), "--output", str(tmp_path / "second"), "--from", str(tmp_path / "first")]
    # Near-duplicates of other labels would be kept with what they look like: each photo is its own here.
    assert main([*more, *places]) == 1
    said = capsys.readouterr().err
    assert "the margin is 0.02" in said
    assert "--allow-regression" in said
    assert not (tmp_path / "second").exists()
    assert main([*more, *places, "--publish-worse"]) == 0  # the earlier name of --allow-regression
    assert "use --allow-regression" in capsys.readouterr().err
    change = facts_of(tmp_path / "second")["continued"]["category"]
    assert change["before"] - change["after"] > 0.02


def test_train_from_is_refused_when_the_backbone_is_another(
    repository: Path, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(repository, shop)) == 0
    other = tmp_path / "other"
    shutil.copytree(repository, other)
    model = onnx.load(other / EMBEDDER_ONNX)
    model.graph.node[1].attribute[0].ints[:] = [0, 3, 2, 1]
    onnx.save(model, other / EMBEDDER_ONNX)
    more = ["--from", str(shop.parent / "trained"), "--output", str(tmp_path / "next")]
    assert main(arguments(other, shop, *more)) == 1
    assert "trained on another backbone" in capsys.readouterr().err


def test_train_is_refused_when_the_repository_serves_other_code(
    repository: Path, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(repository, tmp_path / "other"))
    with (other / "triptych_models/recognition/preprocessing.py").open("a") as code:
        code.write("# Another version.\n")
    assert main(arguments(other, shop)) == 1
    said = capsys.readouterr().err
    assert "(recognition/preprocessing.py differs)" in said
    assert f"Run `triptych build --repository {other}` again." in said
    assert not (shop.parent / "trained").exists()


def test_kept_features_are_made_anew_when_any_code_that_decodes_changes() -> None:
    assert set(PIXEL_SOURCES) == {"recognition/preprocessing.py", *imported_by("recognition/preprocessing.py")}


def imported_by(module: str) -> set[str]:
    """Modules of the package that one needs for its pixels; `errors` decides what is refused, not what is seen."""
    found: set[str] = set()
    pending = [module]
    while pending:
        text = (IMPORTED / pending.pop()).read_text()
        names = re.findall(r"^from triptych_models\.(\S+) import", text, re.MULTILINE)
        new = {f"{name.replace('.', '/')}.py" for name in names if name != "errors"} - found
        pending += new
        found |= new
    return found
