import threading

import pytest

import metrics
from meter import Meter


def published(meter: Meter) -> dict[str, float]:
    """Series as Prometheus shows them, without those at 0."""
    totals = zip(meter.series, meter.totals(), strict=True)
    return {
        f"{series.name}{{{','.join(f'{key}={value}' for key, value in series.labels.items())}}}": total
        for series, total in totals
        if total
    }


def test_counter_adds_up() -> None:
    meter = Meter("recognizer")
    photos = meter.counter(metrics.PHOTOS)
    photos.add()
    photos.add(3)
    assert published(meter) == {"triptych_photos_total{model=recognizer}": 4}


@pytest.mark.parametrize(
    ("value", "held"), [(0.05, 10), (0.1, 10), (0.100001, 9), (0.95, 1), (1.5, 1)], ids=lambda it: str(it)
)
def test_histogram_counts_a_value_in_every_bucket_at_or_above_it(value: float, held: int) -> None:
    meter = Meter("classifier")
    meter.histogram(metrics.TOP1_SCORE).observe(value, times=2)
    found = published(meter)
    assert found.pop("triptych_top1_score_count{model=classifier}") == 2
    assert found.pop("triptych_top1_score_sum{model=classifier}") == 2 * value
    bounds = ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "+Inf"][-held:]
    assert found == {f"triptych_top1_score_bucket{{model=classifier,le={bound}}}": 2 for bound in bounds}


def test_histogram_is_published_from_its_largest_bucket_down() -> None:
    meter = Meter("classifier")
    meter.histogram(metrics.TOP1_SCORE)
    bounds = [series.labels["le"] for series in meter.series if "le" in series.labels]
    assert [float(bound) for bound in bounds] == sorted(map(float, bounds), reverse=True)


def test_nothing_is_counted_when_triton_warms_up() -> None:
    meter = Meter("recognizer", warm_ups=2)
    photos = meter.counter(metrics.PHOTOS)
    for _ in range(5):
        with meter.execution():
            photos.add()
    assert published(meter) == {"triptych_photos_total{model=recognizer}": 3}


def test_failed_execution_ends_a_warm_up_too() -> None:
    meter = Meter("recognizer", warm_ups=1)
    with pytest.raises(ZeroDivisionError), meter.execution():
        _ = 1 / 0
    assert meter.is_recording


def test_reader_beside_the_writer_never_sees_half_an_observation() -> None:
    meter = Meter("recognizer")
    histogram = meter.histogram(metrics.TOP1_SCORE)
    done = threading.Event()

    def write() -> None:
        for _ in range(20_000):
            histogram.observe(0.95)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        count, _, infinity, *_ = meter.totals()
        assert count == infinity
    writer.join()
    assert meter.totals()[0] == 20_000


@pytest.mark.parametrize(
    ("metric", "labels", "complaint"),
    [
        (metrics.REQUEST_ERRORS, {"stage": "decode"}, "declared are"),
        (metrics.REQUEST_ERRORS, {"stage": "decode", "reason": "ugly"}, "reason='ugly'"),
        (metrics.PHOTOS, {"photo": "shoe.jpg"}, "declared are"),
        (metrics.TOP1_SCORE, {}, "declared a histogram"),
    ],
)
def test_undeclared_label_is_refused(metric: metrics.Metric, labels: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Meter("recognizer").counter(metric, **labels)


def test_undeclared_model_is_refused() -> None:
    with pytest.raises(ValueError, match="model='recognizer-0123456789ab'"):
        Meter("recognizer-0123456789ab").counter(metrics.PHOTOS)
