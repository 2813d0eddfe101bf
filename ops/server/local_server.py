"""One Triton server on this machine, from start to complete cleanup. Must not print.

    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0)) as server:
        call(server.grpc_target)

The server gets SIGTERM when the thread that started it ends; enter the context from a thread that outlives the server.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ops.errors import ServerFailed
from ops.front.routes import KEY_HEADER
from ops.release import Policy, Release, check_served, find_release
from ops.repository import check_repository, has_finalizers
from ops.server import launch, model_control, probe
from ops.server.failures import StartWatch, describe_death, describe_slow_start
from ops.server.front_process import ADMIN, FrontProcess
from ops.server.logs import LogLine, LogReader, LogSummary
from ops.server.ports import are_free, choose_inner_ports, choose_ports
from ops.server.processes import ProcessIdentity, close_segments, kill_remains, new_prefix, remove_segments
from ops.server.record import StateRecord
from ops.server.remains import PRIVATE_PREFIX, clear_remains, refuse_own_files
from ops.server.server_binary import (
    SystemServer,
    WheelServer,
    find_server,
    prepare,
    refuse_separators,
    remove_environment_folders,
)
from ops.server.serving_folder import ServingFolder
from ops.server.shutdown import shut_down, wait_until_answered
from ops.server.state import ServerState, StateFolder
from ops.settings import Ports, Settings

POLL_S = 0.05
OnLog = Callable[[list[LogLine], LogSummary], None]
NOT_RUNNING = "The server is not running. Start it first."


class LocalServer:
    """Starts on entry, waits until every model is ready, drains and stops on exit.

    Attributes:
        ports: where the front listens, which callers reach; set by `start`.
        inner_ports: where the server itself listens, on loopback.
        models: what the server serves; set once it is ready.
        ready_after_s: from the start until every model was ready.
        api_key: the key for loading and unloading models, as name=value.
        control_key: its value.
        memory_key: the key for sending photos in shared memory, as name=value.
        front_key: the key of all other calls to `inner_ports`, as name=value; the front sends it.
        is_key_hidden: whether other users of the machine cannot read the keys in the server's command line.
        segment_prefix: of the server's shared-memory segments; also an argument of each stub.
        catalogue_key_file: holds the key for writing to the catalogue.
        log_file: Triton's own log of this run, by the name that it keeps.
        supervisor_log_file: for the process that follows the server.
        record: the state file.
    """

    ports: Ports
    inner_ports: Ports
    _binary: SystemServer | WheelServer

    def __init__(self, settings: Settings, on_log: OnLog = lambda lines, summary: None) -> None:
        self.settings = dataclasses.replace(
            settings,
            repository=settings.repository.absolute(),
            key=None if settings.key is None else settings.key.absolute(),
            server_options=launch.anchor_options(settings.server_options),
        )
        self.models: list[probe.ModelState] = []
        self.ready_after_s = 0.0
        self._on_log = on_log
        self._is_private = settings.state_dir is None
        folder = Path(tempfile.mkdtemp(prefix=PRIVATE_PREFIX)) if settings.state_dir is None else settings.state_dir
        self._state_folder = StateFolder(folder.absolute())
        self._serving = ServingFolder(self._state_folder.serving)
        self._signed: Release | None = None
        self.record = StateRecord(self._state_folder)
        self.catalogue_key_file = self._state_folder.catalogue_key_file
        self.log_file = self._state_folder.log_file
        self.supervisor_log_file = self._state_folder.supervisor_log_file
        self.segment_prefix = new_prefix()
        self.api_key = model_control.make_key(probe.CONTROL_HEADER)
        self.control_key = self.api_key.partition("=")[2]
        self.memory_key = model_control.make_key(model_control.MEMORY_HEADER)
        self.front_key = model_control.make_key(KEY_HEADER)
        self.is_key_hidden = False
        self._front = FrontProcess(self._state_folder.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._log: LogReader | None = None
        self._started_s = 0.0

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
        served = settings.repository.resolve()  # a link to it may change while the server runs
        self._check_served(served)
        refuse_own_files(self._state_folder, served)
        self._binary = find_server(settings.repository)
        if isinstance(self._binary, WheelServer):
            refuse_separators(self._binary, self._state_folder.folder)
        self._state_folder.claim()
        clear_remains(self._state_folder, settings.exit_timeout_s)
        self.log_file = self._state_folder.begin_log()
        self.ports = choose_ports(settings.http_port, settings.grpc_port, settings.metrics_port)
        self.record.state = self._make_state(served)
        self._launch(served)

    def _check_served(self, served: Path) -> None:
        check_repository(served, self.settings.profile)
        release = check_served(served, Policy(self.settings.key, self.settings.require_signature))
        self._signed = release if self.settings.key is not None else None

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
            log_file=str(self._state_folder.log_file),
            stop_timeout_s=settings.drain_timeout_s + settings.exit_timeout_s,
            release=release.name if release is not None else None,
            folder=str(served),
            key=None if settings.key is None else str(settings.key),
            require_signature=settings.require_signature,
        )

    def _launch(self, served: Path) -> None:
        """Starts the server process on files of its own."""
        folder = self._state_folder
        backend = prepare(self._binary, folder.folder) if isinstance(self._binary, WheelServer) else None
        self._serving = ServingFolder(folder.new_serving())
        self._serving.fill(served, self._signed)
        folder.remove_serving(kept=self._serving.folder)
        folder.write_keys(self.control_key, self.memory_key)
        folder.keep_catalogue_key()
        self._keep_front()
        command = launch.command_line(self._binary, backend, self._serving.folder, self._options())
        variables = launch.environment(
            backend,
            self._serving.folder,
            folder.make_temporary(),
            self.settings.cache_mb,
            (self.settings.catalogue_dir or folder.catalogue).absolute(),
            self.catalogue_key_file,
            self.record.state.restarts,
            dict(os.environ),
        )
        folder.make_private()
        self.is_key_hidden = False
        self._started_s = time.monotonic()
        self._process = launch.start(command, variables, self._serving.folder, self.log_file)
        self._log = LogReader(self.log_file, has_gpu=Path("/dev/nvidiactl").exists())
        self.record.note_start(self._process.pid, str(self._serving.folder))

    def _options(self) -> list[str]:
        options = launch.server_options(self.settings, self.inner_ports, self.segment_prefix)
        launch.refuse_unquoted(self.settings.server_options)
        if not self.settings.open_to_network:
            launch.refuse_open(self.settings.server_options)
        return [*options, *model_control.control_options(*self._keys(), self.settings.server_options)]

    def _keys(self) -> tuple[str, str, str]:
        return self.api_key, self.memory_key, self.front_key

    def _keep_front(self) -> None:
        """Starts the front, unless it runs and the server can have the ports that it sends on to."""
        if self._front.is_running() and are_free(self.inner_ports):
            return
        self.inner_ports = choose_inner_ports(self.ports)
        self.start_front()

    def start_front(self) -> None:
        """Starts the front, or starts it again.

        Raises:
            ServerFailed: it did not start.
        """
        key = self.front_key.partition("=")[2]
        self._front.stop()
        self._front.start(launch.front_settings(self.settings, self.ports, self.inner_ports, ADMIN, key))
        self.record.change(front=self._front.identity)

    def describe_lost_front(self) -> str | None:
        """Returns how the front ended, or that it hangs; `start_front` then brings it back. None while it is well."""
        return self._front.describe_fault()

    def restart(self) -> None:
        """Restarts a server that has ended, with the same ports, keys and models. `wait_ready` must follow.

        Raises:
            OpsError: the repository that it served no longer exists, or another process owns the state folder.
        """
        self._state_folder.require_claimed(self.segment_prefix)
        self._kill_remains()
        remove_segments(self.segment_prefix)
        # From here on, a reload of the former server changes neither the state nor the files of the new one.
        self.record.change(phase="starting", server=None)
        served = Path(self.record.state.folder or self.record.state.repository)
        self._check_served(served)
        self.log_file = self._state_folder.begin_log()
        self._launch(served)

    def kill(self) -> None:
        """Kills the server; its supervisor restarts it."""
        if self._process is not None:
            self._process.kill()

    def _kill_remains(self) -> None:
        self.kill()
        if self._process is not None:
            self._process.wait()
        kill_remains(self.segment_prefix)

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
    def recovering(self, model: str) -> Iterator[bool]:
        """Marks the server as recovering while a model of it loads again; excludes a reload.

        Yields:
            Whether the server still serves the model: a reload may have removed it a moment ago.

        Raises:
            Busy: a reload is running.
        """
        with self._state_folder.loading():
            if not self._serving.model(model).is_dir():
                yield False
                return
            self._serving.touch(model)
            self.record.change(phase="recovering")
            try:
                yield True
            finally:
                self.record.change(phase="ready")

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
                self.is_key_hidden = model_control.hide_keys(self._process.pid, self._keys())
            if probe.is_ready(self.ports):
                self.models = probe.read_models(self.ports, self.control_key)
                self.ready_after_s = time.monotonic() - self._started_s
                close_segments(self.segment_prefix)
                self.record.change(phase="ready")
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
                    self.record.change(phase="stopping")
                if drain and is_ready:
                    self._front.refuse_new()
                    is_drained = wait_until_answered(self._front, self.settings.drain_timeout_s, is_hurried)
                if is_ready and not is_hurried():
                    must_unload = not is_drained or has_finalizers(self._serving.folder, self.settings.profile)
                    shut_down(self._process, self._log, self.settings.exit_timeout_s, must_unload, is_hurried)
        finally:
            self._clean_up()
        return is_drained

    def _clean_up(self) -> None:
        """Removes what this process made; in a folder that another process owns by now, nothing."""
        folder = self._state_folder
        folder.reclaim(self.segment_prefix)
        with contextlib.ExitStack() as last:  # runs from the end, each step also when another one failed
            if self._is_private and not (folder.is_claimed and not self.models and self.log_file.exists()):
                # The error of a failed start names the log in this folder.
                last.callback(shutil.rmtree, folder.folder, ignore_errors=True)
            last.callback(folder.release)
            if folder.is_claimed:
                for remove in (folder.clear, folder.remove_serving, folder.remove_temporary):
                    last.callback(remove)
            last.callback(remove_environment_folders)
            last.callback(remove_segments, self.segment_prefix)
            last.callback(self._forget_process)
            last.callback(self.follow_log)
            last.callback(self._front.stop)
            last.callback(self._kill_remains)

    def _forget_process(self) -> None:
        self._process = self._log = None
