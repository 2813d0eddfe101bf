"""The supervisor's pauses between restarts, and the errors that it survives, with a stand-in for the server."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from ops.errors import ServerFailed
from ops.settings import Settings
from ops.supervision import serve
from ops.supervision.supervisor import HEALTHY_S, Supervisor


class DeadServer:
    """A server that ended; each restart fails unless `starts`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.record = self
        self.pid = os.getpid()
        self.starts = False
        self.deaths: list[tuple[str, float]] = []
        self.is_disk_full = False
        self.lost_fronts: list[str] = []
        self.fronts = 0
        self.front_deaths: list[str] = []

    def exit_code(self) -> int:
        return -9

    def describe_death(self) -> str:
        return "It was killed."

    def note_death(self, how: str, next_restart_s: float) -> None:
        self.deaths.append((how, next_restart_s))

    def restart(self) -> None:
        if not self.starts:
            raise OSError(28, "No space left on device", "/state/control.key")

    def wait_ready(self, is_cancelled: object) -> bool:
        return True

    def describe_lost_front(self) -> str | None:
        return self.lost_fronts.pop() if self.lost_fronts else None

    def start_front(self) -> None:
        self.fronts += 1

    def note_front_death(self, how: str) -> None:
        self.front_deaths.append(how)

    def restore(self) -> None:
        if self.is_disk_full:
            raise OSError(28, "No space left on device", "/state/server.json")

    def kill(self) -> None: ...


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic time, which a test moves."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def live(guard: Supervisor, clock: list[float], seconds: float) -> None:
    for _ in range(int(seconds * 4)):
        clock[0] += 0.25
        guard.check(lambda: False)


def test_restarts_never_end_and_their_pauses_grow_to_a_minute(clock: list[float]) -> None:
    server = DeadServer(Settings())
    said: list[str] = []
    guard: Any = Supervisor(server, said.append)  # type: ignore[arg-type]
    live(guard, clock, 300)
    pauses_s = [pause_s for _, pause_s in server.deaths]
    assert pauses_s[:9] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert "Restarting it in 60 s; it ended 8 times in a row." in "".join(said)
    assert server.deaths[1][0] == "The server cannot be started: /state/control.key: No space left on device."
    server.starts = True
    live(guard, clock, 61)
    assert any(sentence.startswith("warning: Restarted after") for sentence in said)


def test_lost_front_is_started_again_and_counted_also_while_the_server_starts(clock: list[float]) -> None:
    server = DeadServer(Settings())
    server.starts = True
    server.lost_fronts = ["the front did not answer for 5 s", "the front ended (signal 9)"]
    said: list[str] = []

    def wait_ready(is_cancelled: Any) -> bool:
        return not is_cancelled()

    server.wait_ready = wait_ready  # type: ignore[method-assign]
    live(Supervisor(server, said.append), clock, 0.25)  # type: ignore[arg-type]
    assert server.fronts == 2
    assert server.front_deaths == ["the front ended (signal 9)", "the front did not answer for 5 s"]
    assert "warning: the front did not answer for 5 s; it was started again. Requests in flight were lost." in said


def test_full_disk_is_named_and_does_not_keep_the_server_from_its_restart(clock: list[float]) -> None:
    server = DeadServer(Settings())
    server.starts = server.is_disk_full = True
    said: list[str] = []
    live(Supervisor(server, said.append), clock, 5)  # type: ignore[arg-type]
    assert any(sentence.startswith("warning: Restarted after") for sentence in said)
    (error,) = (sentence for sentence in said if "No space left" in sentence)
    assert "goes on after OSError(28, 'No space left on device'): /state/server.json" in error


def test_server_that_was_healthy_for_ten_minutes_is_restarted_at_once(clock: list[float]) -> None:
    server = DeadServer(Settings())
    guard: Any = Supervisor(server, lambda sentence: None)  # type: ignore[arg-type]
    live(guard, clock, 10)
    server.starts = True
    while guard._ready_since_s is None:
        live(guard, clock, 0.25)
    assert server.deaths[-1][1] > 0
    clock[0] += HEALTHY_S
    live(guard, clock, 0.25)
    assert server.deaths[-1][1] == 0


def test_restarts_that_are_turned_off_end_the_supervisor(clock: list[float]) -> None:
    guard: Any = Supervisor(DeadServer(Settings(restart=False)), lambda sentence: None)  # type: ignore[arg-type]
    with pytest.raises(ServerFailed, match="It was killed"):
        live(guard, clock, 1)


def test_error_of_a_check_is_reported_once_and_the_supervisor_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    checks = iter([FileNotFoundError(2, "No such file"), FileNotFoundError(2, "No such file"), KeyError("model"), None])

    class Requests:
        is_over = False

        def is_asked(self) -> bool:
            return self.is_over

        def wait(self, timeout_s: float) -> None: ...

    requests: Any = Requests()

    def check(self: Supervisor, is_cancelled: object) -> None:
        error = next(checks)
        if error is None:
            requests.is_over = True
        else:
            raise error

    class View:
        warn = staticmethod(said.append)

    server: Any = DeadServer(Settings())
    server.follow_log = lambda: None
    monkeypatch.setattr(Supervisor, "check", check)
    serve._follow(server, requests, View())  # type: ignore[arg-type]
    kinds = [sentence.splitlines()[0].partition(" after ")[2][:17] for sentence in said]
    assert kinds == ["FileNotFoundError", "KeyError('model')"]
    assert all("Traceback" in sentence for sentence in said)
