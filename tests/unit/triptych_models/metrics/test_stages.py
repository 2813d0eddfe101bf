import time
from pathlib import Path

import numpy as np
import pytest

from triptych_models.errors import Code
from triptych_models.metrics.embedding_drift import Reference, RunningMean
from triptych_models.metrics.families import MAX_CATEGORIES
from triptych_models.metrics.model_metrics import RefusalMetrics, record_restarts, record_shared_memory
from triptych_models.metrics.recognitions import DECODED, RecognitionMetrics, plausible_duration
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.sources import IMPORT, OTHER, SHOPPER, SOURCES, parse_source
from triptych_models.metrics.stages import (
    ClassifyMetrics,
    DecodeMetrics,
    EmbedMetrics,
    categories_of,
)

LABELS = ["tench", "Shoes / Loafer", "Shoes / sandal", "Clothing / abaya"]


def value(registry: MetricRegistry, name: str, **labels: str) -> float:
    """The total of the one series with the labels; of the shoppers', where none names a source."""
    labels.setdefault("source", SHOPPER)
    (found,) = [
        total
        for series, total in zip(registry.series, registry.totals(), strict=True)
        if series.name == name and labels.items() <= {"source": SHOPPER, **series.labels}.items()
    ]
    return found


def test_answers_are_counted_by_category_and_score() -> None:
    registry = MetricRegistry("classifier")
    stage = ClassifyMetrics(registry, LABELS, abstain_below=0.3)
    rows = [[0.1, 0.7, 0.1, 0.1], [0.26, 0.25, 0.25, 0.24], [0.3, 0.1, 0.1, 0.5], [0.05, 0.05, 0.8, 0.1]]
    stage.record_answer(np.array(rows, np.float32), SHOPPER)
    assert value(registry, "triptych_photos_total") == 4
    assert value(registry, "triptych_abstained_total") == 1
    assert value(registry, "triptych_top1_score_sum") == pytest.approx(0.7 + 0.26 + 0.5 + 0.8)
    counted = {
        name: value(registry, "triptych_predictions_total", category=name) for name in ("Shoes", "Clothing", "none")
    }
    assert counted == {"Shoes": 2, "Clothing": 1, "none": 1}


def test_score_at_the_threshold_is_no_abstention() -> None:
    registry = MetricRegistry("classifier")
    ClassifyMetrics(registry, LABELS, abstain_below=0.5).record_answer(
        np.array([[0.5, 0.2, 0.2, 0.1]], np.float32), SHOPPER
    )
    assert value(registry, "triptych_abstained_total") == 0


def test_categories_are_bounded_whatever_the_labels_are() -> None:
    labels = [f"Shelf {number} / thing" for number in range(1000)] + ["tench"]
    categories = categories_of(labels)
    assert len(categories) == len(labels)
    assert set(categories) == {*(f"Shelf {number}" for number in range(MAX_CATEGORIES)), "other", "none"}


def test_time_is_taken_once_a_request_and_not_when_the_stage_fails() -> None:
    registry = MetricRegistry("embedder")
    stage = EmbedMetrics(registry, None)
    with stage.timed(requests=3):
        pass
    with pytest.raises(ZeroDivisionError), stage.timed():
        _ = 1 / 0
    assert value(registry, "triptych_stage_duration_seconds_count") == 3


def test_photo_is_measured_in_bytes_and_pixels() -> None:
    registry = MetricRegistry("preprocess")
    DecodeMetrics(registry).record_photo(SHOPPER, 80_000, 640 * 480)
    assert value(registry, "triptych_photo_size_bytes_sum") == 80_000
    assert value(registry, "triptych_photo_size_bytes_bucket", le="100000") == 1
    assert value(registry, "triptych_photo_size_bytes_bucket", le="30000") == 0
    assert value(registry, "triptych_photo_size_pixels_sum") == 640 * 480


def test_drift_is_no_metric_when_the_release_has_no_reference() -> None:
    registry = MetricRegistry("embedder")
    stage = EmbedMetrics(registry, None)
    stage.record_answer(np.ones((1, 4), np.float32), SHOPPER)
    assert registry.gauges == []


def test_shared_memory_is_read_when_it_is_published() -> None:
    registry = MetricRegistry("embedder")
    record_shared_memory(registry)
    (gauge,) = registry.gauges
    assert gauge.series.name == "triptych_shared_memory_free_bytes"
    assert gauge.read() > 0


