"""Photos through shared memory: taken where it can be, left where it cannot, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

from ops.server.local_server import LocalServer
from ops.settings import Settings
from triptych import AsyncClient, Client, ConnectionFailed, UnreadableImage
from triptych._core.protocol import Question, TransportError
from triptych._core.recognition import Contract, Embed
from triptych._transport import shared_memory
from triptych._transport.connection import Connection, parse_api_key
from triptych._transport.grpc_transport import GrpcTransport
from triptych._transport.shared_memory import SharedMemoryTransport
from triptych._transport.shared_region import FOLDER

STATUS = Question("SystemSharedMemoryStatus", "GET", "/v2/systemsharedmemory/status")


def connection_to(server: LocalServer, key_pair: str | None = None) -> Connection:
    key = parse_api_key(key_pair or server.memory_key)
    return Connection(server.grpc_target, "grpc", 1, None, "round_robin", key, shared_memory=True)


def regions_of(server: LocalServer, key_pair: str | None = None) -> set[str]:
    """Those the server has open."""
    transport = GrpcTransport(connection_to(server, key_pair))
    try:
        return set(transport.ask(STATUS, timeout_s=5, headers={}).get("regions", {}))
    finally:
        transport.close()


def names() -> set[str]:
    """What clients have in the folder of shared memory; the server's own is not counted."""
    return {path.name for path in FOLDER.glob("triptych_client_*")}


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = names()
    yield
    assert names() <= before


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One entry for each `ModelInferRequest` sent from here: whether its photos lay in shared memory."""
    sent: list[bool] = []
    send = GrpcTransport._send

    def watched(self: GrpcTransport, call: Any, message: Any, timeout_s: float, headers: Any) -> Any:
        if hasattr(message, "raw_input_contents"):
            sent.append(not message.raw_input_contents)
        return send(self, call, message, timeout_s, headers)

    monkeypatch.setattr(GrpcTransport, "_send", watched)
    return sent


def test_results_are_the_same_and_the_photos_are_in_no_message(
    server: LocalServer, photos: list[Path], messages: list[bool]
) -> None:
    with (
        Client(server.grpc_target, shared_memory=True, api_key=server.memory_key) as client,
        Client(server.grpc_target) as plain,
    ):
        found = client.recognize(photos[0])
        assert messages == [True]
        assert len(regions_of(server)) == 1
        assert names() == set()
        expected = plain.recognize(photos[0])
        assert found.labels == expected.labels
        np.testing.assert_array_equal(found.embedding, expected.embedding)
        with pytest.raises(UnreadableImage):
            client.recognize(b"no photo")
    assert messages == [True, False, True]
    assert regions_of(server) == set()


def test_photos_keep_apart_when_many_are_on_their_way(
    server: LocalServer, photos: list[Path], messages: list[bool]
) -> None:
    with Client(server.grpc_target) as plain:
        expected = [plain.embed(photo).vector for photo in photos]
    messages.clear()
    with Client(server.grpc_target, shared_memory=True, api_key=server.memory_key) as client:
        client.embed(photos[0])  # opens the region: until that is done, others would not wait for it
        items = list(client.embed_many(photos * 5))
        batched = list(client.embed_many(photos * 2, batch_size=8))
    for item in (*items, *batched):
        # Another batch size may order float32 sums otherwise; the export allows features 3e-4.
        np.testing.assert_allclose(item.result().vector, expected[item.index % 20], atol=1e-5)
    assert len(messages) >= 106
    assert all(messages)


def test_async_client_shares_memory_too(server: LocalServer, photos: list[Path]) -> None:
    async def main() -> None:
        async with AsyncClient(server.grpc_target, shared_memory=True, api_key=server.memory_key) as client:
            found = [item async for item in client.embed_many(photos)]
            assert len(regions_of(server)) == 1
            assert names() == set()
        with Client(server.grpc_target) as plain:
            for item in found:
                np.testing.assert_allclose(item.result().vector, plain.embed(item.source).vector, atol=1e-5)

    asyncio.run(main())
    assert regions_of(server) == set()


def test_photo_travels_in_the_message_when_there_is_no_room_for_it(
    server: LocalServer, photos: list[Path], messages: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, "REGION_BYTES", 1 << 16)
    large, small = (f(photos, key=lambda photo: photo.stat().st_size) for f in (max, min))
    assert small.stat().st_size < 1 << 16 < large.stat().st_size
    with Client(server.grpc_target, shared_memory=True, api_key=server.memory_key) as client:
        for photo in (large, small):
            assert client.recognize(photo).labels
    assert messages == [False, True]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_client_warns_once_and_goes_on_when_the_server_refuses(
    server: LocalServer, photos: list[Path], asynchronous: bool
) -> None:
    """As by default, of a client without the server's key."""

    async def main() -> int:
        async with AsyncClient(server.grpc_target, shared_memory=True) as client:
            return sum([item.error is None async for item in client.embed_many(photos)])

    def run() -> int:
        with Client(server.grpc_target, shared_memory=True) as client:
            return sum(item.error is None for item in client.embed_many(photos))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert (asyncio.run(main()) if asynchronous else run()) == 20
    (warning,) = caught
    assert "refuses it (This protocol is restricted" in str(warning.message)
    assert issubclass(warning.category, RuntimeWarning)


