"""The end of a pod as the chart arranges it: it leaves the Service, sleeps, gets SIGTERM. No call may be lost.

What Kubernetes does is done here by a forwarder: a connection made before the pod left stays with it until the server
ends it, as with a real Service. The sleep is the chart's arithmetic with shorter times.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton_grpc

from ops.settings import ADDRESS, REPOSITORY
from tests.e2e.bare_server import BareServer, started

CALLERS = 4
AGE_S, AGE_GRACE_S = 2, 1
# As templates/_refusals.tpl asks for, but for the 5 s until everyone knows: the forwarder knows at once.
SLEEP_S = math.ceil(1.1 * AGE_S) + AGE_GRACE_S
OPTIONS = [
    f"--model-repository={REPOSITORY}/models",
    "--model-control-mode=none",
    "--disable-auto-complete-config",
    f"--grpc-max-connection-age={AGE_S * 1000}",
    f"--grpc-max-connection-age-grace={AGE_GRACE_S * 1000}",
    "--exit-timeout-secs=15",
]


class Service:
    """Forwards each new connection to the pod of the moment, from entry to exit."""

    target: str

    def __init__(self, pod: BareServer) -> None:
        self.pod = pod
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Service:
        self._thread.start()
        listening = asyncio.start_server(self._forward, ADDRESS, 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        self.target = f"{ADDRESS}:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        forwarding = asyncio.all_tasks() - {asyncio.current_task()}
        for task in forwarding:
            task.cancel()
        await asyncio.gather(*forwarding, return_exceptions=True)

    async def _forward(self, caller_in: asyncio.StreamReader, caller_out: asyncio.StreamWriter) -> None:
        pod_in, pod_out = await asyncio.open_connection(ADDRESS, self.pod.ports.grpc)
        await asyncio.gather(_pump(caller_in, pod_out), _pump(pod_in, caller_out))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.CancelledError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await sink.wait_closed()


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[tuple[BareServer, BareServer]]:
    """Two servers of the ensemble, whose steps make it the harder one to drain."""
    with started(tmp_path / "old", OPTIONS) as old, started(tmp_path / "new", OPTIONS) as new:
        assert old.becomes_ready(), old.log_file.read_text()[-2000:]
        assert new.becomes_ready(), new.log_file.read_text()[-2000:]
        yield old, new


@contextmanager
def calling(target: str, photo: bytes) -> Iterator[list[str]]:
    """Callers that never pause, each over one channel; yields their failures, and fails when nothing was answered."""
    failures: list[str] = []
    answers: list[int] = []
    is_over = threading.Event()

    def call() -> None:
        own_connection = [("grpc.use_local_subchannel_pool", 1)]
        with triton_grpc.InferenceServerClient(target, channel_args=own_connection) as client:
            while not is_over.is_set():
                image = triton_grpc.InferInput("image", [1, 1], "BYTES")
                image.set_data_from_numpy(np.array([[photo + os.urandom(8)]], dtype=object))
                try:
                    client.infer("recognizer", [image])
                    answers.append(1)
                except triton_grpc.InferenceServerException as failure:
                    failures.append(str(failure))

    with ThreadPoolExecutor(CALLERS) as pool:
        callers = [pool.submit(call) for _ in range(CALLERS)]
        try:
            yield failures
        finally:
            is_over.set()
        for caller in callers:
            caller.result()
    assert len(answers) > CALLERS


def connections(pod: BareServer) -> int:
    open_ones = psutil.Process(pod.process.pid).net_connections()
    return sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == pod.ports.grpc for one in open_ones)


def wait_for_callers(pod: BareServer) -> None:
    """Returns once every caller is connected; the servers close old connections, so one may be on its way."""
    deadline_s = time.monotonic() + 20
    while connections(pod) != CALLERS:
        assert time.monotonic() < deadline_s, f"{connections(pod)} of {CALLERS} callers are connected"
        time.sleep(0.05)


def test_pod_that_sleeps_before_sigterm_loses_no_call(pods: tuple[BareServer, BareServer], photos: list[Path]) -> None:
    old, new = pods
    with Service(old) as service, calling(service.target, photos[0].read_bytes()) as failures:
        wait_for_callers(old)  # Whom SIGTERM would cut off without the sleep.
        service.pod = new
        time.sleep(SLEEP_S)
        assert connections(old) == 0, "the sleep is too short: callers are still there"
        old.process.send_signal(signal.SIGTERM)
        old.process.wait(30)
        wait_for_callers(new)
    assert failures == []