def test_recognition_is_timed_from_its_first_step_when_the_request_came_from_there() -> None:
    registry = MetricRegistry("classifier")
    recognitions = RecognitionMetrics(registry)
    recognitions.record(np.array([[time.monotonic() - 0.2, 0.0]]), SHOPPER)
    for timing in (None, np.empty((0, 2)), np.array([[time.monotonic() + 60, 0.0]]), np.array([[-1e9, 0.0]])):
        recognitions.record(timing, SHOPPER)
    assert value(registry, "triptych_recognition_duration_seconds_count", model="recognizer") == 1
    assert value(registry, "triptych_recognition_duration_seconds_sum") == pytest.approx(0.2, abs=0.1)


def test_refusals_are_counted_by_code_and_only_those_declared() -> None:
    registry = MetricRegistry("preprocess")
    refusals = RefusalMetrics(registry, (Code.IMAGE_UNREADABLE,))
    refusals.count(Code.IMAGE_UNREADABLE, SHOPPER)
    refusals.count(Code.INTERNAL, SHOPPER)
    assert value(registry, "triptych_refusals_total", code="image_unreadable", model="preprocess") == 1
    assert value(registry, "triptych_refusals_total", code="internal") == 1
    assert not refusals.knows(Code.FILTER_INVALID)


def test_scores_that_are_no_numbers_are_not_counted() -> None:
    registry = MetricRegistry("classifier")
    stage = ClassifyMetrics(registry, LABELS, abstain_below=0.3)
    stage.record_answer(
        np.array([[np.nan, 0.1, 0.1, 0.1], [np.inf, 0, 0, 0], [0.1, 0.7, 0.1, 0.1]], np.float32), SHOPPER
    )
    assert value(registry, "triptych_photos_total") == 1
    assert value(registry, "triptych_top1_score_sum") == pytest.approx(0.7)


@pytest.mark.parametrize("stamp", [-np.inf, np.inf, np.nan, -1.0, 1e9])
def test_stamp_is_not_believed_when_no_ensemble_can_have_made_it(stamp: float) -> None:
    assert plausible_duration(np.array([[stamp, stamp]]), DECODED, now_s=1000.0) is None
    assert plausible_duration(np.array([[stamp, 999.5]]), DECODED, now_s=1000.0) == 0.5


@pytest.mark.parametrize(
    ("said", "counted"),
    [*((source, source) for source in SOURCES), (None, SHOPPER), ("nightly", OTHER), ("", OTHER), (7, OTHER)],
)
def test_source_is_one_of_a_few_whatever_a_caller_says(said: object, counted: str) -> None:
    assert parse_source(said) == counted


def test_import_leaves_the_shoppers_figures_as_they_are() -> None:
    registry = MetricRegistry("recognizer")
    stage = ClassifyMetrics(registry, LABELS, abstain_below=0.3)
    stage.record_answer(np.array([[0.1, 0.2, 0.1, 0.1]], np.float32), IMPORT)
    DecodeMetrics(registry).record_photo(IMPORT, 80_000, 640 * 480)
    names = ("triptych_photos_total", "triptych_abstained_total", "triptych_top1_score_count")
    for name in (*names, "triptych_photo_size_bytes_count"):
        assert (value(registry, name, source=IMPORT), value(registry, name)) == (1, 0), name


def test_drift_follows_shoppers_photos_alone(tmp_path: Path) -> None:
    mean = RunningMean(tmp_path, Reference(np.array([1.0, 0.0]), "0" * 64))
    registry = MetricRegistry("embedder")
    stage = EmbedMetrics(registry, mean)
    other_way = np.array([[0.0, 1.0]] * 500, np.float32)
    stage.record_answer(other_way, IMPORT)
    registry.totals()
    assert mean.drift() == 0
    stage.record_answer(other_way, SHOPPER)
    registry.totals()
    assert mean.drift() > 0.01


def test_restarts_are_published_by_one_instance_of_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_RESTARTS", "3")
    first, second = MetricRegistry("recognizer", warm_ups=1), MetricRegistry("index")
    for registry in (first, second):
        record_restarts(registry, tmp_path)
    name = "triptych_server_restarts_total"
    assert (value(first, name), value(second, name)) == (3, 0)