def test_client_warns_once_and_goes_on_when_the_server_sees_another_shared_memory(
    server: LocalServer, photos: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # As on another host or in another container: the name that the server is told means nothing there.
    monkeypatch.setattr("triptych._transport.shared_region.FOLDER", tmp_path)
    with Client(server.grpc_target, shared_memory=True, api_key=server.memory_key) as client:
        with pytest.warns(RuntimeWarning, match="Unable to open shared memory region"):
            assert client.recognize(photos[0]).labels
        assert client.recognize(photos[1]).labels  # a second warning would be an error
    assert list(tmp_path.iterdir()) == []


def test_client_warns_once_and_goes_on_when_this_host_has_no_shared_memory(
    server: LocalServer, photos: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("triptych._transport.shared_region.FOLDER", tmp_path / "missing")
    with Client(server.grpc_target, shared_memory=True, api_key=server.memory_key) as client:
        with pytest.warns(RuntimeWarning, match="No such file"):
            assert client.recognize(photos[0]).labels
        assert client.recognize(photos[1]).labels


def test_client_warns_when_it_is_made_for_several_servers() -> None:
    with pytest.warns(RuntimeWarning, match="several servers"):
        Client("127.0.0.1:1,127.0.0.1:2", shared_memory=True).close()


def test_client_fails_as_without_shared_memory_when_no_server_is_there(photos: list[Path]) -> None:
    with Client("127.0.0.1:1", shared_memory=True) as client, pytest.raises(ConnectionFailed, match="refused"):
        client.recognize(photos[0])


def test_client_shares_again_when_the_server_starts_anew(photos: list[Path], messages: list[bool]) -> None:
    def settings(port: int) -> Settings:
        """With a key that outlives the server: `serve` keeps its own over a restart."""
        options = ("--grpc-restricted-protocol=shared-memory:memory-key=secret",)
        return Settings(http_port=0, grpc_port=port, metrics_port=0, server_options=options)

    with LocalServer(settings(0)) as first:
        client = Client(first.grpc_target, shared_memory=True, api_key="memory-key=secret")
        client.recognize(photos[0])
        port = first.ports.grpc
    with LocalServer(settings(port)) as second, client:
        messages.clear()
        client.wait_ready(30)
        for photo in photos[:3]:
            assert client.recognize(photo).labels
        # The first finds the region unknown and is sent again.
        assert messages == [True, False, True, True]
        assert len(regions_of(second, "memory-key=secret")) == 1


def test_close_leaves_nothing_when_the_server_is_gone(photos: list[Path]) -> None:
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0)) as server:
        client = Client(server.grpc_target, shared_memory=True, api_key=server.memory_key)
        client.recognize(photos[0])
        os.kill(server.pid, signal.SIGKILL)
    client.close()
    assert names() == set()


def test_killed_client_leaves_nothing_in_the_folder(server: LocalServer, photos: list[Path]) -> None:
    code = (
        "import sys, time; from triptych import Client; "
        "client = Client(sys.argv[1], shared_memory=True, api_key=sys.argv[3]); "
        "client.recognize(sys.argv[2]); print('ready', flush=True); time.sleep(60)"
    )
    before = regions_of(server)
    with subprocess.Popen(
        [sys.executable, "-c", code, server.grpc_target, str(photos[0]), server.memory_key],
        stdout=subprocess.PIPE,
        text=True,
    ) as caller:
        try:
            assert caller.stdout is not None
            assert caller.stdout.readline() == "ready\n"
            (held,) = regions_of(server) - before
        finally:
            caller.kill()
    assert names() == set()
    transport = GrpcTransport(connection_to(server))
    transport.ask(Question("SystemSharedMemoryUnregister", "POST", "", {"name": held}), timeout_s=5, headers={})
    transport.close()


def one_instance(config: ModelConfig) -> None:
    config.instance_group[0].count = 1
    config.max_batch_size = 1
    config.dynamic_batching.ClearField("preferred_batch_size")


def test_slot_is_not_taken_again_when_its_request_was_given_up(
    settings_with: Callable[..., Settings], photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [photo.read_bytes() for photo in photos]
    monkeypatch.setattr(shared_memory, "REGION_BYTES", 4 * sum(map(len, contents)))
    with LocalServer(settings_with(one_instance)) as server:
        transport = SharedMemoryTransport(connection_to(server))
        fresh = (content + time.time_ns().to_bytes(8, "big") for content in contents)
        infer(transport, next(fresh))
        region = transport._sharing._region
        assert region is not None
        with ThreadPoolExecutor(19) as pool:
            results = list(pool.map(lambda photo: given_up(transport, photo), fresh))
        assert any(results)
        free_bytes = sum(end - start for start, end in region._free)
        assert free_bytes + transport._sharing._lost_bytes == region.size_bytes
        assert transport._sharing._lost_bytes > 0
        # Once most is lost and the server has let go, a new region takes the old one's place.
        transport._sharing._lost_bytes = region.size_bytes
        deadline_s = time.monotonic() + 60
        while transport._sharing._region is region and time.monotonic() < deadline_s:
            infer(transport, contents[0])
            time.sleep(0.2)
        assert transport._sharing._region is not region
        assert regions_of(server) == {transport._sharing._region.name}  # type: ignore[union-attr]
        transport.close()
        assert regions_of(server) == set()


def infer(transport: SharedMemoryTransport, photo: bytes, timeout_s: float = 30) -> None:
    request = Embed().request([photo], Contract(), "a")
    transport.infer(request, timeout_s=timeout_s, headers={})


def given_up(transport: SharedMemoryTransport, photo: bytes) -> bool:
    try:
        infer(transport, photo, timeout_s=0.05)
    except TransportError:
        return True
    return False
