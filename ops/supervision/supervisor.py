"""Keeps a server answering: reloads a model whose process died, restarts a server that ended.

Triton 2.51.0 does neither. Observed: after SIGKILL of a stub the server stays "ready" and half of the calls fail; after
SIGSTOP and SIGCONT of a stub, and after 200 kB of nested JSON over HTTP, the server aborts.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable

from ops.errors import OpsError, ServerFailed
from ops.server.local_server import LocalServer
from ops.server.model_control import ModelControl
from ops.server.processes import STOPPED, read_stat
from ops.server.state import Busy
from ops.supervision.stub_watch import StubWatch

# Each check reads a few files in /proc. Must be below `stub_watch.STOPPED_S`.
CHECK_S = 0.2
# A model loads in 0.3 to 2 s here. After this time the server is restarted instead.
LOAD_TIMEOUT_S = 8.0
# A server that ends more than `Settings.restarts` times within this time is not restarted again.
WINDOW_S = 600.0
# Longest pause before a model is reloaded again; it starts with 2 s after the third reload and doubles.
MAX_PAUSE_S = 30.0
SERVER_STOPPED_S = 5.0
# After a foreign SIGTERM, Triton waits up to 10 s for an idle HTTP connection; the supervisor waits this long.
IDLE_CONNECTION_S = 1.0


class Supervisor:
    """Polled by the process that follows the server.

    Args:
        server: the server, ready.
        say: receives a sentence about each action.
    """

    def __init__(self, server: LocalServer, say: Callable[[str], None]) -> None:
        self._server = server
        self._say = say
        self._watch = StubWatch(server.pid)
        self._checked_s = 0.0
        self._stopped_since_s: float | None = None
        self._ending_since_s: float | None = None
        self._is_ended = False
        self._deaths: deque[float] = deque()
        self._loads: dict[str, deque[float]] = {}

    def check(self, is_cancelled: Callable[[], bool]) -> None:
        """Returns at once unless the server needs an action, which may take some seconds.

        Raises:
            ServerFailed: the server ended more often than `Settings.restarts` allows.
        """
        now_s = time.monotonic()
        if now_s - self._checked_s < CHECK_S:
            return
        self._checked_s = now_s
        self._kill_stopped_server(now_s)
        self._kill_ending_server(now_s)
        if self._server.exit_code() is not None:
            self._restart(is_cancelled)
            return
        failed = self._watch.failed(now_s)
        for stub in failed:
            if stub.is_stopped:
                stub.process.send(signal.SIGKILL)  # counts as dead at the next check
        dead = sorted({stub.model for stub in failed if not stub.is_stopped})
        for model in dead:
            if now_s >= self._next_load_s(model):
                self._load(model, now_s)

    def _load(self, model: str, now_s: float) -> None:
        control = ModelControl(self._server.ports, self._server.control_key, LOAD_TIMEOUT_S)
        try:
            with self._server.recovering(model):
                control.load(model)
        except Busy:  # a reload is running, which loads the model too; the next check decides
            return
        except OpsError as error:
            self._say(
                f"warning: a process of {model} died, and the model did not load again: {error} Restarting the server."
            )
            self._server.kill()  # the next check restarts it
            return
        self._loads.setdefault(model, deque(maxlen=8)).append(now_s)
        self._watch.forget(model)
        took_s = time.monotonic() - now_s
        self._say(f"warning: a process of {model} died; the model was loaded again in {took_s:.1f} s.")

    def _next_load_s(self, model: str) -> float:
        loads = [at_s for at_s in self._loads.get(model, ()) if self._checked_s - at_s < WINDOW_S / 10]
        return loads[-1] + min(MAX_PAUSE_S, 2.0 ** (len(loads) - 2)) if len(loads) > 2 else 0.0

    def _kill_stopped_server(self, now_s: float) -> None:
        if read_stat(self._server.pid)[0] != STOPPED:
            self._stopped_since_s = None
        elif self._stopped_since_s is None:
            self._stopped_since_s = now_s
        elif now_s - self._stopped_since_s >= SERVER_STOPPED_S:
            self._say(f"warning: the server process was stopped for {SERVER_STOPPED_S:g} s. Restarting the server.")
            self._server.kill()

    def _kill_ending_server(self, now_s: float) -> None:
        """After a SIGTERM from elsewhere, kills an idle server: unloading would take 1 to 20 s for nothing."""
        summary = self._server.summary
        if not (summary.is_unloading or summary.waits_for_connections):
            self._ending_since_s = None
            return
        self._ending_since_s = self._ending_since_s or now_s
        if not self._is_ended and (summary.is_unloading or now_s - self._ending_since_s >= IDLE_CONNECTION_S):
            self._say("warning: another process sent the server SIGTERM, and no request is in flight. Restarting it.")
            self._server.kill()
            self._is_ended = True

    def _restart(self, is_cancelled: Callable[[], bool]) -> None:
        now_s = time.monotonic()
        self._deaths.append(now_s)
        while now_s - self._deaths[0] > WINDOW_S:
            self._deaths.popleft()
        how = self._server.describe_death()
        allowed = self._server.settings.restarts
        if len(self._deaths) > allowed:
            again = f" It ended {len(self._deaths)} times within {WINDOW_S / 60:g} minutes." if allowed else ""
            raise ServerFailed(f"{how}{again}")
        self._server.restart()
        self._watch = StubWatch(self._server.pid)
        self._stopped_since_s = self._ending_since_s = None
        self._is_ended = False
        try:
            if self._server.wait_ready(is_cancelled):
                self._say(f"warning: {how} Restarted after {time.monotonic() - now_s:.1f} s.")
        except ServerFailed as error:  # the next check counts another failure
            self._say(f"warning: {error} Restarting the server.")
            self._server.kill()
