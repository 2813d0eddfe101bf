import numpy as np
import pytest

from meter import Meter
from metrics import MAX_CATEGORIES
from stage_metrics import ClassifyMetrics, DecodeMetrics, EmbedMetrics, categories_of, record_shared_memory

LABELS = ["tench", "Shoes / Loafer", "Shoes / sandal", "Clothing / abaya"]


def value(meter: Meter, name: str, **labels: str) -> float:
    (found,) = [
        total
        for series, total in zip(meter.series, meter.totals(), strict=True)
        if series.name == name and labels.items() <= series.labels.items()
    ]
    return found


def test_answers_are_counted_by_category_and_score() -> None:
    meter = Meter("classifier")
    stage = ClassifyMetrics(meter, LABELS, abstain_below=0.3)
    rows = [[0.1, 0.7, 0.1, 0.1], [0.26, 0.25, 0.25, 0.24], [0.3, 0.1, 0.1, 0.5], [0.05, 0.05, 0.8, 0.1]]
    stage.record_answer(np.array(rows, np.float32))
    assert value(meter, "triptych_photos_total") == 4
    assert value(meter, "triptych_abstained_total") == 1
    assert value(meter, "triptych_top1_score_sum") == pytest.approx(0.7 + 0.26 + 0.5 + 0.8)
    counted = {
        name: value(meter, "triptych_predictions_total", category=name) for name in ("Shoes", "Clothing", "none")
    }
    assert counted == {"Shoes": 2, "Clothing": 1, "none": 1}


def test_score_at_the_threshold_is_no_abstention() -> None:
    meter = Meter("classifier")
    ClassifyMetrics(meter, LABELS, abstain_below=0.5).record_answer(np.array([[0.5, 0.2, 0.2, 0.1]], np.float32))
    assert value(meter, "triptych_abstained_total") == 0


def test_categories_are_bounded_whatever_the_labels_are() -> None:
    labels = [f"Shelf {number} / thing" for number in range(1000)] + ["tench"]
    categories = categories_of(labels)
    assert len(categories) == len(labels)
    assert set(categories) == {*(f"Shelf {number}" for number in range(MAX_CATEGORIES)), "other", "none"}


def test_time_is_taken_once_a_request_and_not_when_the_stage_fails() -> None:
    meter = Meter("embedder")
    stage = EmbedMetrics(meter, None)
    with stage.timed(requests=3):
        pass
    with pytest.raises(ZeroDivisionError), stage.timed():
        _ = 1 / 0
    assert value(meter, "triptych_stage_duration_seconds_count") == 3
    stage.count_error("internal", 2)
    assert value(meter, "triptych_request_errors_total") == 2


def test_photo_is_measured_in_bytes_and_pixels() -> None:
    meter = Meter("preprocess")
    DecodeMetrics(meter).record_photo(80_000, 640 * 480)
    assert value(meter, "triptych_photo_size_bytes_sum") == 80_000
    assert value(meter, "triptych_photo_size_bytes_bucket", le="100000") == 1
    assert value(meter, "triptych_photo_size_bytes_bucket", le="30000") == 0
    assert value(meter, "triptych_photo_size_pixels_sum") == 640 * 480


def test_drift_is_no_metric_when_the_release_has_no_reference() -> None:
    meter = Meter("embedder")
    stage = EmbedMetrics(meter, None)
    stage.record_answer(np.ones((1, 4), np.float32))
    assert meter.gauges == []


def test_shared_memory_is_read_when_it_is_published() -> None:
    meter = Meter("embedder")
    record_shared_memory(meter)
    (gauge,) = meter.gauges
    assert gauge.series.name == "triptych_shared_memory_free_bytes"
    assert gauge.read() > 0
