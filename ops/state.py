"""What is known about the server of one state folder, and who may have it: a lock held for life, a JSON file."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ops.errors import OpsError
from ops.processes import ProcessIdentity
from ops.settings import Ports

Phase = Literal["starting", "ready", "recovering", "stopping"]


class Busy(OpsError):
    """Another process is loading models."""


@dataclass(frozen=True)
class ServerState:
    """One run of the server.

    Attributes:
        supervisor: the process that started the server, follows its log and stops it.
        server: the server itself; None until it is started.
        segment_prefix: how its shared memory in /dev/shm begins.
        started_at: ISO 8601, UTC.
        stop_timeout_s: how long draining and unloading may take together.
        repository: as it was named; a link in it may point elsewhere by now.
        folder: what it was when it was taken; None in the state of an earlier version.
        release: name of the release that is served; None when it is a repository that is no release.
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
    """The folder of one server: `server.json`, `server.log`, `serving/`, `catalogue/`, their keys, `lock`."""

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

    def read(self) -> ServerState | None:
        """None when nothing runs or ran here, or the file is of another make."""
        try:
            return ServerState.from_json(self.file.read_text())
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def claim(self) -> None:
        """Takes the folder until `release` or the death of this process.

        Raises:
            OpsError: another process has it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise OpsError(self._describe_holder()) from error
        self._lock = lock

    def refuse_claimed(self) -> None:
        """Raises:
        OpsError: another process has the folder.
        """
        self.claim()
        self.release()

    @property
    def is_claimed(self) -> bool:
        """Whether the folder is this process's: what is in it is another one's else."""
        return self._lock is not None

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """For whoever loads models: one at a time.

        Raises:
            Busy: another one is at work.
        """
        lock = os.open(self.folder / "reload.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise Busy("Another reload is at work. Try again when it is done.") from error
        finally:
            os.close(lock)

    def write(self, state: ServerState) -> None:
        """Replaces the file in one step: a reader sees the old or the new."""
        staged = self.file.with_suffix(".tmp")
        staged.write_text(state.to_json())
        staged.replace(self.file)

    def write_keys(self, control: str, memory: str) -> None:
        """Keeps the keys of the server where only this user can read them; that of shared memory as name=value."""
        _write_private(self._key_file, control)
        _write_private(self.memory_key_file, memory)

    def keep_catalogue_key(self) -> None:
        """Makes the key of the catalogue once: programs that write to it go on after a restart."""
        if not self.catalogue_key_file.exists():
            _write_private(self.catalogue_key_file, secrets.token_hex(32))

    def read_key(self) -> str:
        """Empty when there is none: the server then answers that it expects one."""
        try:
            return self._key_file.read_text()
        except OSError:
            return ""

    def make_temporary(self) -> Path:
        """An empty folder for the server's temporary files, theirs until `remove_temporary`."""
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
            return f"A server is being started from {self.folder}. Look again with `python -m ops status`."
        return (
            f"A server already runs (pid {state.supervisor.pid}): gRPC {state.ports.grpc_target}, "
            f"HTTP {state.ports.http_url}. Stop it with `python -m ops stop`, or use another --state-dir."
        )


def _write_private(file: Path, text: str) -> None:
    """For this user alone, in one step: nobody reads half a key."""
    staged = file.with_name(f"{file.name}.tmp")
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as content:
        content.write(text)
    staged.replace(file)
