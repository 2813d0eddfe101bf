import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from triptych_models.metrics.embedding_drift import HALF_LIFE_PHOTOS, Reference, RunningMean

SIDE = 8


def unit(angle: float) -> npt.NDArray[np.float32]:
    """A unit vector that far, in radians, from the reference's direction."""
    vector = np.zeros(SIDE, np.float32)
    vector[:2] = np.cos(angle), np.sin(angle)
    return vector


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    file = tmp_path / "reference.json"
    file.write_text(json.dumps({"photos": 5, "mean_embedding": unit(0).tolist()}))
    read = Reference.read(file)
    assert read is not None
    return read


def test_reference_is_none_when_the_release_has_none(tmp_path: Path) -> None:
    assert Reference.read(tmp_path / "reference.json") is None


def test_drift_starts_at_zero(tmp_path: Path, reference: Reference) -> None:
    assert RunningMean(tmp_path, reference).drift() == 0


def test_drift_stays_zero_when_photos_are_as_in_the_reference(tmp_path: Path, reference: Reference) -> None:
    mean = RunningMean(tmp_path, reference)
    mean.add(np.stack([unit(0.5), unit(-0.5)] * 1000))
    # float32 sums of a thousand terms
    assert mean.drift() == pytest.approx(0, abs=1e-7)


def test_half_of_the_weight_is_on_the_photos_of_one_half_life(tmp_path: Path, reference: Reference) -> None:
    mean = RunningMean(tmp_path, reference)
    mean.add(np.stack([unit(np.pi / 2)] * HALF_LIFE_PHOTOS))
    # Half reference, half a right angle from it: 45 degrees.
    assert mean.drift() == pytest.approx(1 - np.cos(np.pi / 4))


def test_photos_count_the_same_however_they_are_handed_over(tmp_path: Path, reference: Reference) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    at_once, one_by_one = RunningMean(tmp_path / "one", reference), RunningMean(tmp_path / "two", reference)
    at_once.add(np.stack([unit(1.0)] * 64))
    for _ in range(64):
        one_by_one.add(unit(1.0)[None])
        one_by_one.drift()
    assert one_by_one.drift() == pytest.approx(at_once.drift())


def test_instances_of_one_server_share_the_mean(tmp_path: Path, reference: Reference) -> None:
    left, right = RunningMean(tmp_path, reference), RunningMean(tmp_path, reference)
    for mean in (left, right):
        mean.add(np.stack([unit(np.pi / 2)] * (HALF_LIFE_PHOTOS // 2)))
        mean.drift()
    assert left.drift() == right.drift() == pytest.approx(1 - np.cos(np.pi / 4))


def test_another_release_starts_anew(tmp_path: Path, reference: Reference) -> None:
    mean = RunningMean(tmp_path, reference)
    mean.add(np.stack([unit(1.0)] * 500))
    assert mean.drift() > 0.01
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"photos": 6, "mean_embedding": unit(0).tolist()}))
    read = Reference.read(other)
    assert read is not None
    assert RunningMean(tmp_path, read).drift() == 0


def test_nothing_is_lost_when_instances_hand_over_at_once(tmp_path: Path, reference: Reference) -> None:
    means = [RunningMean(tmp_path, reference) for _ in range(4)]

    def hand_over(mean: RunningMean) -> None:
        for _ in range(HALF_LIFE_PHOTOS // 4):
            mean.add(unit(np.pi / 2)[None])
            mean.drift()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hand_over, means))
    assert means[0].drift() == pytest.approx(1 - np.cos(np.pi / 4))


def test_embeddings_that_are_no_numbers_are_left_out(tmp_path: Path, reference: Reference) -> None:
    mean = RunningMean(tmp_path, reference)
    bad = np.full((2, SIDE), np.nan, np.float32)
    bad[1] = np.inf
    mean.add(bad)
    assert mean.drift() == 0
    mean.add(np.stack([unit(1.0)] * HALF_LIFE_PHOTOS))
    assert mean.drift() > 0.01
