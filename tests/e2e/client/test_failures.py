"""What a caller is told when the real server cannot or will not answer."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.repository.configs import MODELS
from ops.server.local_server import LocalServer
from ops.server.reports.traffic import read_counts
from ops.settings import Settings
from triptych import (
    AsyncClient,
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    NotReady,
    Overloaded,
    PermissionDenied,
    Retry,
    TriptychError,
    UnreadableImage,
)

ONCE = Retry(tries=1)
# Of callers at once: many, and yet fewer than the queue takes.
CROWD = 96


@pytest.fixture
def fresh(photos: list[Path]) -> Iterator[bytes]:
    """Photos the server has not answered before: each ends in bytes of its own."""
    return (photos[n % 20].read_bytes() + time.time_ns().to_bytes(8, "big") for n in range(10_000))


def outcomes_of(client: Client, photos: list[bytes]) -> Counter[str]:
    """Classes of what came of all photos sent at once."""

    def call(photo: bytes) -> str:
        try:
            return type(client.recognize(photo)).__name__
        except TriptychError as error:
            return type(error).__name__

    with ThreadPoolExecutor(len(photos)) as pool:
        return Counter(pool.map(call, photos))


def one_instance(config: ModelConfig) -> None:
    config.instance_group[0].count = 1
    config.dynamic_batching.ClearField("preferred_batch_size")
    config.max_batch_size = 1


def test_full_queue_is_overloaded_when_nothing_is_retried(
    settings_with: Callable[..., Settings], fresh: Iterator[bytes]
) -> None:
    def change(config: ModelConfig) -> None:
        one_instance(config)
        config.dynamic_batching.default_queue_policy.max_queue_size = 2

    with LocalServer(settings_with(change)) as server, Client(server.grpc_target, retry=ONCE) as client:
        client.recognize(next(fresh))
        outcomes = outcomes_of(client, [next(fresh) for _ in range(24)])
        assert outcomes.keys() == {"Recognition", "Overloaded"}
        patient = client.with_options(retry=Retry(tries=12), timeout_s=30)
        # The budget ends retries before the tries do; with enough of it nobody is turned away.
        assert outcomes_of(patient, [next(fresh) for _ in range(12)]) == {"Recognition": 12}
        with pytest.raises(Overloaded, match="queue of the server"):
            raise next(
                item.error
                for item in client.recognize_many((next(fresh) for _ in range(64)), max_in_flight=32)
                if item.error is not None
            )


def test_queue_timeout_is_a_deadline_when_the_server_gives_a_request_up(
    settings_with: Callable[..., Settings], fresh: Iterator[bytes]
) -> None:
    def change(config: ModelConfig) -> None:
        one_instance(config)
        config.dynamic_batching.default_queue_policy.default_timeout_microseconds = 5_000

    with LocalServer(settings_with(change)) as server, Client(server.grpc_target) as client:
        client.recognize(next(fresh))
        outcomes = outcomes_of(client, [next(fresh) for _ in range(24)])
        assert outcomes.keys() == {"Recognition", "DeadlineExceeded"}


@pytest.mark.parametrize("profile", ["cpu", None], ids=["fused", "ensemble"])
def test_server_computes_nothing_for_a_caller_who_has_given_up(profile: str | None, fresh: Iterator[bytes]) -> None:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, profile=profile)
    # Over HTTP, where nothing but the request's own timeout tells the server.
    with LocalServer(settings) as server, Client(server.http_url, transport="http", retry=ONCE, timeout_s=60) as client:

        def computed() -> int:
            name = "recognizer" if profile else "embedder"
            return next(model.inferences for model in client.statistics() if model.name == name)

        client.recognize(next(fresh))
        before = computed()
        hasty = client.with_options(timeout_s=0.2)
        with ThreadPoolExecutor(2) as pool:
            crowd = pool.submit(outcomes_of, client, [next(fresh) for _ in range(CROWD)])
            # Half a second of work at least is before them, and they wait 0.2.
            while sum(counts.waiting for counts in read_counts(server.ports.metrics).values()) < 64:
                assert not crowd.done()
            assert pool.submit(outcomes_of, hasty, [next(fresh) for _ in range(8)]).result() == {"DeadlineExceeded": 8}
            assert crowd.result() == {"Recognition": CROWD}
        # Queues are first in, first out: whoever comes now comes after those who left.
        client.recognize(next(fresh))
        # Triton counts a request just after its answer has left.
        deadline_s = time.monotonic() + 5
        while computed() - before < CROWD + 1 and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert computed() - before == CROWD + 1


def test_client_waits_until_the_model_is_loaded_when_it_is_not_ready(fresh: Iterator[bytes]) -> None:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0)
    with (
        LocalServer(settings) as server,
        Client(server.grpc_target, retry=ONCE) as client,
        Client(server.grpc_target, api_key=server.api_key) as owner,
    ):
        assert client.recognize(next(fresh)).labels
        owner.admin.unload("recognizer")
        assert not client.health().recognizer_ready
        with pytest.raises(NotReady, match="recognizer"):
            client.recognize(next(fresh))
        with pytest.raises(NotReady, match=r"not ready within 0\.3 s"):
            client.wait_ready(0.3)
        loading = threading.Timer(0.3, owner.admin.load, ["recognizer"])
        loading.start()
        client.wait_ready(30)
        loading.join()
        assert client.recognize(next(fresh)).labels
        with pytest.raises(TriptychError, match="no_such_model") as caught:
            owner.admin.load("no_such_model")
        assert not caught.value.retryable


def test_models_are_kept_from_those_without_the_key_when_they_would_change_them(server: LocalServer) -> None:
    with Client(server.grpc_target) as client, Client(server.grpc_target, api_key=server.api_key) as owner:
        with pytest.raises(PermissionDenied):
            client.admin.unload("recognizer")
        assert client.models() == owner.models()
        assert {model.name for model in client.models()} == set(MODELS)


def test_calls_say_that_the_connection_broke_when_the_server_is_killed(
    settings_with: Callable[..., Settings], fresh: Iterator[bytes]
) -> None:
    with LocalServer(settings_with()) as server, Client(server.grpc_target, retry=ONCE) as client:
        client.recognize(next(fresh))
        killing = threading.Timer(0.2, os.kill, [server.pid, signal.SIGKILL])
        killing.start()
        with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1"):
            recognize_often(client, fresh)
        killing.join()

        def failure() -> str:
            with pytest.raises((ConnectionFailed, NotReady)) as failed:
                client.recognize(next(fresh))
            return str(failed.value)

        # The call behind may still meet the old connection; from then on the front says that the server is away.
        assert any("starting, stopping or restarting" in failure() for _ in range(3))


def test_deadline_passes_when_it_is_shorter_than_the_work(server: LocalServer, fresh: Iterator[bytes]) -> None:
    with Client(server.grpc_target) as client:
        client.recognize(next(fresh))
        with pytest.raises(DeadlineExceeded, match=r"within 0\.002 s"):
            client.with_options(timeout_s=0.002).recognize(next(fresh))
        assert client.recognize(next(fresh)).labels


def test_cancelled_call_leaves_the_client_usable_when_awaited(server: LocalServer, fresh: Iterator[bytes]) -> None:
    async def main() -> None:
        async with AsyncClient(server.grpc_target) as client:
            await client.recognize(next(fresh))
            call = asyncio.create_task(client.recognize(next(fresh)))
            await asyncio.sleep(0.003)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert (await client.recognize(next(fresh))).labels

    asyncio.run(main())


@pytest.mark.parametrize("batch_size", [None, 8])
def test_one_bad_photo_among_64_fails_alone_when_many_are_sent(
    server: LocalServer, fresh: Iterator[bytes], batch_size: int | None
) -> None:
    sent = [next(fresh) for _ in range(64)]
    sent[37] = sent[37][:1000]
    with Client(server.grpc_target) as client:
        items = list(client.recognize_many(sent, batch_size=batch_size))
        alone = [client.recognize(photo).top for photo in sent[:20]]
    assert [item.index for item in items] == list(range(64))
    assert [item.index for item in items if item.error] == [37]
    assert isinstance(items[37].error, UnreadableImage)
    tops = [item.result().top for item in items if item.index != 37]
    names = [top.name for top in tops if top is not None]
    assert names == [label.name for n in range(64) if n != 37 for label in [alone[n % 20]] if label is not None]


def test_no_call_fails_when_one_of_two_servers_is_killed_under_load(fresh: Iterator[bytes]) -> None:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0)
    with LocalServer(settings) as first, LocalServer(settings) as second:
        sent = [next(fresh) for _ in range(300)]
        with Client(f"{first.grpc_target},{second.grpc_target}", max_in_flight=16) as client:
            items = client.recognize_many(sent)
            answered = [next(items) for _ in range(100)]
            with Client(second.grpc_target) as alone:
                before = recognized(alone)
            assert before > 20, "the second server had its share"
            os.kill(first.pid, signal.SIGKILL)
            answered += items
        with Client(second.grpc_target) as alone:
            assert recognized(alone) - before > 150
    assert [item.index for item in answered if item.error is not None] == []
    assert len(answered) == 300


def test_no_call_fails_when_one_of_two_servers_freezes_and_tries_are_limited(fresh: Iterator[bytes]) -> None:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0)
    with LocalServer(settings) as first, LocalServer(settings) as second:
        target = f"{first.grpc_target},{second.grpc_target}"
        with Client(target, timeout_s=20, retry=Retry(tries=8, try_timeout_s=1.0), max_in_flight=8) as client:
            items = client.recognize_many([next(fresh) for _ in range(40)])
            answered = [next(items) for _ in range(10)]
            os.kill(first.pid, signal.SIGSTOP)
            try:
                answered += items
            finally:
                os.kill(first.pid, signal.SIGCONT)
    assert [item.error for item in answered if item.error is not None] == []


def recognize_often(client: Client, photos: Iterator[bytes]) -> None:
    for _ in range(1000):
        client.recognize(next(photos))


def recognized(client: Client) -> int:
    return sum(model.inferences for model in client.statistics() if model.name == "recognizer")
