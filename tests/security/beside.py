"""An attack beside other callers: what it costs them, and what memory it takes and keeps."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from ops.server.local_server import LocalServer
from ops.server.processes import ProcessIdentity, find_stubs
from tests.faults.load import Golden, loaded
from tests.faults.records import AttackRow, keep
from triptych import Client

CALLERS = 2
PAUSE_S = 0.05
CALM_S = 4.0
SAMPLED_S = 0.02
SETTLED_S = 10.0
# The server grows by itself by so much: answers in its caches, buffers of calls.
GROWTH_MB = 150.0


@dataclass
class Beside:
    """What was seen of one attack.

    Attributes:
        answer: set by the attack: what the attacker got.
        most_memory_mb: over the memory before; kept_memory_mb: some seconds after.
    """

    answer: str = ""
    most_memory_mb: float = 0.0
    kept_memory_mb: float = 0.0


def processes_of(server: LocalServer) -> list[int]:
    """Pids of the server, its stubs and the front."""
    front = server.record.state.front
    assert isinstance(front, ProcessIdentity)
    return sorted([server.pid, front.pid, *(stub.pid for stub in find_stubs(server.segment_prefix))])


def memory_mb(pids: list[int]) -> float:
    return sum(psutil.Process(pid).memory_info().rss for pid in pids) / 1e6


class Stage:
    """A server with callers, calm at first.

    Attributes:
        calm_p99_s: of the callers before any attack.
    """

    def __init__(self, server: LocalServer, golden: Golden) -> None:
        self._server, self._golden = server, golden
        with Client(server.grpc_target) as client, loaded(client, golden, CALLERS, PAUSE_S) as load:
            time.sleep(CALM_S)
        self.calm_p99_s = p99([took_s for _, took_s in load.took_s])

    @contextlib.contextmanager
    def attack(self, name: str, test: str) -> Iterator[Beside]:
        """Others call while the body attacks; each must get its right answer, from the same processes as before."""
        pids, seen = processes_of(self._server), Beside()
        before_mb, began_s = memory_mb(pids), time.monotonic()
        with Client(self._server.grpc_target) as client, loaded(client, self._golden, CALLERS, PAUSE_S) as load:
            with _watched(seen, pids, before_mb):
                yield seen
            ended_s = time.monotonic()
            while load.answered_after(ended_s) < CALLERS and time.monotonic() < ended_s + SETTLED_S:
                time.sleep(SAMPLED_S)
        assert processes_of(self._server) == pids, "a process died"
        while memory_mb(pids) - before_mb > GROWTH_MB and time.monotonic() < ended_s + 2 * SETTLED_S:
            time.sleep(SAMPLED_S)
        seen.kept_memory_mb = memory_mb(pids) - before_mb
        met = [took_s for at_s, took_s in load.took_s if began_s <= at_s and at_s - took_s <= ended_s]
        memory = (round(seen.most_memory_mb), round(seen.kept_memory_mb))
        keep(AttackRow(name, seen.answer, *memory, self.calm_p99_s, p99(met), len(load.failures), test))
        assert load.failures == []
        assert load.wrong == 0
        assert met, "others were answered beside the attack"
        assert seen.kept_memory_mb < GROWTH_MB


@contextlib.contextmanager
def _watched(seen: Beside, pids: list[int], before_mb: float) -> Iterator[None]:
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(SAMPLED_S):
            seen.most_memory_mb = max(seen.most_memory_mb, memory_mb(pids) - before_mb)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def p99(took_s: list[float]) -> float:
    return sorted(took_s)[int(0.99 * len(took_s))] if took_s else 0.0
