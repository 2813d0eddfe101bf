"""Keeps a server that `serve` started answering: loads a model whose process died anew, starts a dead server anew.

Triton 2.51.0 does neither. Seen on it: after SIGKILL of a stub the server stays "ready" and half of the calls fail;
after SIGSTOP and SIGCONT of one, and after 200 kB of nested JSON over HTTP, the server itself aborts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable

from ops.errors import OpsError, ServerFailed
from ops.local_server import LocalServer
from ops.model_control import ModelControl
from ops.state import Busy
from ops.stub_watch import StubWatch, is_stopped

# A few reads in /proc; see `stub_watch.STOPPED_S`.
LOOK_S = 0.2
# A model loads in 0.3 to 2 s here; one that takes longer than this is not waited for: the server is started anew.
LOAD_TIMEOUT_S = 8.0
# Within so many seconds a server may die `Settings.restarts` times; then a person is needed.
WINDOW_S = 600.0
# A model whose process dies again and again is loaded at most so often; 2 s after the third time, then 4, 8 ...
MAX_PAUSE_S = 30.0
SERVER_STOPPED_S = 5.0
# Of a server that somebody told to end: an HTTP connection without a request may hold it for ten times that.
IDLE_CONNECTION_S = 1.0


class Supervisor:
    """Looked at again and again by whoever follows the server.

    Args:
        server: ready.
        say: told a sentence of each thing that was done.
    """

    def __init__(self, server: LocalServer, say: Callable[[str], None]) -> None:
        self._server = server
        self._say = say
        self._watch = StubWatch(server.pid)
        self._looked_s = 0.0
        self._stopped_since_s: float | None = None
        self._ending_since_s: float | None = None
        self._is_ended = False
        self._deaths: deque[float] = deque()
        self._loads: dict[str, deque[float]] = {}

    def look(self, is_cancelled: Callable[[], bool]) -> None:
        """Returns at once unless something must be done, which may take some seconds.

        Raises:
            ServerFailed: the server died more often than is borne.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        self._kill_stopped_server(now_s)
        self._kill_ending_server(now_s)
        if self._server.exit_code() is not None:
            self._restart(is_cancelled)
            return
        failed = self._watch.failed(now_s)
        for stub in failed:
            if stub.is_stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(stub.pid, signal.SIGKILL)  # dead at the next look
        dead = sorted({stub.model for stub in failed if not stub.is_stopped})
        for model in dead:
            if now_s >= self._next_load_s(model):
                self._load(model, now_s)

    def _load(self, model: str, now_s: float) -> None:
        control = ModelControl(self._server.ports, self._server.control_key, LOAD_TIMEOUT_S)
        try:
            with self._server.recovering(model):
                control.load(model)
        except Busy:  # a reload is at work, which loads it too; the next look tells
            return
        except OpsError as error:
            self._say(
                f"warning: a process of {model} died, and the model did not load: {error} Starting the server anew."
            )
            self._server.kill()  # the next look starts it
            return
        self._loads.setdefault(model, deque(maxlen=8)).append(now_s)
        self._watch.forget(model)
        self._say(f"warning: a process of {model} died; the model was loaded anew in {time.monotonic() - now_s:.1f} s.")

    def _next_load_s(self, model: str) -> float:
        loads = [at_s for at_s in self._loads.get(model, ()) if self._looked_s - at_s < WINDOW_S / 10]
        return loads[-1] + min(MAX_PAUSE_S, 2.0 ** (len(loads) - 2)) if len(loads) > 2 else 0.0

    def _kill_stopped_server(self, now_s: float) -> None:
        if not is_stopped(self._server.pid):
            self._stopped_since_s = None
        elif self._stopped_since_s is None:
            self._stopped_since_s = now_s
        elif now_s - self._stopped_since_s >= SERVER_STOPPED_S:
            self._say("warning: the server was stopped and not continued; starting it anew.")
            self._server.kill()

    def _kill_ending_server(self, now_s: float) -> None:
        """After a SIGTERM that was not `serve`'s: once nothing is in flight, unloading takes 1 to 20 s for nothing."""
        summary = self._server.summary
        if not (summary.is_unloading or summary.waits_for_connections):
            self._ending_since_s = None
            return
        self._ending_since_s = self._ending_since_s or now_s
        if not self._is_ended and (summary.is_unloading or now_s - self._ending_since_s >= IDLE_CONNECTION_S):
            self._say("warning: somebody told the server to end, and nothing is in flight any more; starting it anew.")
            self._server.kill()
            self._is_ended = True

    def _restart(self, is_cancelled: Callable[[], bool]) -> None:
        now_s = time.monotonic()
        self._deaths.append(now_s)
        while now_s - self._deaths[0] > WINDOW_S:
            self._deaths.popleft()
        how = self._server.describe_death()
        borne = self._server.settings.restarts
        if len(self._deaths) > borne:
            again = f" It died {len(self._deaths)} times within {WINDOW_S / 60:g} minutes." if borne else ""
            raise ServerFailed(f"{how}{again}")
        self._server.restart()
        self._watch = StubWatch(self._server.pid)
        self._stopped_since_s = self._ending_since_s = None
        self._is_ended = False
        try:
            if self._server.wait_ready(is_cancelled):
                self._say(f"warning: {how} Started anew after {time.monotonic() - now_s:.1f} s.")
        except ServerFailed as error:  # one death more, for the next look
            self._say(f"warning: {error} Trying again.")
            self._server.kill()
