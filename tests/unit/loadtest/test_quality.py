"""Recall and mAP on embeddings whose ranking is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from loadtest.errors import LoadTestError
from loadtest.quality import VIEWS, Labelled, compare, narrow, score_all, whiten


def labelled(*labels: str, categories: tuple[str, ...] = ()) -> Labelled:
    files = [Path(label) / f"{number}.jpg" for number, label in enumerate(labels)]
    return Labelled(files, np.array(labels), np.array(categories or ("all",) * len(labels)))


def test_scores_are_those_of_the_ranking() -> None:
    gallery, queries = labelled("shoe", "hat", "shoe"), labelled("shoe", "hat")
    seen = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    asked = np.array([[1, 0], [0, 1]], np.float32)
    plain = score_all(gallery, queries, dict.fromkeys(VIEWS, seen), dict.fromkeys(VIEWS, asked))[0]
    # shoe: ranks 1 and 3 of shoe, hat, shoe; hat: rank 2 of shoe, hat, shoe.
    assert (plain.name, plain.recall_1, plain.recall_10) == ("plain", 0.5, 1.0)
    assert plain.mean_average_precision == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    assert plain.gain_1 == (0.0, 0.0, 0.0)


def test_categories_that_the_nearest_vote_for_come_first_when_narrowed() -> None:
    gallery = labelled("a", "b", "c", "c", categories=("other", "shoes", "shoes", "shoes"))
    similarity = np.array([[0.9, 0.8, 0.7, -0.9]], np.float32)
    # Votes: shoes 0.8 + 0.7, other 0.9: shoes hold 0.625 of them, which covers enough.
    assert np.argsort(-narrow(gallery, similarity)[0]).tolist() == [1, 2, 3, 0]
    assert similarity[0, 0] == pytest.approx(0.9)


def test_whitened_gallery_has_no_favourite_direction() -> None:
    rows = np.random.default_rng(8).normal(size=(400, 6)).astype(np.float32) * np.array([9, 5, 3, 2, 1, 1], np.float32)
    white, _ = whiten(rows, rows[:2], 4)
    assert np.linalg.norm(white, axis=1) == pytest.approx(np.ones(400), abs=1e-5)
    spread = white.std(axis=0)
    assert spread.max() / spread.min() < 1.15  # 9 and 2 before


def test_label_that_the_gallery_lacks_is_refused_before_anything_is_embedded(tmp_path: Path) -> None:
    for folder in ("gallery/shoe", "queries/hat"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "a.jpg")
    with pytest.raises(LoadTestError, match=r"1 labels of .*queries are not in .*gallery, 'hat' for one"):
        compare("127.0.0.1:1", tmp_path / "gallery", tmp_path / "queries", tmp_path, Console())
    with pytest.raises(LoadTestError, match="No photos below"):
        compare("127.0.0.1:1", tmp_path / "nothing", tmp_path / "queries", tmp_path, Console())
