"""The state folder of one server: a JSON file with its state, and a lock that its supervisor holds."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ops.errors import OpsError
from ops.server.processes import ProcessIdentity
from ops.settings import STATE_DIR, Ports

Phase = Literal["starting", "ready", "recovering", "stopping"]


class Busy(OpsError):
    """Another process is loading models."""


@dataclass(frozen=True)
class ServerState:
    """One run of the server.

    Attributes:
        supervisor: the process that started the server, follows its log and stops it.
        server: the server process; None until it is started.
        segment_prefix: prefix of its shared-memory segments in /dev/shm.
        started_at: ISO 8601, UTC.
        stop_timeout_s: upper limit of draining and unloading together.
        repository: the path as given; a link in it may have changed since.
        folder: the resolved path at the start; None in the state file of an earlier version.
        release: name of the served release; None for a repository that is not a release.
    """

    phase: Phase
    supervisor: ProcessIdentity
    server: ProcessIdentity | None
    ports: Ports
    repository: str
    profile: str | None
    cache_mb: int
    segment_prefix: str
    started_at: str
    log_file: str
    stop_timeout_s: float
    release: str | None = None
    folder: str | None = None

    @classmethod
    def from_json(cls, text: str) -> ServerState:
        fields: dict[str, Any] = json.loads(text)
        fields["supervisor"] = ProcessIdentity(**fields["supervisor"])
        fields["server"] = ProcessIdentity(**fields["server"]) if fields["server"] else None
        fields["ports"] = Ports(**fields["ports"])
        return cls(**fields)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def is_supervised(self) -> bool:
        return self.supervisor.is_running()

    def is_alive(self) -> bool:
        return self.is_supervised() or (self.server is not None and self.server.is_running())


class StateFolder:
    """The folder of one server: `server.json`, `server.log`, `serving/`, `catalogue/`, keys, `lock`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "server.json"
        self.log_file = folder / "server.log"
        self.supervisor_log_file = folder / "supervisor.log"
        self.serving = folder / "serving"
        self.catalogue = folder / "catalogue"
        self.catalogue_key_file = folder / "catalogue.key"
        self._key_file = folder / "control.key"
        self.memory_key_file = folder / "memory.key"
        self._temporary = folder / "tmp"
        self._lock: int | None = None

    def command(self, verb: str) -> str:
        """`triptych VERB` for the server of this folder, as it is typed."""
        is_default = self.folder.absolute() == STATE_DIR
        return f"triptych {verb}" if is_default else f"triptych {verb} --state-dir {shlex.quote(str(self.folder))}"

    def read(self) -> ServerState | None:
        """Returns None when no server ran here or the file has another format."""
        try:
            return ServerState.from_json(self.file.read_text())
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def claim(self) -> None:
        """Locks the folder until `release` or the end of this process.

        Raises:
            OpsError: another process holds the lock.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = _lock_file(self.folder / "lock")
        if lock is None:
            raise OpsError(self._describe_holder())
        self._lock = lock

    def refuse_claimed(self) -> None:
        """Raises:
        OpsError: another process holds the lock.
        """
        self.claim()
        self.release()

    @property
    def is_claimed(self) -> bool:
        """Whether this process holds the lock; otherwise the content belongs to another process."""
        return self._lock is not None

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Excludes other processes from loading models in this server.

        Raises:
            Busy: another process is loading models.
        """
        lock = _lock_file(self.folder / "reload.lock")
        if lock is None:
            raise Busy("Another reload is running. Try again after it has ended.")
        try:
            yield
        finally:
            os.close(lock)

    def write(self, state: ServerState) -> None:
        """Replaces the file atomically: a reader sees the old or the new content."""
        staged = self.file.with_suffix(".tmp")
        staged.write_text(state.to_json())
        staged.replace(self.file)

    def write_keys(self, control: str, memory: str) -> None:
        """Writes the server's keys so that only this user can read them; the key of shared memory as name=value."""
        _write_private(self._key_file, control)
        _write_private(self.memory_key_file, memory)

    def keep_catalogue_key(self) -> None:
        """Creates the catalogue's key once, so that programs with the key keep working after a restart."""
        if not self.catalogue_key_file.exists():
            _write_private(self.catalogue_key_file, secrets.token_hex(32))

    def read_key(self) -> str:
        """Returns the control key; empty without one, and the server then answers that it expects a key."""
        try:
            return self._key_file.read_text()
        except OSError:
            return ""

    def make_temporary(self) -> Path:
        """Creates an empty folder for the server's temporary files."""
        self.remove_temporary()
        self._temporary.mkdir()
        return self._temporary

    def remove_temporary(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)

    def clear(self) -> None:
        self.file.unlink(missing_ok=True)
        self._key_file.unlink(missing_ok=True)
        self.memory_key_file.unlink(missing_ok=True)

    def _describe_holder(self) -> str:
        state = self.read()
        if state is None or not state.is_supervised():
            return f"A server is starting from {self.folder}. Check it with `{self.command('status')}`."
        return (
            f"A server already runs (pid {state.supervisor.pid}): gRPC {state.ports.grpc_target}, "
            f"HTTP {state.ports.http_url}. Stop it with `{self.command('stop')}`, or use another --state-dir."
        )


def _lock_file(file: Path) -> int | None:
    """Returns the descriptor of the locked file, or None while another process holds the lock."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _write_private(file: Path, text: str) -> None:
    """Writes a file that only this user can read, atomically, so that no reader sees half a key."""
    staged = file.with_name(f"{file.name}.tmp")
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as content:
        content.write(text)
    staged.replace(file)
