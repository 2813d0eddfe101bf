"""`python -m ops serve`: one server in the foreground, or a supervisor of it in the background."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

from ops import probe
from ops.errors import OpsError, ServerFailed
from ops.launch import anchor_options, anchor_variables
from ops.local_server import LocalServer
from ops.serve_view import ServeView, announce
from ops.settings import ROOT, STATE_DIR, Settings
from ops.state import StateFolder
from ops.stop_requests import StopRequests
from ops.supervision import Supervisor

FOLLOW_S = 0.1
POLL_S = 0.05
# Beyond the server's own time limit, for the supervisor to import, prepare and report.
SUPERVISOR_MARGIN_S = 15.0


def serve(settings: Settings, *, quiet: bool) -> None:
    """Serves until asked to stop.

    Raises:
        OpsError: the server could not be started, or died by itself.
    """
    requests = StopRequests()
    with ServeView(settings.log_level, quiet=quiet) as view:
        server = LocalServer(settings, view.show_log)
        try:
            server.start()
            if server.wait_ready(requests.is_asked):
                view.end_start()
                if not server.is_key_hidden:
                    view.say(
                        "warning: this system lets nobody take the control key off the server's command line, where "
                        "other users of the machine can read it and load models of theirs."
                    )
                if not quiet:
                    announce(
                        server.settings,
                        server.ports,
                        [model.name for model in server.models],
                        server.ready_after_s,
                        str(server.log_file),
                    )
                _follow(server, requests, view)
                view.say("Stopping when no request is in flight; Ctrl-C again stops at once.")
        finally:
            stopping_s = time.monotonic()
            is_drained = server.stop(is_hurried=requests.is_hurried)
    lost = "" if is_drained else " Requests were still in flight."
    view.say(f"Stopped in {time.monotonic() - stopping_s:.1f} s.{lost}")


def _follow(server: LocalServer, requests: StopRequests, view: ServeView) -> None:
    supervisor = Supervisor(server, view.warn)
    while not requests.is_asked():
        server.follow_log()
        supervisor.look(requests.is_asked)
        requests.wait(FOLLOW_S)


def serve_detached(settings: Settings, *, quiet: bool) -> None:
    """Starts a supervisor in the background and returns once the server is ready.

    Raises:
        OpsError: it did not become ready; nothing is left running then.
    """
    folder = StateFolder((settings.state_dir or STATE_DIR).absolute())
    folder.folder.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    folder.refuse_claimed()
    with folder.supervisor_log_file.open("wb") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "ops", "serve", "--quiet", *as_arguments(settings, folder.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**anchor_variables(os.environ), "PYTHONPATH": _with_root(os.environ.get("PYTHONPATH"))},
            start_new_session=True,
        )
    _wait_for_supervisor(supervisor, folder, settings.startup_timeout_s + SUPERVISOR_MARGIN_S)
    state = folder.read()
    if state is None:
        raise ServerFailed(f"The server stopped again at once. Its log: {folder.log_file}")
    if not quiet:
        models = [model.name for model in probe.read_models(state.ports, folder.read_key())]
        announce(settings, state.ports, models, time.monotonic() - started_s, str(folder.log_file))
        print("Look at it with `python -m ops status`, stop it with `python -m ops stop`.")


def _with_root(python_path: str | None) -> str:
    return os.pathsep.join([str(ROOT), *([python_path] if python_path else [])])


def _wait_for_supervisor(supervisor: subprocess.Popen[bytes], folder: StateFolder, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if supervisor.poll() is not None:
            said = folder.supervisor_log_file.read_text(errors="replace").strip()
            error = OpsError(said or f"The supervisor ended with exit code {supervisor.returncode}.")
            error.exit_code = supervisor.returncode or OpsError.exit_code
            raise error
        state = folder.read()
        if state is not None and state.supervisor.pid == supervisor.pid and state.phase == "ready":
            supervisor.returncode = 0  # it stays; without this Popen warns that it was never waited for
            return
        time.sleep(POLL_S)
    supervisor.terminate()
    supervisor.wait()
    raise ServerFailed(f"The server was not ready after {timeout_s:g} s. Its log: {folder.log_file}")


def as_arguments(settings: Settings, state_dir: Path) -> list[str]:
    """The options that make `python -m ops serve` build these very settings."""
    values = dataclasses.asdict(settings)
    values.update(repository=settings.repository.absolute(), state_dir=state_dir)
    further = [f"--server-option={option}" for option in anchor_options(values.pop("server_options"))]
    if values.pop("open_to_network"):
        further.append("--open-to-network")
    return [
        *further,
        *(f"--{name.replace('_', '-')}={'' if value is None else value}" for name, value in sorted(values.items())),
    ]
