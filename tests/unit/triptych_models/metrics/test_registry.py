import threading

import pytest

from triptych_models.metrics import families
from triptych_models.metrics.model_metrics import record_life
from triptych_models.metrics.registry import MetricRegistry


def published(registry: MetricRegistry) -> dict[str, float]:
    """Series as Prometheus shows them, without those at 0."""
    totals = zip(registry.series, registry.totals(), strict=True)
    return {
        f"{series.name}{{{','.join(f'{key}={value}' for key, value in series.labels.items())}}}": total
        for series, total in totals
        if total
    }


def test_counter_adds_up() -> None:
    registry = MetricRegistry("recognizer")
    photos = registry.counter(families.CACHE_HITS)
    photos.add()
    photos.add(3)
    assert published(registry) == {"triptych_answer_cache_hits_total{model=recognizer}": 4}


@pytest.mark.parametrize(
    ("value", "held"), [(0.05, 10), (0.1, 10), (0.100001, 9), (0.95, 1), (1.5, 1)], ids=lambda it: str(it)
)
def test_histogram_counts_a_value_in_every_bucket_at_or_above_it(value: float, held: int) -> None:
    registry = MetricRegistry("classifier")
    registry.histogram(families.TOP1_SCORE, source="shopper").observe(value, times=2)
    found = published(registry)
    assert found.pop("triptych_top1_score_count{model=classifier,source=shopper}") == 2
    assert found.pop("triptych_top1_score_sum{model=classifier,source=shopper}") == 2 * value
    bounds = ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "+Inf"][-held:]
    assert found == {f"triptych_top1_score_bucket{{model=classifier,source=shopper,le={bound}}}": 2 for bound in bounds}


def test_histogram_is_published_from_its_largest_bucket_down() -> None:
    registry = MetricRegistry("classifier")
    registry.histogram(families.TOP1_SCORE, source="shopper")
    bounds = [series.labels["le"] for series in registry.series if "le" in series.labels]
    assert [float(bound) for bound in bounds] == sorted(map(float, bounds), reverse=True)


def test_nothing_is_counted_when_triton_warms_up() -> None:
    registry = MetricRegistry("recognizer", warm_ups=2)
    photos = registry.counter(families.CACHE_HITS)
    for _ in range(5):
        with registry.execution():
            photos.add()
    assert published(registry) == {"triptych_answer_cache_hits_total{model=recognizer}": 3}


def test_failed_execution_ends_a_warm_up_too() -> None:
    registry = MetricRegistry("recognizer", warm_ups=1)
    with pytest.raises(ZeroDivisionError), registry.execution():
        _ = 1 / 0
    assert registry.is_recording


def test_reader_beside_the_writer_never_sees_half_an_observation() -> None:
    registry = MetricRegistry("recognizer")
    histogram = registry.histogram(families.TOP1_SCORE, source="shopper")
    done = threading.Event()

    def write() -> None:
        for _ in range(20_000):
            histogram.observe(0.95)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        count, _, infinity, *_ = registry.totals()
        assert count == infinity
    writer.join()
    assert registry.totals()[0] == 20_000


@pytest.mark.parametrize(
    ("metric", "labels", "complaint"),
    [
        (families.REFUSALS, {}, "declared are"),
        (families.REFUSALS, {"code": "ugly", "source": "shopper"}, "code='ugly'"),
        (families.PHOTOS, {"photo": "shoe.jpg"}, "declared are"),
        (families.TOP1_SCORE, {"source": "shopper"}, "declared as a histogram"),
    ],
)
def test_undeclared_label_is_refused(metric: families.Metric, labels: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        MetricRegistry("recognizer").counter(metric, **labels)


def test_undeclared_model_is_refused() -> None:
    with pytest.raises(ValueError, match="model='recognizer-0123456789ab'"):
        MetricRegistry("recognizer-0123456789ab").counter(families.CACHE_HITS)


def test_what_cannot_be_counted_costs_itself_alone_and_is_told() -> None:
    def fail() -> None:
        raise ZeroDivisionError("division by zero")

    registry = MetricRegistry("recognizer")
    photos = registry.counter(families.CACHE_HITS)
    photos.add()
    registry.note(fail)
    photos.add()
    assert registry.totals()[0] == 2
    assert list(registry.failures) == ["ZeroDivisionError: division by zero"]


def test_clock_counts_the_seconds_of_its_process_also_while_triton_warms_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("triptych_models.metrics.registry.time.monotonic", lambda: now_s[0])
    registry = MetricRegistry("index", warm_ups=1)
    record_life(registry, instances=2)
    now_s[0] = 107.5
    registry.totals()
    now_s[0] = 110.0
    assert published(registry) == {"triptych_model_alive_seconds_total{model=index}": 10.0}
    assert [gauge.read() for gauge in registry.gauges] == [2.0]
