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
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ops.errors import OpsError
from ops.server.files.locks import find_holder, is_same_file, lock_file
from ops.server.files.log_files import begin_log, find_previous
from ops.server.files.private_files import PRIVATE_FILE, make_private, move_folder_aside, overwrite, write_private
from ops.server.processes import ProcessIdentity
from ops.settings import STATE_DIR, Ports

PRIVATE_UMASK, PRIVATE_FOLDER = 0o077, 0o700
# A supervisor that runs restores a lost state file within a fraction of this time.
RESTORE_S, POLL_S = 1.0, 0.05
# Names of what `serve` makes in a state folder.
_OURS = re.compile(
    r"(server|supervisor)(\.previous|-\d+)?\.log|front\.(json|log|sock)|access\.log|server\.json|\w+\.(key|lock)|lock|"
    r".+\.tmp|serving(-[0-9a-f]+)?|backends|bin|python|tmp|catalogue"
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
        require_signature: whether a start without `key` is refused.
        serving: the folder that the server is pointed at; each start of the server has its own.
        front: the proxy that callers reach; it is started before the server.
        restarts: how often the supervisor restarted the server.
        last_death: a sentence that says how the server ended last; None if it never did.
        front_restarts: how often the supervisor restarted the front.
        last_front_death: how the front ended last; None if it never did.
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
    front_restarts: int = 0
    last_front_death: str | None = None
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

    @property
    def previous_log_file(self) -> Path:
        return find_previous(self.log_file)

    def command(self, verb: str) -> str:
        """`triptych VERB` for the server of this folder, as it is typed."""
        is_default = self.folder.absolute() == STATE_DIR
        return f"triptych {verb}" if is_default else f"triptych {verb} --state-dir {shlex.quote(str(self.folder))}"

    def read(self) -> ServerState | None:
        """Returns None when no server ran here or the file has another format."""
        try:
            return ServerState.from_json(self.file.read_text())
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def read_restored(self) -> ServerState | None:
        """Returns the state; of a running server whose state file is lost, once its supervisor has written it again."""
        deadline_s = time.monotonic() + RESTORE_S
        while (state := self.read()) is None and self.find_holder() is not None and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        return state

    def find_holder(self) -> ProcessIdentity | None:
        """Returns the process that owns the folder; None without one, or where the kernel does not say."""
        return find_holder(self._lock_file)

    def find_damage(self) -> str | None:
        """Returns a sentence if there is a state file that is none of ours: empty, cut, or overwritten."""
        try:
            content = self.file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"{self.file} cannot be read ({error.strerror}); expected the file that `triptych serve` writes."
        if self.read() is not None:
            return None
        found = f"holds {len(content)} bytes that are no server's state" if content.strip() else "is empty"
        return f"{self.file} {found}; expected the JSON that `triptych serve` writes."

    def claim(self, *, again: str | None = None) -> None:
        """Owns the folder until `release` or the end of this process; other users of the machine cannot read it.

        Args:
            again: the segment prefix of the server that owned the folder until somebody removed its lock.

        Raises:
            OpsError: another server owns it, or it cannot be written.
        """
        try:
            self.folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
            lock = lock_file(self._lock_file, PRIVATE_FILE)
        except OSError as error:
            raise OpsError(
                f"The state folder {self.folder} cannot be used ({error.strerror}: {error.filename}). "
                "Name another with --state-dir."
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
        return self._lock is not None and is_same_file(self._lock, self._lock_file)

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
        lock = lock_file(self.folder / "reload.lock", PRIVATE_FILE)
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
        """Replaces the file atomically: a reader sees the old or the new content. A full disk has room for both."""
        try:
            write_private(self.file, state.to_json())
        except OSError:
            overwrite(self.file, state.to_json())

    def write_keys(self, control: str, memory: str) -> None:
        """Writes the server's keys so that only this user can read them; the key of shared memory as name=value."""
        write_private(self._key_file, control)
        write_private(self.memory_key_file, memory)

    def keep_catalogue_key(self) -> None:
        """Creates the catalogue's key once, so that programs with the key keep working after a restart.

        An empty file is no key, with which nobody could have written to the catalogue.
        """
        if not (self.catalogue_key_file.exists() and self.catalogue_key_file.read_bytes().strip()):
            write_private(self.catalogue_key_file, secrets.token_hex(32))

    def read_key(self) -> str:
        """Returns the control key; empty without one, and the server then answers that it expects a key.

        Raises:
            OpsError: the file holds something else.
        """
        try:
            key = self._key_file.read_bytes()
        except OSError:
            return ""
        if re.fullmatch(rb"[0-9a-f]{64}", key) is None:
            raise OpsError(
                f"{self._key_file} holds {len(key)} bytes that are no key; expected 64 hex digits, as the server's "
                f"start writes them. The server goes on; make its keys anew with `{self.command('restart')}`."
            )
        return key.decode()

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
            make_private(path)
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

    def begin_log(self) -> Path:
        """Returns the log of the next run of the server, whose name it keeps; `log_file` is another name of it."""
        return begin_log(self.log_file)

    def clear(self) -> None:
        """Removes the state, the keys and the front's files, one of which holds a key."""
        front = (self.folder / "front.json", self.folder / "front.sock")
        for file in (self.file, self._key_file, self.memory_key_file, *front):
            move_folder_aside(file)
            file.unlink(missing_ok=True)
        for staged in self.folder.glob("*.tmp"):  # left by a killed process
            staged.unlink(missing_ok=True)

    def _describe_holder(self) -> str:
        state = self.read()
        if state is None or not state.is_supervised():
            holder, damage = self.find_holder(), self.find_damage()
            who = f" (pid {holder.pid})" if holder is not None else ""
            if damage is not None:
                return f"A server runs from {self.folder}{who}, but {damage} Stop it with `{self.command('stop')}`."
            return f"A server is starting from {self.folder}{who}. Check it with `{self.command('status')}`."
        return (
            f"A server already runs (pid {state.supervisor.pid}): gRPC {state.ports.grpc_target}, "
            f"HTTP {state.ports.http_url}. Stop it with `{self.command('stop')}`, or use another --state-dir."
        )
