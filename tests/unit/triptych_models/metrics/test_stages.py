import time

import numpy as np
import pytest

from triptych_models.errors import Code
from triptych_models.metrics.families import MAX_CATEGORIES
from triptych_models.metrics.model_metrics import RefusalMetrics, record_shared_memory
from triptych_models.metrics.recognitions import DECODED, RecognitionMetrics, plausible_duration
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.stages import (
    ClassifyMetrics,
    DecodeMetrics,
    EmbedMetrics,
    categories_of,
)

LABELS = ["tench", "Shoes / Loafer", "Shoes / sandal", "Clothing / abaya"]


def value(registry: MetricRegistry, name: str, **labels: str) -> float:
    (found,) = [
        total
        for series, total in zip(registry.series, registry.totals(), strict=True)
        if series.name == name and labels.items() <= series.labels.items()
    ]
    return found


def test_answers_are_counted_by_category_and_score() -> None:
    registry = MetricRegistry("classifier")
    stage = ClassifyMetrics(registry, LABELS, abstain_below=0.3)
    rows = [[0.1, 0.7, 0.1, 0.1], [0.26, 0.25, 0.25, 0.24], [0.3, 0.1, 0.1, 0.5], [0.05, 0.05, 0.8, 0.1]]
    stage.record_answer(np.array(rows, np.float32))
    assert value(registry, "triptych_photos_total") == 4
    assert value(registry, "triptych_abstained_total") == 1
    assert value(registry, "triptych_top1_score_sum") == pytest.approx(0.7 + 0.26 + 0.5 + 0.8)
    counted = {
        name: value(registry, "triptych_predictions_total", category=name) for name in ("Shoes", "Clothing", "none")
    }
    assert counted == {"Shoes": 2, "Clothing": 1, "none": 1}


def test_score_at_the_threshold_is_no_abstention() -> None:
    registry = MetricRegistry("classifier")
    ClassifyMetrics(registry, LABELS, abstain_below=0.5).record_answer(np.array([[0.5, 0.2, 0.2, 0.1]], np.float32))
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
    DecodeMetrics(registry).record_photo(80_000, 640 * 480)
    assert value(registry, "triptych_photo_size_bytes_sum") == 80_000
    assert value(registry, "triptych_photo_size_bytes_bucket", le="100000") == 1
    assert value(registry, "triptych_photo_size_bytes_bucket", le="30000") == 0
    assert value(registry, "triptych_photo_size_pixels_sum") == 640 * 480


def test_drift_is_no_metric_when_the_release_has_no_reference() -> None:
    registry = MetricRegistry("embedder")
    stage = EmbedMetrics(registry, None)
    stage.record_answer(np.ones((1, 4), np.float32))
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
    recognitions.record(np.array([[time.monotonic() - 0.2, 0.0]]))
    for timing in (None, np.empty((0, 2)), np.array([[time.monotonic() + 60, 0.0]]), np.array([[-1e9, 0.0]])):
        recognitions.record(timing)
    assert value(registry, "triptych_recognition_duration_seconds_count", model="recognizer") == 1
    assert value(registry, "triptych_recognition_duration_seconds_sum") == pytest.approx(0.2, abs=0.1)


def test_refusals_are_counted_by_code_and_only_those_declared() -> None:
    registry = MetricRegistry("preprocess")
    refusals = RefusalMetrics(registry, (Code.IMAGE_UNREADABLE,))
    refusals.count(Code.IMAGE_UNREADABLE)
    refusals.count(Code.INTERNAL)
    assert value(registry, "triptych_refusals_total", code="image_unreadable", model="preprocess") == 1
    assert value(registry, "triptych_refusals_total", code="internal") == 1
    assert not refusals.knows(Code.FILTER_INVALID)


def test_scores_that_are_no_numbers_are_not_counted() -> None:
    registry = MetricRegistry("classifier")
    stage = ClassifyMetrics(registry, LABELS, abstain_below=0.3)
    stage.record_answer(np.array([[np.nan, 0.1, 0.1, 0.1], [np.inf, 0, 0, 0], [0.1, 0.7, 0.1, 0.1]], np.float32))
    assert value(registry, "triptych_photos_total") == 1
    assert value(registry, "triptych_top1_score_sum") == pytest.approx(0.7)


@pytest.mark.parametrize("stamp", [-np.inf, np.inf, np.nan, -1.0, 1e9])
def test_stamp_is_not_believed_when_no_ensemble_can_have_made_it(stamp: float) -> None:
    assert plausible_duration(np.array([[stamp, stamp]]), DECODED, now_s=1000.0) is None
    assert plausible_duration(np.array([[stamp, 999.5]]), DECODED, now_s=1000.0) == 0.5
