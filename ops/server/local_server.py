"""One Triton server on this machine, from start to complete cleanup. Must not print.

    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0)) as server:
        call(server.grpc_target)

The server gets SIGTERM when the thread that started it ends; enter the context from a thread that outlives the server.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ops.errors import ServerFailed
from ops.release import find_release
from ops.repository import check_repository, has_finalizers
from ops.server import launch, model_control, probe
from ops.server.failures import StartWatch, describe_death, describe_slow_start
from ops.server.logs import LogLine, LogReader, LogSummary
from ops.server.ports import choose_ports
from ops.server.processes import ProcessIdentity, kill_remains, new_prefix, remove_abandoned, remove_segments
from ops.server.server_binary import WheelServer, find_server, prepare, remove_environment_folder
from ops.server.serving_folder import ServingFolder
from ops.server.shutdown import shut_down, wait_until_idle
from ops.server.state import ServerState, StateFolder
from ops.settings import Ports, Settings

POLL_S = 0.05
# Triton loads the Python backend before anything else, within this time.
BACKEND_LOADED_S = 5.0
OnLog = Callable[[list[LogLine], LogSummary], None]
NOT_RUNNING = "The server is not running. Start it first."


class LocalServer:
    """Starts on entry, waits until every model is ready, drains and stops on exit.

    Attributes:
        ports: where the server listens; set by `start`.
        models: what the server serves; set once it is ready.
        ready_after_s: from the start until every model was ready.
        api_key: the key for loading and unloading models, as name=value.
        control_key: its value.
        memory_key: the key for sending photos in shared memory, as name=value.
        is_key_hidden: whether other users of the machine cannot read the keys in the server's command line.
        segment_prefix: of the server's shared-memory segments; also an argument of each stub.
        catalogue_key_file: holds the key for writing to the catalogue.
        log_file: Triton's own log.
    """

    ports: Ports
    _state: ServerState

    def __init__(self, settings: Settings, on_log: OnLog = lambda lines, summary: None) -> None:
        self.settings = dataclasses.replace(
            settings,
            repository=settings.repository.absolute(),
            server_options=launch.anchor_options(settings.server_options),
        )
        self.models: list[probe.ModelState] = []
        self.ready_after_s = 0.0
        self._on_log = on_log
        self._is_private = settings.state_dir is None
        folder = Path(tempfile.mkdtemp(prefix="triptych_")) if settings.state_dir is None else settings.state_dir
        self._state_folder = StateFolder(folder.absolute())
        self._serving = ServingFolder(self._state_folder.serving)
        self.catalogue_key_file = self._state_folder.catalogue_key_file
        self.log_file = self._state_folder.log_file
        self.segment_prefix = new_prefix()
        self.api_key = model_control.make_key(probe.CONTROL_HEADER)
        self.control_key = self.api_key.partition("=")[2]
        self.memory_key = model_control.make_key(model_control.MEMORY_HEADER)
        self.is_key_hidden = False
        self._process: subprocess.Popen[bytes] | None = None
        self._log: LogReader | None = None
        self._started_s = self._launched_s = 0.0

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            ServerFailed: the server is not running.
        """
        if self._process is None:
            raise ServerFailed(NOT_RUNNING)
        return self._process.pid

    @property
    def grpc_target(self) -> str:
        return self.ports.grpc_target

    @property
    def http_url(self) -> str:
        return self.ports.http_url

    @property
    def metrics_url(self) -> str:
        return self.ports.metrics_url

    def __enter__(self) -> LocalServer:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.stop(drain=False)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the server; `stop` must follow, even after an error.

        Raises:
            OpsError: the server cannot start: no tritonserver, no models, a taken port, or another server in this state
                folder.
        """
        settings = self.settings
        check_repository(settings.repository, settings.profile)
        binary = find_server(settings.repository)
        self._state_folder.claim()
        self._clear_previous_run()
        self.ports = choose_ports(settings.http_port, settings.grpc_port, settings.metrics_port)
        served = settings.repository.resolve()  # a link to it may change while the server runs
        self._state = self._make_state(served)
        backend = prepare(binary, self._state_folder.folder) if isinstance(binary, WheelServer) else None
        self._serving.fill(served)
        self._state_folder.write_keys(self.control_key, self.memory_key)
        self._state_folder.keep_catalogue_key()
        pointed_at = dataclasses.replace(settings, repository=self._serving.folder)
        options = launch.server_options(pointed_at, self.ports, self.segment_prefix)
        if not settings.open_to_network:
            launch.refuse_open(options)
        closed = model_control.control_options(self.api_key, self.memory_key, settings.server_options)
        command = launch.command_line(binary, backend, [*options, *closed])
        variables = launch.environment(
            backend,
            self._serving.folder,
            self._state_folder.make_temporary(),
            settings.cache_mb,
            (settings.catalogue_dir or self._state_folder.catalogue).absolute(),
            self.catalogue_key_file,
            dict(os.environ),
        )
        self._launch = functools.partial(launch.start, command, variables, self._serving.folder, self.log_file)
        self._run()

    def _make_state(self, served: Path) -> ServerState:
        settings, release = self.settings, find_release(served)
        return ServerState(
            phase="starting",
            supervisor=ProcessIdentity.of(os.getpid()),
            server=None,
            ports=self.ports,
            repository=str(settings.repository),
            profile=settings.profile,
            cache_mb=settings.cache_mb,
            segment_prefix=self.segment_prefix,
            started_at="",
            log_file=str(self.log_file),
            stop_timeout_s=settings.drain_timeout_s + settings.exit_timeout_s,
            release=release.name if release is not None else None,
            folder=str(served),
        )

    def _run(self) -> None:
        self._started_s, self._launched_s = time.monotonic(), time.time()
        self._process = self._launch()
        self._log = LogReader(self.log_file, has_gpu=Path("/dev/nvidiactl").exists())
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._write_state(phase="starting", server=ProcessIdentity.of(self._process.pid), started_at=now)

    def restart(self) -> None:
        """Restarts a server that has ended, with the same ports, keys and models. `wait_ready` must follow.

        Raises:
            OpsError: the repository that it served no longer exists.
        """
        state = self._state_folder.read() or self._state  # a reload may have replaced the release
        served = Path(state.folder or state.repository)
        check_repository(served, self.settings.profile)
        self._kill_remains()
        remove_segments(self.segment_prefix)
        self._state_folder.make_temporary()
        self._keep_log()
        self._serving.fill(served)  # a killed reload may have left models of two releases
        self.is_key_hidden = False
        self._run()

    def kill(self) -> None:
        """Kills the server; its supervisor restarts it."""
        if self._process is not None:
            self._process.kill()

    def _kill_remains(self) -> None:
        self.kill()
        if self._process is not None:
            self._process.wait()
        kill_remains(None, self.segment_prefix)

    def exit_code(self) -> int | None:
        """Returns None while the server runs."""
        return None if self._process is None else self._process.poll()

    def describe_death(self) -> str:
        """Returns a sentence that says how the server ended."""
        self.follow_log()
        return describe_death(self.exit_code() or 0, self.summary, self.log_file)

    def raise_if_dead(self) -> None:
        """Raises:
        ServerFailed: the server ended unexpectedly.
        """
        if self.exit_code() is not None:
            raise ServerFailed(self.describe_death())

    @contextlib.contextmanager
    def recovering(self, model: str) -> Iterator[None]:
        """Marks the server as recovering while a model of it loads again; excludes a reload.

        Raises:
            Busy: a reload is running.
        """
        with self._state_folder.loading():
            self._serving.touch(model)
            self._write_state(phase="recovering")
            try:
                yield
            finally:
                self._write_state(phase="ready")

    def _write_state(self, **changes: Any) -> None:
        state = self._state_folder.read() or self._state  # a reload may have replaced the release
        self._state = dataclasses.replace(state, **changes)
        self._state_folder.write(self._state)

    def wait_ready(self, is_cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Returns True once every model is ready, False when cancelled.

        Raises:
            ServerFailed: a model did not load, the server ended, or the startup timeout passed.
        """
        if self._process is None:
            raise ServerFailed(NOT_RUNNING)
        watch = StartWatch(self._process, self.log_file)
        deadline_s = self._started_s + self.settings.startup_timeout_s
        while not is_cancelled():
            has_ended = self._process.poll() is not None  # before reading the log, so that the last lines are read
            self.follow_log()
            watch.raise_if_failed(self.summary, has_ended=has_ended)
            if self.summary.loading and not self.is_key_hidden:  # the server has read its command line
                self.is_key_hidden = model_control.hide_keys(self._process.pid, (self.api_key, self.memory_key))
            if probe.is_ready(self.ports):
                self.models = probe.read_models(self.ports, self.control_key)
                self.ready_after_s = time.monotonic() - self._started_s
                self._write_state(phase="ready")
                return True
            if time.monotonic() > deadline_s:
                raise ServerFailed(describe_slow_start(self.summary, self.settings.startup_timeout_s, self.log_file))
            time.sleep(POLL_S)
        return False

    @property
    def summary(self) -> LogSummary:
        """The summary of the log up to the last `follow_log`."""
        return self._log.summary if self._log is not None else LogSummary()

    def follow_log(self) -> None:
        """Reads the log lines written since the last call and passes them to `on_log`."""
        if self._log is not None:
            self._on_log(self._log.read_new(), self._log.summary)

    def stop(self, *, drain: bool = True, is_hurried: Callable[[], bool] = lambda: False) -> bool:
        """Stops the server and removes its processes, shared memory and state. May be called again.

        Args:
            drain: whether to wait first until no request is in flight, for `drain_timeout_s` at most.
            is_hurried: polled; once it returns True the server is killed.

        Returns:
            Whether every request in flight was answered first; True without `drain`.
        """
        is_drained = True
        try:
            if self._process is not None and self._process.poll() is None and self._log is not None:
                is_ready = bool(self.models)
                if is_ready:
                    self._write_state(phase="stopping")
                if drain and is_ready:
                    is_drained = wait_until_idle(
                        self.ports.metrics, self.segment_prefix, self.settings.drain_timeout_s, is_hurried
                    )
                if is_ready and not is_hurried():
                    must_unload = not is_drained or has_finalizers(self._serving.folder, self.settings.profile)
                    shut_down(self._process, self._log, self.settings.exit_timeout_s, must_unload, is_hurried)
        finally:
            if self._state_folder.is_claimed:
                self._clean_up()
            elif self._is_private:
                shutil.rmtree(self._state_folder.folder, ignore_errors=True)
        return is_drained

    def _clean_up(self) -> None:
        self._kill_remains()
        if self._process is not None:
            self.follow_log()
            self._process = self._log = None
            self._state_folder.clear()
        remove_segments(self.segment_prefix)
        self._state_folder.remove_temporary()
        self._serving.clear()
        remove_environment_folder(self._launched_s, self._launched_s + BACKEND_LOADED_S)
        self._state_folder.release()
        has_failed = not self.models and self.log_file.exists()
        if self._is_private and not has_failed:  # the error of a failed start names the log in this folder
            shutil.rmtree(self._state_folder.folder, ignore_errors=True)

    def _clear_previous_run(self) -> None:
        """Removes what a killed supervisor left behind, after giving its server time to unload."""
        previous = self._state_folder.read()
        if previous is not None:
            if previous.server is not None:
                previous.server.wait(self.settings.exit_timeout_s)
            kill_remains(previous.server, previous.segment_prefix)
            self._state_folder.clear()
        remove_abandoned()
        self._keep_log()

    def _keep_log(self) -> None:
        if self.log_file.exists():
            self.log_file.replace(self.log_file.with_suffix(".previous.log"))
