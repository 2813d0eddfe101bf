"""Keeps a server answering: reloads a model whose process died, restarts a server that ended, ends a killed reload.

Triton 2.51.0 does none of it. Observed: after SIGKILL of a stub the server stays "ready" and half of the calls fail;
after SIGSTOP and SIGCONT of a stub, and after 200 kB of nested JSON over HTTP, the server aborts. No error ends the
supervisor: it is reported, and the next check tries again.
"""

from __future__ import annotations

import signal
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path

from ops.errors import OpsError, ServerFailed
from ops.release import Policy, open_verified
from ops.server.local_server import LocalServer
from ops.server.model_control import ModelControl
from ops.server.processes import STOPPED, read_stat
from ops.server.serving_folder import ServingFolder
from ops.server.state import Busy, ServerState
from ops.supervision.exchange import Exchange
from ops.supervision.stub_watch import StubWatch

# Each check reads a few files in /proc. Must be below `stub_watch.STOPPED_S`.
CHECK_S = 0.2
# A model loads in 0.3 to 2 s here. After this time the server is restarted instead.
LOAD_TIMEOUT_S = 8.0
# Loads of a model within this time count towards the pause before its next one.
LOADS_WINDOW_S = 60.0
# Longest pause before a model is reloaded again; it starts with 2 s after the third reload and doubles.
MAX_PAUSE_S = 30.0
SERVER_STOPPED_S = 5.0
# After a foreign SIGTERM, Triton waits up to 10 s for an idle HTTP connection; the supervisor waits this long.
IDLE_CONNECTION_S = 1.0
# Pauses before a restart: none after the first end of the server, then 1 s, doubled each time.
MAX_RESTART_PAUSE_S = 60.0
# A server that was ready for this long is as good as new: its next restart is not delayed.
HEALTHY_S = 600.0
# The same error is reported again after this time.
SAME_ERROR_S = 60.0
# In the temporary names of models; a reload has digits of a digest there.
PUT_BACK = "put-back"


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
        self._deaths = 0  # without a healthy time in between
        self._ready_since_s: float | None = time.monotonic()
        self._restart_at_s: float | None = None
        self._loads: dict[str, deque[float]] = {}
        self._reported: dict[str, float] = {}

    def check(self, is_cancelled: Callable[[], bool]) -> None:
        """Returns at once unless the server needs an action, which may take some seconds.

        Raises:
            ServerFailed: the server ended, and `Settings.restart` is off.
        """
        now_s = time.monotonic()
        if now_s - self._checked_s < CHECK_S:
            return
        self._checked_s = now_s
        self._keep_front()
        self._restore_state()
        if self._server.exit_code() is None:
            self._guard(now_s)
        else:
            self._replace(now_s, is_cancelled)

    def report(self, error: Exception) -> None:
        """Reports an error that the supervisor survives: a full disk, a folder that somebody removed."""
        kind, now_s = f"{error!r}{_describe_place(error)}", time.monotonic()
        if now_s - self._reported.get(kind, float("-inf")) >= SAME_ERROR_S:
            self._reported[kind] = now_s
            self._say(f"error: The supervisor goes on after {kind}.\n{''.join(traceback.format_exception(error))}")

    def _keep_front(self) -> None:
        how = self._server.describe_lost_front()
        if how is not None:
            try:
                self._server.start_front()
            except (OpsError, OSError) as error:  # the next check tries again
                self.report(error)
                return
            self._server.record.note_front_death(how)
            self._say(f"warning: {how}; it was started again. Requests in flight were lost.")

    def _is_ended_meanwhile(self, is_cancelled: Callable[[], bool]) -> bool:
        """Looks after the front, without which the server is not found ready."""
        self._keep_front()
        return is_cancelled()

    def _restore_state(self) -> None:
        try:
            self._server.record.restore()
        except OSError as error:  # the disk is full; the next check tries again
            self.report(error)

    def _guard(self, now_s: float) -> None:
        """Looks after a running server."""
        self._kill_stopped_server(now_s)
        self._kill_ending_server(now_s)
        killed = self._server.record.find_killed_reload()
        if killed is not None:
            self._put_back(killed)
        failed = self._watch.failed(now_s)
        for stub in failed:
            if stub.is_stopped:
                stub.process.send(signal.SIGKILL)  # counts as dead at the next check
        dead = sorted({stub.model for stub in failed if not stub.is_stopped})
        for model in dead:
            if now_s >= self._next_load_s(model):
                self._load(model, now_s)

    def _load(self, model: str, now_s: float) -> None:
        try:
            with self._server.recovering(model) as is_served:
                if is_served:
                    self._control().load(model)
        except Busy:  # a reload is running, which loads the model too; the next check decides
            return
        except OpsError as error:
            self._say(
                f"warning: a process of {model} died, and the model did not load again: {error} Restarting the server."
            )
            self._server.kill()  # the next check restarts it
            return
        self._watch.forget(model)
        if not is_served:  # the process of a model that a reload has replaced
            return
        self._loads.setdefault(model, deque(maxlen=8)).append(now_s)
        took_s = time.monotonic() - now_s
        self._say(f"warning: a process of {model} died; the model was loaded again in {took_s:.1f} s.")

    def _control(self) -> ModelControl:
        return ModelControl(self._server.ports, self._server.control_key, LOAD_TIMEOUT_S)

    def _next_load_s(self, model: str) -> float:
        loads = [at_s for at_s in self._loads.get(model, ()) if self._checked_s - at_s < LOADS_WINDOW_S]
        return loads[-1] + min(MAX_PAUSE_S, 2.0 ** (len(loads) - 2)) if len(loads) > 2 else 0.0

    def _put_back(self, state: ServerState) -> None:
        """Loads the models of the release that the state names, some of which a killed reload has replaced."""
        served = Path(state.folder or state.repository)
        try:
            with self._server.record.finishing_reload():
                serving = ServingFolder(Path(state.serving or ""))
                Exchange(serving, self._control(), _source(serving, served, state), PUT_BACK, state.profile).run()
        except Busy:
            return
        except (OpsError, OSError) as error:
            self._say(f"warning: a reload was killed, and its models were not replaced: {error} Restarting the server.")
            self._server.kill()
            return
        self._say(f"warning: a reload was killed; {state.release or served} is served, as before it.")

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

    def _replace(self, now_s: float, is_cancelled: Callable[[], bool]) -> None:
        """Restarts a server that has ended, at once or after a pause."""
        if self._restart_at_s is None:
            self._note_death(self._server.describe_death(), now_s)
        if self._restart_at_s is not None and now_s >= self._restart_at_s:
            self._restart(now_s, is_cancelled)

    def _note_death(self, how: str, now_s: float) -> None:
        """Raises:
        ServerFailed: restarts are turned off.
        """
        if not self._server.settings.restart:
            raise ServerFailed(how)
        if self._ready_since_s is not None and now_s - self._ready_since_s >= HEALTHY_S:
            self._deaths = 0
        self._ready_since_s = None
        self._deaths += 1
        pause_s = 0.0 if self._deaths == 1 else min(MAX_RESTART_PAUSE_S, 2.0 ** (self._deaths - 2))
        self._restart_at_s = now_s + pause_s
        when = f"in {pause_s:g} s; it ended {self._deaths} times in a row" if pause_s else "now"
        self._say(f"error: {how} Restarting it {when}.")
        self._server.record.note_death(how, pause_s)

    def _restart(self, now_s: float, is_cancelled: Callable[[], bool]) -> None:
        self._stopped_since_s = self._ending_since_s = None
        self._is_ended = False
        try:
            self._server.restart()
            self._watch = StubWatch(self._server.pid)
            if not self._server.wait_ready(lambda: self._is_ended_meanwhile(is_cancelled)):
                return
        except Exception as error:  # for example a model that does not load, a full disk, a release that is gone
            if not isinstance(error, OpsError):
                self.report(error)
            self._server.kill()
            self._note_death(_describe(error), time.monotonic())
            return
        self._restart_at_s, self._ready_since_s = None, time.monotonic()
        self._say(f"warning: Restarted after {time.monotonic() - now_s:.1f} s.")


def _source(serving: ServingFolder, served: Path, state: ServerState) -> Path:
    """Returns the folder whose models are loaded: of a server with a key, a copy of the verified release.

    Raises:
        OpsError: the release is refused.
    """
    if state.key is None:
        return served
    return serving.copy(open_verified(served, "Download or make the release again.", Policy(Path(state.key))))


def _describe(error: Exception) -> str:
    """Returns a sentence: of an error of the system, what it is about comes first."""
    if isinstance(error, OSError) and error.strerror:
        return f"The server cannot be started: {error.filename or 'a file'}: {error.strerror}."
    return str(error)


def _describe_place(error: Exception) -> str:
    return f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
