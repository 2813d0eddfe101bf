"""The state folder of one server: a JSON file with its state, and a lock that its supervisor holds."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
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

PRIVATE_UMASK, PRIVATE_FOLDER, PRIVATE_FILE = 0o077, 0o700, 0o600
# Names of what `serve` makes in a state folder.
_OURS = re.compile(
    r"(server|supervisor)(\.previous)?\.log|front\.(json|log|sock)|access\.log|server\.json|\w+\.(key|lock)|lock|"
    r".+\.tmp|serving(-[0-9a-f]+)?|backends|bin|tmp|catalogue"
)
Phase = Literal["starting", "ready", "recovering", "crashed", "stopping"]


class Busy(OpsError):
    """Another process is loading models."""


class Disowned(OpsError):
    """The state folder was removed, or another process owns it."""


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
        key: file of the public key that a release must be signed with; None checks no signature.
        require_signature: whether a model repository that is not a release is refused.
        serving: the folder that the server is pointed at; each start of the server has its own.
        front: the proxy that callers reach; it is started before the server.
        restarts: how often the supervisor restarted the server.
        last_death: a sentence that says how the server ended last; None if it never did.
        next_restart_at: ISO 8601, UTC; None unless the supervisor waits before the next restart.
        arguments: options with which `triptych serve` starts the same server.
        reloading: the process that exchanges the server's models; if it ended with this set, it was killed.
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
    key: str | None = None
    require_signature: bool = False
    serving: str | None = None
    front: ProcessIdentity | None = None
    restarts: int = 0
    last_death: str | None = None
    next_restart_at: str | None = None
    reloading: ProcessIdentity | None = None
    arguments: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, text: str) -> ServerState:
        fields: dict[str, Any] = json.loads(text)
        for name in ("supervisor", "server", "front", "reloading"):
            fields[name] = ProcessIdentity(**fields[name]) if fields.get(name) else None
        if fields["supervisor"] is None:
            raise ValueError("a state names its supervisor")
        fields["ports"] = Ports(**fields["ports"])
        fields["arguments"] = tuple(fields.get("arguments", ()))
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
        self.previous_log_file = folder / "server.previous.log"
        self.supervisor_log_file = folder / "supervisor.log"
        self.previous_supervisor_log_file = folder / "supervisor.previous.log"
        self.front_log_file = folder / "front.log"
        self.serving = folder / "serving"
        self.catalogue = folder / "catalogue"
        self.catalogue_key_file = folder / "catalogue.key"
        self._key_file = folder / "control.key"
        self.memory_key_file = folder / "memory.key"
        self._temporary = folder / "tmp"
        self._lock_file = folder / "lock"
        self._lock: int | None = None
        self._has_served = False

    def command(self, verb: str) -> str:
        """`triptych VERB` for the server of this folder, as it is typed."""
        is_default = self.folder.absolute() == STATE_DIR
        return f"triptych {verb}" if is_default else f"triptych {verb} --state-dir {shlex.quote(str(self.folder))}"

    def read(self) -> ServerState | None:
        """Returns None when no server ran here or the file has another format."""
        try:
            return ServerState.from_json(self.file.read_text())
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def claim(self, *, again: str | None = None) -> None:
        """Owns the folder until `release` or the end of this process; other users of the machine cannot read it.

        Args:
            again: the segment prefix of the server that owned the folder until somebody removed its lock.

        Raises:
            OpsError: another server owns it, or it cannot be written.
        """
        try:
            self.folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
            lock = _lock_file(self._lock_file)
        except OSError as error:
            raise OpsError(
                f"The state folder {self.folder} cannot be used ({error.strerror}). Name another with --state-dir."
            ) from error
        state = self.read()
        is_ours = state is not None and state.segment_prefix == again
        if lock is None or (state is not None and state.is_supervised() and not is_ours):
            if lock is not None:  # a lock that was removed and made again does not disown a living supervisor
                os.close(lock)
            raise OpsError(self._describe_holder())
        self._lock = lock

    def is_supervised(self) -> bool:
        """Whether a living supervisor owns the folder."""
        state = self.read()
        return state is not None and state.is_supervised()

    def refuse_claimed(self) -> None:
        """Raises:
        OpsError: another process owns the folder.
        """
        self.claim()
        self.release()

    @property
    def is_claimed(self) -> bool:
        """Whether this process owns the folder; otherwise the content belongs to another process."""
        return self._lock is not None and _is_same_file(self._lock, self._lock_file)

    def require_claimed(self, segment_prefix: str) -> None:
        """Owns the folder again if somebody removed it, or its lock.

        Args:
            segment_prefix: of the server of this process.

        Raises:
            Disowned: another process owns it meanwhile.
        """
        if self.is_claimed:
            return
        self.release()
        try:
            self.claim(again=segment_prefix)
        except OpsError as error:
            raise Disowned(f"The state folder {self.folder} was removed while the server ran. {error}") from error

    def reclaim(self, segment_prefix: str) -> None:
        """Owns the folder again to remove what the server of this process left, if somebody removed its lock alone."""
        state = self.read()
        if self._lock is not None and state is not None and state.segment_prefix == segment_prefix:
            with contextlib.suppress(OpsError):
                self.require_claimed(segment_prefix)

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

    def change(self, fallback: ServerState | None, of_server: ProcessIdentity | None = None, **changes: Any) -> bool:
        """Changes fields of the state; of two processes that do so at once, neither undoes what the other did.

        Args:
            fallback: the state to change if there is none.
            of_server: change nothing unless this is the server still.
            changes: field of `ServerState` -> value.

        Returns:
            Whether the state was changed.
        """
        lock = os.open(self.folder / "state.lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self.read() or fallback
            if state is None or (of_server is not None and state.server != of_server):
                return False
            self.write(dataclasses.replace(state, **changes))
            return True
        finally:
            os.close(lock)

    def write(self, state: ServerState) -> None:
        """Replaces the file atomically: a reader sees the old or the new content."""
        _write_private(self.file, state.to_json())

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
        self._temporary.mkdir(PRIVATE_FOLDER)
        return self._temporary

    def remove_temporary(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)

    def make_private(self) -> None:
        """Takes the rights of other users from what this and earlier runs made, and from the folder if it is all."""
        found = list(self.folder.iterdir())
        ours = [path for path in found if _OURS.fullmatch(path.name)]
        for path in ours:
            _make_private(path)
        if len(ours) == len(found):  # not a folder of the user's such as /tmp
            self.folder.chmod(PRIVATE_FOLDER)

    def new_serving(self) -> Path:
        """Returns a path that no former start of the server used: a reload of that server may still write there."""
        is_first, self._has_served = not self._has_served, True
        return self.serving if is_first else self.folder / f"serving-{secrets.token_hex(4)}"

    def remove_serving(self, kept: Path | None = None) -> None:
        """Removes what servers were pointed at, except `kept`."""
        for folder in (self.serving, *self.folder.glob("serving-*")):
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)

    def keep_log(self) -> None:
        """Makes the log that of the previous run."""
        if self.log_file.exists():
            self.log_file.replace(self.previous_log_file)

    def clear(self) -> None:
        """Removes the state, the keys and the front's files, one of which holds a key."""
        front = (self.folder / "front.json", self.folder / "front.sock")
        for file in (self.file, self._key_file, self.memory_key_file, *front):
            file.unlink(missing_ok=True)
        for staged in self.folder.glob("*.tmp"):  # left by a killed process
            staged.unlink(missing_ok=True)

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
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_same_file(descriptor, file):
            return descriptor
        os.close(descriptor)  # somebody removed the file in between


def _is_same_file(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except OSError:
        return False


def _write_private(file: Path, text: str) -> None:
    """Writes a file that only this user can read, atomically, so that a reader sees the old or the new content."""
    staged = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "w") as content:
        content.write(text)
    staged.replace(file)


def _make_private(path: Path) -> None:
    """Takes every right of other users from a file, or a folder and its content; links are left as they are."""
    for one in (path, *path.rglob("*")):
        with contextlib.suppress(OSError):  # removed meanwhile, or of another user
            mode = one.lstat().st_mode
            if mode & 0o077 and not one.is_symlink():
                one.chmod(mode & 0o700)
