"""Runs one server in the foreground until it is asked to stop, or starts a supervisor in the background."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from ops.errors import OpsError, ServerFailed
from ops.server import probe
from ops.server.files.log_files import FAILED_START
from ops.server.launch import anchor_options, anchor_variables, put_first
from ops.server.local_server import LocalServer
from ops.server.state import PRIVATE_UMASK, StateFolder
from ops.settings import ROOT, STATE_DIR, Settings
from ops.supervision.serve_view import ServeView, describe_start
from ops.supervision.stopping import RESTART_SIGNAL
from ops.supervision.supervisor import Supervisor
from ops.supervision.supervisor_log import SupervisorLog, leave_starter

FOLLOW_S = 0.1
POLL_S = 0.05
# Added to the server's startup timeout, for imports and preparation of the supervisor.
SUPERVISOR_MARGIN_S = 15.0
KEY_WARNING = (
    "warning: this system does not allow hiding the control key in the server's command line. Other users of the "
    "machine can read the key there and load models."
)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, RESTART_SIGNAL)


class StopRequests:
    """Counts Ctrl-C, SIGTERM and SIGHUP: the first asks for a clean stop, the second for an immediate one.

    Create it in the main thread; it handles the signals from then on.

    Attributes:
        must_restart: whether `triptych restart` asked, and nobody asked for a stop.
    """

    def __init__(self) -> None:
        self._count = 0
        self.must_restart = False
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
        self.must_restart = number == RESTART_SIGNAL
        self._count += 1
        self._asked.set()


def serve(settings: Settings, *, quiet: bool) -> None:
    """Serves until a stop is requested. Other users of the machine cannot read what this process makes from now on.

    Raises:
        OpsError: the server did not start; or it ended, and restarts are turned off.
    """
    os.umask(PRIVATE_UMASK)
    requests = StopRequests()
    with ServeView(settings.log_level, quiet=quiet) as view:
        server = LocalServer(settings, view.show_log)
        try:
            server.start()
            view.keep_log(SupervisorLog(server.supervisor_log_file))
            arguments = as_arguments(_with_ports(server), server.supervisor_log_file.parent)
            server.record.change(arguments=tuple(arguments))
            if server.wait_ready(requests.is_asked):
                view.end_start()
                _announce(server, view)
                leave_starter()
                _follow(server, requests, view)
                view.say("Stopping once no request is in flight; press Ctrl-C again to stop at once.")
        except Exception as error:
            view.note(_describe_end(error, is_ready=bool(server.models)))
            raise
        finally:
            stopping_s = time.monotonic()
            is_drained = server.stop(is_hurried=requests.is_hurried)
        lost = "" if is_drained else " Requests were still in flight and are lost."
        view.say(f"Stopped in {time.monotonic() - stopping_s:.1f} s.{lost}")
    if requests.must_restart:
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "ops", "serve", *(["--quiet"] if quiet else []), *arguments])


def _describe_end(error: Exception, *, is_ready: bool) -> str:
    said = str(error) if isinstance(error, OpsError) else repr(error)
    return f"error: The supervisor ends: {said}" if is_ready else f"{FAILED_START}{said}"


def _with_ports(server: LocalServer) -> Settings:
    """Returns the server's settings with the ports that it chose."""
    ports = server.ports
    return dataclasses.replace(server.settings, http_port=ports.http, grpc_port=ports.grpc, metrics_port=ports.metrics)


def _announce(server: LocalServer, view: ServeView) -> None:
    view.note(f"Ready after {server.ready_after_s:.1f} s: {', '.join(model.name for model in server.models)}.")
    if not server.is_key_hidden:
        view.say(KEY_WARNING)
    names = [model.name for model in server.models]
    log_file = StateFolder(server.supervisor_log_file.parent).log_file
    view.show(describe_start(server.settings, server.ports, names, server.ready_after_s, str(log_file)))


def _follow(server: LocalServer, requests: StopRequests, view: ServeView) -> None:
    supervisor = Supervisor(server, view.warn)
    while not requests.is_asked():
        try:
            server.follow_log()
            supervisor.check(requests.is_asked)
        except Exception as error:
            if isinstance(error, ServerFailed) and not server.settings.restart:
                raise
            supervisor.report(error)
        requests.wait(FOLLOW_S)


def serve_detached(settings: Settings, *, quiet: bool) -> None:
    """Starts a supervisor in the background and returns once the server is ready.

    Raises:
        OpsError: the server did not become ready; no process is left running.
    """
    folder = StateFolder((settings.state_dir or STATE_DIR).absolute())
    started_s = time.monotonic()
    folder.refuse_claimed()
    variables = anchor_variables(os.environ)
    put_first(variables, "PYTHONPATH", [str(ROOT)])
    with tempfile.TemporaryFile() as said:  # not in the folder, which another process may own by now
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "ops", "serve", "--quiet", *as_arguments(settings, folder.folder)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=variables,
            start_new_session=True,
        )
        _wait_for_supervisor(supervisor, folder, settings.startup_timeout_s + SUPERVISOR_MARGIN_S, said)
    state = folder.read()
    if state is None:
        raise ServerFailed(f"The server stopped right after it was ready. Its log: {folder.log_file}")
    if not quiet:
        models = [model.name for model in probe.read_models(state.ports, folder.read_key())]
        lines = describe_start(settings, state.ports, models, time.monotonic() - started_s, str(folder.log_file))
        print("\n".join(lines))
        print(f"Check it with `{folder.command('status')}`; follow its log with `{folder.command('logs')} --follow`;")
        print(f"stop it with `{folder.command('stop')}`.")


def _wait_for_supervisor(
    supervisor: subprocess.Popen[bytes], folder: StateFolder, timeout_s: float, said: BinaryIO
) -> None:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if supervisor.poll() is not None:
            said.seek(0)
            words = said.read().decode(errors="replace").strip().removeprefix("error: ")
            error = OpsError(words or f"The supervisor ended with exit code {supervisor.returncode}.")
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
    if settings.key is not None:
        values["key"] = settings.key.absolute()
    further = [f"--server-option={option}" for option in anchor_options(values.pop("server_options"))]
    for name, option, given in (
        ("open_to_network", "--open-to-network", True),
        ("require_signature", "--require-signature", True),
        ("restart", "--no-restart", False),
    ):
        if values.pop(name) == given:
            further.append(option)
    return [
        *further,
        *(f"--{name.replace('_', '-')}={'' if value is None else value}" for name, value in sorted(values.items())),
    ]
