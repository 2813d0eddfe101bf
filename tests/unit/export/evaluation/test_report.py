"""The page: everything in it, nothing fetched; and what is spoilt on purpose."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.evaluation.corruptions import STRENGTHS, corrupt
from export.evaluation.evaluation import evaluate
from export.evaluation.predictions import Predictions
from export.evaluation.report import write_report
from export.evaluation.robustness import measure_robustness

SIDE = 32


def photos_in(folder: Path, count: int) -> list[Path]:
    """The last one is no photo."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths[:-1]):
        Image.new("RGB", (40, 30), (number * 3 % 255, 90, 160)).save(path)
    paths[-1].write_bytes(b"no photo")
    return paths


@pytest.fixture
def judged(tmp_path: Path) -> Predictions:
    random = np.random.default_rng(4)
    targets = random.integers(0, 3, 60)
    logits = (2 * np.eye(3)[targets] + random.normal(size=(60, 3))).astype(np.float32)
    logits[-1] = -5 * np.eye(3)[targets[-1]]  # surely wrong: the photo that cannot be read is a mistake
    classes = ("T-shirts & <tops>", "shoes", "hats")
    return Predictions("category", classes, tuple(photos_in(tmp_path / "photos", 60)), targets, logits, logits)


def test_page_holds_everything_and_fetches_nothing(judged: Predictions, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (20, SIDE, SIDE, 3)).astype(np.uint8)
    robustness = measure_robustness("category", pixels, np.zeros(20, np.int64), lambda some: np.eye(3)[[0] * len(some)])
    page = write_report([evaluate(judged, judged, 1.0)], tmp_path / "out", "Shop & sons", {"seed": 3}, [robustness])
    text = page.read_text()
    sources = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert not re.search(r"@import|url\(|<link|<script src", text)
    plots = [base64.b64decode(source.partition(",")[2]) for source in sources if source.startswith("data:image/svg")]
    assert len(plots) == 5  # confusion, classes, reliability, risk; robustness
    assert all(b"<svg" in plot and len(plot) > 5000 for plot in plots)
    assert "Shop &amp; sons" in text
    assert "T-shirts &amp; &lt;tops&gt;" in text
    assert "photo\ncannot be read" in text
    figures = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert figures["attributes"]["category"]["test_photos"] == 60
    assert len(figures["robustness"]["category"]["corrupted"]) == 18
    assert list((tmp_path / "out/tensorboard").glob("events.*"))


@pytest.mark.parametrize("kind", STRENGTHS)
def test_photos_are_spoilt_more_at_each_strength_and_alike_each_time(kind: str) -> None:
    ramp = np.linspace(0, 255, SIDE)
    photo = np.stack(
        [np.add.outer(ramp, 2 * ramp) % 256, np.tile(ramp, (SIDE, 1)), np.tile(ramp, (SIDE, 1)).T], axis=-1
    )
    pixels = np.repeat(photo.astype(np.uint8)[None], 6, axis=0)
    others = np.random.default_rng(2).integers(0, 255, (4, SIDE, SIDE, 3)).astype(np.uint8)
    spoilt = [corrupt(pixels, kind, strength, 7, others) for strength in STRENGTHS[kind]]
    distances = [float(np.abs(one.astype(int) - pixels).mean()) for one in spoilt]
    assert all(one.shape == pixels.shape and one.dtype == np.uint8 for one in spoilt)
    assert 0 < distances[0] < distances[2]
    assert np.array_equal(spoilt[1], corrupt(pixels, kind, STRENGTHS[kind][1], 7, others))


def test_robustness_is_that_of_the_answers(tmp_path: Path) -> None:
    """A `network` that sees whether a photo is bright: noise and JPEG leave it, clutter with dark pieces does not."""
    pixels = np.full((30, SIDE, SIDE, 3), 230, np.uint8)
    pixels[15:] = 20

    def predict(some: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        bright = some.mean(axis=(1, 2, 3)) > 128
        answers: np.ndarray = np.stack([~bright, bright], axis=1).astype(np.float32)  # type: ignore[type-arg]
        return answers

    targets = (np.arange(30) < 15).astype(np.int64)
    found = measure_robustness("light", pixels, targets, predict)
    assert found.clean.value == 1.0
    by_kind = {(row.kind, row.strength): row.accuracy.value for row in found.corrupted}
    assert by_kind["noise", 0.16] == 1.0
    assert by_kind["JPEG", 8] == 1.0
    assert (by_kind["clutter", 0.55] or 0) < 1.0
