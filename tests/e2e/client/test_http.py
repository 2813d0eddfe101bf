"""The same calls over both carriers and from both clients; and what only HTTP can do wrong."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

from ops.server.local_server import LocalServer
from ops.settings import Settings
from triptych import (
    AsyncClient,
    Client,
    ConnectionFailed,
    ContractMismatch,
    DeadlineExceeded,
    ImageTooLarge,
    NotReady,
    Overloaded,
    PermissionDenied,
    Retry,
    TriptychError,
    UnreadableImage,
)
from triptych._core.recognition import Contract

ONCE = Retry(tries=1)


class Caller:
    """A client of either kind, called as if it blocked."""

    def __init__(self, kind: type[Client] | type[AsyncClient], target: str, **arguments: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.client: Any = kind(target, **arguments)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*positional: Any, **named: Any) -> Any:
            return self.run(getattr(self.client, name)(*positional, **named))

        return call

    def run(self, answer: Any) -> Any:
        if inspect.isawaitable(answer):
            return self.loop.run_until_complete(_result(answer))
        if isinstance(answer, AsyncIterator):
            return self.loop.run_until_complete(_list(answer))
        return answer

    def shut(self) -> None:
        self.run(self.client.close())
        self.loop.close()


async def _result(answer: Any) -> Any:
    return await answer


async def _list(answer: AsyncIterator[Any]) -> list[Any]:
    return [entry async for entry in answer]


@contextlib.contextmanager
def calling(kind: type[Client] | type[AsyncClient], target: str, **arguments: Any) -> Iterator[Caller]:
    caller = Caller(kind, target, **arguments)
    try:
        yield caller
    finally:
        caller.shut()


def target_of(server: LocalServer, carrier: str) -> str:
    return server.grpc_target if carrier == "grpc" else server.http_url


both_kinds = pytest.mark.parametrize("kind", [Client, AsyncClient])
both_carriers = pytest.mark.parametrize("carrier", ["grpc", "http"])


@pytest.fixture
def caller(request: pytest.FixtureRequest, server: LocalServer) -> Iterator[Caller]:
    carrier, kind = request.param
    with calling(kind, target_of(server, carrier), transport=carrier) as caller:
        yield caller


all_callers = pytest.mark.parametrize(
    "caller",
    [(carrier, kind) for carrier in ("grpc", "http") for kind in (Client, AsyncClient)],
    indirect=True,
    ids=lambda parameter: f"{parameter[0]}-{parameter[1].__name__}",
)


@pytest.fixture
def reference(server: LocalServer) -> Iterator[Client]:
    """What the others are compared with."""
    with Client(server.grpc_target) as client:
        yield client


@all_callers
def test_results_are_the_same(caller: Caller, reference: Client, photos: list[Path]) -> None:
    for photo in photos[:3]:
        expected = reference.recognize(photo, top_k=3)
        found = caller.recognize(photo, top_k=3)
        assert (found.labels, found.retail_score, found.model_version) == (
            expected.labels,
            expected.retail_score,
            expected.model_version,
        )
        np.testing.assert_array_equal(found.embedding, expected.embedding)
        np.testing.assert_array_equal(caller.embed(photo).vector, expected.embedding)
        assert caller.classify(photo, top_k=3).labels == expected.labels


@all_callers
def test_many_results_are_the_same(caller: Caller, reference: Client, photos: list[Path]) -> None:
    sources = [*photos[:9], b"not a photo", *photos[9:]]
    items = list(caller.recognize_many(sources, batch_size=4))
    assert [item.index for item in items] == list(range(21))
    assert [item.index for item in items if item.error] == [9]
    assert isinstance(items[9].error, UnreadableImage)
    expected = [reference.recognize(photo).labels[0].index for photo in photos]
    assert [item.value.labels[0].index for item in items if item.value] == expected


@all_callers
def test_server_state_is_the_same(caller: Caller, reference: Client) -> None:
    assert caller.models() == reference.models()
    assert caller.health() == reference.health()
    assert {each.name for each in caller.statistics()} == {model.name for model in reference.models()}
    caller.wait_ready(5)


@all_callers
@pytest.mark.parametrize(
    ("bad", "error"), [(b"no photo", UnreadableImage), (b"\xff\xd8" + bytes(20_000_000), ImageTooLarge)]
)
def test_refusal_is_the_same(caller: Caller, reference: Client, bad: bytes, error: type[TriptychError]) -> None:
    with pytest.raises(error) as expected:
        reference.recognize(bad)
    with pytest.raises(error) as found:
        caller.recognize(bad)
    assert str(found.value) == str(expected.value)


@all_callers
def test_control_of_models_is_denied_when_the_caller_has_no_key(caller: Caller) -> None:
    with pytest.raises(PermissionDenied, match="refuses this client"):
        caller.run(caller.client.admin.load("recognizer"))


@pytest.fixture
def fresh(photos: list[Path]) -> Iterator[bytes]:
    """Photos the server has not answered before: each ends in bytes of its own."""
    return (photos[n % 20].read_bytes() + time.time_ns().to_bytes(8, "big") for n in range(10_000))


def error_of(client: Client, photo: bytes) -> type[TriptychError] | None:
    try:
        client.recognize(photo)
    except TriptychError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("policy", "error"),
    [({"max_queue_size": 2}, Overloaded), ({"default_timeout_microseconds": 5_000}, DeadlineExceeded)],
)
def test_full_queue_and_queue_timeout_are_told_apart_when_http_carries_them(
    settings_with: Callable[..., Settings],
    fresh: Iterator[bytes],
    policy: dict[str, int],
    error: type[TriptychError],
) -> None:
    def change(config: ModelConfig) -> None:
        config.instance_group[0].count = 1
        config.max_batch_size = 1
        config.dynamic_batching.ClearField("preferred_batch_size")
        for name, value in policy.items():
            setattr(config.dynamic_batching.default_queue_policy, name, value)

    with (
        LocalServer(settings_with(change)) as server,
        Client(server.http_url, transport="http", retry=ONCE) as client,
        ThreadPoolExecutor(24) as pool,
    ):
        client.recognize(next(fresh))
        errors = set(pool.map(lambda photo: error_of(client, photo), [next(fresh) for _ in range(24)]))
        assert errors == {None, error}


def test_unloaded_model_is_not_ready_when_http_asks(fresh: Iterator[bytes]) -> None:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0)
    with (
        LocalServer(settings) as server,
        Client(server.http_url, transport="http", retry=ONCE, api_key=server.api_key) as client,
    ):
        client.admin.unload("recognizer")
        assert not client.health().recognizer_ready
        with pytest.raises(NotReady, match="recognizer"):
            client.recognize(next(fresh))
        client.admin.load("recognizer")
        assert client.recognize(next(fresh)).labels


@both_kinds
def test_no_call_fails_when_one_of_two_servers_is_killed(
    kind: type[Client] | type[AsyncClient], fresh: Iterator[bytes]
) -> None:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0)
    with contextlib.ExitStack() as stack:
        doomed, other = (stack.enter_context(LocalServer(settings)) for _ in range(2))
        target = f"{doomed.http_url},{other.http_url}"
        caller = stack.enter_context(calling(kind, target, transport="http", timeout_s=60, max_in_flight=8))
        caller.recognize(next(fresh))
        killed: list[int] = []

        def photos() -> Iterator[bytes]:
            for n in range(150):
                if n == 50:
                    killed.append(doomed.pid)
                    os.kill(doomed.pid, signal.SIGKILL)
                yield next(fresh)

        items = list(caller.recognize_many(photos()))
        assert killed
        assert [item.error for item in items if item.error] == []
        assert len(items) == 150
        # Otherwise the one that stayed did all the work and nothing was proved.
        assert any(item.value.timing.tries > 1 for item in items)


@both_carriers
@both_kinds
def test_call_says_where_nobody_answers(kind: type[Client] | type[AsyncClient], carrier: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{unused.getsockname()[1]}"
        with (
            calling(kind, target, transport=carrier, retry=ONCE) as caller,
            pytest.raises(ConnectionFailed, match=rf"No Triptych server answers at {target} \(connection refused\)"),
        ):
            caller.embed(b"x")


@both_kinds
def test_call_points_at_the_right_port_when_it_is_the_one_of_grpc(
    kind: type[Client] | type[AsyncClient], server: LocalServer
) -> None:
    with (
        calling(kind, server.grpc_target, transport="http") as caller,
        pytest.raises(ContractMismatch, match="8000 for HTTP"),
    ):
        caller.embed(b"x")


class SlowServer:
    """Answers in a minute, a byte now and then: nobody who waits for a whole answer gets one sooner."""

    def __init__(self, *, reads: bool) -> None:
        self._reads = reads
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> SlowServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        self._listener.settimeout(30)
        peer, _ = self._listener.accept()
        body = b'{"name":"recognizer"}'
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        with peer, contextlib.suppress(OSError):
            for byte in answer if self._reads else bytes(600):
                if self._stopped.wait(0.1):
                    return
                if self._reads:
                    peer.send(bytes([byte]))
                else:
                    peer.recv(2048)


@both_kinds
@pytest.mark.parametrize("reads", [True, False], ids=["slow answer", "slow reader"])
def test_deadline_holds_for_the_whole_exchange_when_each_part_of_it_is_quick(
    kind: type[Client] | type[AsyncClient], reads: bool
) -> None:
    # Each read and each write takes 0.1 s, all of them 6 s and more; a photo of 19 MB fits into no buffer between.
    with SlowServer(reads=reads) as slow, calling(kind, slow.target, transport="http", timeout_s=1) as caller:
        if not reads:
            caller.client._session.contract = Contract()
        with pytest.raises(DeadlineExceeded, match="within 1 s"):
            caller.embed(bytes(19_000_000))
