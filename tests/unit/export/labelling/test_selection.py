"""Suggesting, doubting and few shots on clouds whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export.labelling.contact_sheet import write_sheet, write_table
from export.labelling.selection import (
    find_label_issues,
    measure_few_shot,
    score_margins,
    select_confident,
    select_for_labelling,
)


def clouds(count: int, spread: float = 0.35, seed: int = 0) -> tuple[Any, Any]:
    """float[N,6] around 4 axes, and which."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 4, count)
    return np.eye(6)[targets] + spread * random.normal(size=(count, 6)), targets


def test_margin_is_between_the_two_best() -> None:
    assert score_margins(np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])) == pytest.approx([0.2, 0.7])


def test_suggested_photos_are_uncertain_and_of_every_kind() -> None:
    random = np.random.default_rng(1)
    # 200 sure ones, and three groups of 20 that are alike within and uncertain alike.
    features = np.concatenate([np.eye(5)[np.full(200, 4)], np.repeat(np.eye(5)[:3], 20, axis=0)])
    features = features + 0.01 * random.normal(size=features.shape)
    uncertain = np.concatenate([np.full(200, 0.99), np.full(60, 0.55) + 0.01 * random.random(60)])
    scores = np.stack([uncertain, 1 - uncertain], axis=1)
    rows = select_for_labelling(scores, features, 6)
    assert len(rows) == 6
    assert len(set(rows.tolist())) == 6
    assert (rows >= 200).all()
    assert {(int(row) - 200) // 20 for row in rows} == {0, 1, 2}
    margins = score_margins(scores)[rows]
    assert margins.tolist() == sorted(margins)
    # The plain order would take them all where the margins happen to be least, whatever is alike.
    assert len(select_for_labelling(scores[:3], features[:3], 6)) == 3


def test_sure_enough_are_those_above_the_threshold_in_their_order() -> None:
    scores = np.array([[0.9, 0.1], [0.5, 0.5], [0.05, 0.95], [0.8, 0.2]])
    assert select_confident(scores, 0.8).tolist() == [2, 0, 3]


def test_flipped_labels_are_found_and_right_ones_mostly_left_alone() -> None:
    features, targets = clouds(600, spread=0.15)
    random = np.random.default_rng(2)
    flipped = random.permutation(600)[:30]
    wrong = targets.copy()
    wrong[flipped] = (targets[flipped] + 1 + random.integers(0, 3, 30)) % 4
    rows, scores = find_label_issues(features, wrong)
    found = set(rows.tolist()) & set(flipped.tolist())
    assert len(found) >= 27  # clouds of 0.15 do not overlap
    assert len(rows) <= 40
    assert scores.shape == (600, 4)


def test_few_shots_are_worse_than_more_and_alike_for_a_seed() -> None:
    features, targets = clouds(800)
    test_features, test_targets = clouds(400, seed=5)
    accuracy = {shots: measure_few_shot(features, targets, test_features, test_targets, shots, 6) for shots in (1, 20)}
    assert np.mean(accuracy[20]) > np.mean(accuracy[1]) + 0.05
    assert accuracy[1] == measure_few_shot(features, targets, test_features, test_targets, 1, 6)


def test_sheet_shows_every_photo_and_a_field_for_one_that_cannot_be_read(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (200, 30, 30)).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"no photo")
    write_sheet(tmp_path / "sheet.png", [(tmp_path / "a.jpg", "a" * 80, "0.5"), (tmp_path / "b.jpg", "b", "")])
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (160 + 34 + 20, 2 * 170 + 10, 3)
    assert abs(sheet[90, 90].astype(int) - (200, 30, 30)).max() < 10
    assert sheet[90, 260].tolist() == [240, 241, 244]
    write_table(tmp_path / "table.csv", [{"image": "ä, b.jpg", "category": ""}], ("image", "category"))
    assert (tmp_path / "table.csv").read_text(encoding="utf-8") == 'image,category\n"ä, b.jpg",\n'
