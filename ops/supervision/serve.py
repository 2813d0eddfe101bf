"""Runs one server in the foreground until it is asked to stop, or starts a supervisor in the background."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from ops.errors import OpsError, ServerFailed
from ops.server import probe
from ops.server.launch import anchor_options, anchor_variables, put_first
from ops.server.local_server import LocalServer
from ops.server.state import StateFolder
from ops.settings import ROOT, STATE_DIR, Settings
from ops.supervision.serve_view import ServeView, announce
from ops.supervision.supervisor import Supervisor

FOLLOW_S = 0.1
POLL_S = 0.05
# Added to the server's startup timeout, for imports and preparation of the supervisor.
SUPERVISOR_MARGIN_S = 15.0
KEY_WARNING = (
    "warning: this system does not allow hiding the control key in the server's command line. Other users of the "
    "machine can read the key there and load models."
)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequests:
    """Counts Ctrl-C, SIGTERM and SIGHUP: the first asks for a clean stop, the second for an immediate one.

    Create it in the main thread; it handles the signals from then on.
    """

    def __init__(self) -> None:
        self._count = 0
        self._asked = threading.Event()
        for number in SIGNALS:
            signal.signal(number, self._note)

    def is_asked(self) -> bool:
        return self._count > 0

    def is_hurried(self) -> bool:
        return self._count > 1

    def wait(self, timeout_s: float) -> None:
        """Returns after the timeout or when a signal arrives."""
        self._asked.wait(timeout_s)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        self._asked.set()


def serve(settings: Settings, *, quiet: bool) -> None:
    """Serves until a stop is requested.

    Raises:
        OpsError: the server did not start, or ended unexpectedly.
    """
    requests = StopRequests()
    with ServeView(settings.log_level, quiet=quiet) as view:
        server = LocalServer(settings, view.show_log)
        try:
            server.start()
            if server.wait_ready(requests.is_asked):
                view.end_start()
                if not server.is_key_hidden:
                    view.say(KEY_WARNING)
                if not quiet:
                    announce(
                        server.settings,
                        server.ports,
                        [model.name for model in server.models],
                        server.ready_after_s,
                        str(server.log_file),
                    )
                _follow(server, requests, view)
                view.say("Stopping once no request is in flight; press Ctrl-C again to stop at once.")
        finally:
            stopping_s = time.monotonic()
            is_drained = server.stop(is_hurried=requests.is_hurried)
    lost = "" if is_drained else " Requests were still in flight and are lost."
    view.say(f"Stopped in {time.monotonic() - stopping_s:.1f} s.{lost}")


def _follow(server: LocalServer, requests: StopRequests, view: ServeView) -> None:
    supervisor = Supervisor(server, view.warn)
    while not requests.is_asked():
        server.follow_log()
        supervisor.check(requests.is_asked)
        requests.wait(FOLLOW_S)


def serve_detached(settings: Settings, *, quiet: bool) -> None:
    """Starts a supervisor in the background and returns once the server is ready.

    Raises:
        OpsError: the server did not become ready; no process is left running.
    """
    folder = StateFolder((settings.state_dir or STATE_DIR).absolute())
    folder.folder.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    folder.refuse_claimed()
    variables = anchor_variables(os.environ)
    put_first(variables, "PYTHONPATH", [str(ROOT)])
    with folder.supervisor_log_file.open("wb") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "ops", "serve", "--quiet", *as_arguments(settings, folder.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=variables,
            start_new_session=True,
        )
    _wait_for_supervisor(supervisor, folder, settings.startup_timeout_s + SUPERVISOR_MARGIN_S)
    state = folder.read()
    if state is None:
        raise ServerFailed(f"The server stopped right after it was ready. Its log: {folder.log_file}")
    if not quiet:
        models = [model.name for model in probe.read_models(state.ports, folder.read_key())]
        announce(settings, state.ports, models, time.monotonic() - started_s, str(folder.log_file))
        print(f"Check it with `{folder.command('status')}`; follow its log with `{folder.command('logs')} --follow`;")
        print(f"stop it with `{folder.command('stop')}`.")


def _wait_for_supervisor(supervisor: subprocess.Popen[bytes], folder: StateFolder, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if supervisor.poll() is not None:
            said = folder.supervisor_log_file.read_text(errors="replace").strip().removeprefix("error: ")
            error = OpsError(said or f"The supervisor ended with exit code {supervisor.returncode}.")
            error.exit_code = supervisor.returncode or OpsError.exit_code
            raise error
        state = folder.read()
        if state is not None and state.supervisor.pid == supervisor.pid and state.phase == "ready":
            supervisor.returncode = 0  # the supervisor keeps running; Popen would warn
            return
        time.sleep(POLL_S)
    supervisor.terminate()
    supervisor.wait()
    raise ServerFailed(f"The server was not ready after {timeout_s:g} s. Its log: {folder.log_file}")


def as_arguments(settings: Settings, state_dir: Path) -> list[str]:
    """Returns the options with which `triptych serve` builds the same settings."""
    values = dataclasses.asdict(settings)
    values.update(repository=settings.repository.absolute(), state_dir=state_dir)
    further = [f"--server-option={option}" for option in anchor_options(values.pop("server_options"))]
    if values.pop("open_to_network"):
        further.append("--open-to-network")
    return [
        *further,
        *(f"--{name.replace('_', '-')}={'' if value is None else value}" for name, value in sorted(values.items())),
    ]
