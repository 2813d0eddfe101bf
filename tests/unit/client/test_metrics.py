"""What the metrics count, read as Prometheus would, over calls that a fake server answers."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest
from prometheus_client import CollectorRegistry

from triptych import InvalidInput, NotReady, Overloaded, Retry, UnreadableImage
from triptych.metrics import ClientMetrics
from triptych.testing import FakeServer, fake_async_client, fake_client

AT_ONCE = Retry(first_pause_s=0)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> ClientMetrics:
    return ClientMetrics(registry)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"triptych_client_{name}", labels)


def test_requests_are_counted_by_method_when_answered(registry: CollectorRegistry, metrics: ClientMetrics) -> None:
    client = fake_client(metrics=metrics)
    client.recognize(b"a")
    client.embed(b"a")
    client.embed(b"b")
    assert value(registry, "requests_total", method="recognize") == 1
    assert value(registry, "requests_total", method="embed") == 2
    assert value(registry, "requests_total", method="classify") == 0
    assert value(registry, "latency_seconds_count", method="embed") == 2
    assert value(registry, "errors_total", method="embed", error="Overloaded", code="queue_full") is None


def test_error_is_counted_by_class_and_code_when_a_request_fails(
    registry: CollectorRegistry, metrics: ClientMetrics
) -> None:
    fake = FakeServer()
    fake.refuse(b"text")
    with pytest.raises(UnreadableImage):
        fake_client(fake, metrics=metrics).classify(b"text")
    assert value(registry, "errors_total", method="classify", error="UnreadableImage", code="image_unreadable") == 1
    assert value(registry, "requests_total", method="classify") == 1
    assert value(registry, "latency_seconds_count", method="classify") == 1


def test_retries_are_counted_by_class_and_code_when_a_try_fails(
    registry: CollectorRegistry, metrics: ClientMetrics
) -> None:
    fake = FakeServer()
    fake.fail_next(Overloaded, times=2)
    fake.fail_next(NotReady)
    fake_client(fake, metrics=metrics, retry=AT_ONCE).embed(b"a")
    assert value(registry, "retries_total", error="Overloaded", code="queue_full") == 2
    assert value(registry, "retries_total", error="NotReady", code="model_not_ready") == 1
    assert value(registry, "requests_total", method="embed") == 1
    assert value(registry, "errors_total", method="embed", error="Overloaded", code="queue_full") is None


def test_latency_includes_the_wait_when_the_server_is_slow(registry: CollectorRegistry, metrics: ClientMetrics) -> None:
    fake = FakeServer()
    fake.delay_s = 0.03  # of the contract check and of the inference
    fake_client(fake, metrics=metrics).embed(b"a")
    assert (value(registry, "latency_seconds_sum", method="embed") or 0) >= 0.06
    assert value(registry, "latency_seconds_bucket", method="embed", le="0.05") == 0
    assert value(registry, "latency_seconds_bucket", method="embed", le="+Inf") == 1


def test_buckets_span_one_millisecond_to_ten_seconds_when_collected(
    registry: CollectorRegistry, metrics: ClientMetrics
) -> None:
    assert value(registry, "latency_seconds_bucket", method="embed", le="0.001") == 0
    assert value(registry, "latency_seconds_bucket", method="embed", le="10.0") == 0


def test_in_flight_is_what_is_on_its_way_when_the_server_holds_it(
    registry: CollectorRegistry, metrics: ClientMetrics
) -> None:
    arrived, released = threading.Event(), threading.Event()

    class HoldingServer(FakeServer):
        def receive(self, *arguments: object) -> float:
            arrived.set()
            assert released.wait(30)
            return 0.0

    client = fake_client(HoldingServer(), metrics=metrics)
    caller = threading.Thread(target=client.embed, args=(b"a",))
    caller.start()
    try:
        assert arrived.wait(30)
        assert value(registry, "in_flight", method="embed") == 1
    finally:
        released.set()
        caller.join(30)
    assert value(registry, "in_flight", method="embed") == 0


def test_batches_count_as_requests_when_many_photos_are_sent(
    registry: CollectorRegistry, metrics: ClientMetrics
) -> None:
    items = fake_client(metrics=metrics).embed_many([b"%d" % n for n in range(20)], batch_size=8)
    assert len(list(items)) == 20
    assert value(registry, "requests_total", method="embed") == 3


def test_clients_add_up_when_they_share_metrics(registry: CollectorRegistry, metrics: ClientMetrics) -> None:
    async def embed() -> None:
        async with fake_async_client(metrics=metrics) as client:
            await client.embed(b"a")

    fake_client(metrics=metrics).embed(b"a")
    asyncio.run(embed())
    assert value(registry, "requests_total", method="embed") == 2


def test_cancelled_request_leaves_the_gauge_when_its_task_ends(
    registry: CollectorRegistry, metrics: ClientMetrics
) -> None:
    async def cancel() -> None:
        fake = FakeServer()
        fake.delay_s = 9.0
        async with fake_async_client(fake, metrics=metrics) as client:
            task = asyncio.create_task(client.embed(b"a"))
            await asyncio.sleep(0.01)
            assert value(registry, "in_flight", method="embed") == 1
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancel())
    assert value(registry, "in_flight", method="embed") == 0
    assert value(registry, "errors_total", method="embed", error="CancelledError", code="") == 1


def test_second_metrics_are_refused_when_the_registry_has_the_names(
    registry: CollectorRegistry, metrics: ClientMetrics
) -> None:
    with pytest.raises(InvalidInput, match="Share one ClientMetrics between clients"):
        ClientMetrics(registry)
    ClientMetrics(registry, namespace="shop_photos")


def test_metrics_name_their_extra_when_prometheus_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'triptych-client\[metrics\]'"):
        ClientMetrics()
