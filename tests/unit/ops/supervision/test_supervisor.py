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

    def exit_code(self) -> int:
        return -9

    def describe_death(self) -> str:
        return "It was killed."

    def note_death(self, how: str, next_restart_s: float) -> None:
        self.deaths.append((how, next_restart_s))

    def restart(self) -> None:
        if not self.starts:
            raise OSError(28, "No space left on device")

    def wait_ready(self, is_cancelled: object) -> bool:
        return True

    def has_lost_front(self) -> bool:
        return False

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
    assert any("No space left on device" in how for how, _ in server.deaths)
    server.starts = True
    live(guard, clock, 61)
    assert any(sentence.startswith("warning: Restarted after") for sentence in said)


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
