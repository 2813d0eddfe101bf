"""The state file of one run, as its owner writes it: nothing, in a folder that another process owns by now."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from ops.server.processes import ProcessIdentity
from ops.server.state import ServerState, StateFolder

# No room on the disk, of the user's share of it, or for so long a file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StateRecord:
    """Attributes:
    state: the latest state that was written or read, with the changes that a full disk had no room for.
    """

    state: ServerState

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._unwritten: dict[str, Any] = {}

    def change(self, **changes: Any) -> None:
        """Changes fields of the state; another process, a reload, may have changed others meanwhile.

        What a full disk does not take is written by `restore`: it must not keep a server from its restart.

        Raises:
            OSError: the state cannot be written for another reason; names the file.
        """
        if self._folder.is_claimed:
            self._unwritten |= changes
            try:
                self._write()
            except OSError as error:
                if error.errno not in FULL:
                    raise

    def _write(self) -> None:
        """Raises:
        OSError: the state cannot be written; names the file.
        """
        self.state = dataclasses.replace(self.state, **self._unwritten)
        self._folder.change(self.state, **self._unwritten)
        self._unwritten = {}
        self.state = self._folder.read() or self.state

    def note_start(self, pid: int, serving: str) -> None:
        """Notes the process of the server and what it is pointed at."""
        self.change(
            phase="starting",
            server=ProcessIdentity.of(pid),
            started_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            serving=serving,
            next_restart_at=None,
            reloading=None,
        )

    def note_death(self, how: str, next_restart_s: float) -> None:
        """Notes how the server ended, and in how many seconds it is restarted."""
        at = datetime.now(timezone.utc) + timedelta(seconds=next_restart_s)
        self.change(
            phase="crashed",
            restarts=self.state.restarts + 1,
            last_death=how,
            next_restart_at=at.isoformat(timespec="seconds"),
        )

    def note_front_death(self, how: str) -> None:
        """Notes how the front ended, which has been started again."""
        self.change(front_restarts=self.state.front_restarts + 1, last_front_death=how)

    def restore(self) -> None:
        """Writes the state again if somebody removed or damaged its file, or the disk was full.

        Raises:
            OSError: the state cannot be written; names the file.
        """
        if self._folder.is_claimed and (self._unwritten or self._folder.read() is None):
            self._write()

    def find_killed_reload(self) -> ServerState | None:
        """Returns the state if a reload was killed, or gave up, while it exchanged the server's models."""
        state = self._folder.read() if self._folder.is_claimed else None
        is_killed = state is not None and state.reloading is not None and not state.reloading.is_running()
        return state if is_killed else None

    @contextlib.contextmanager
    def finishing_reload(self) -> Iterator[None]:
        """Excludes another reload while the models of a killed one are exchanged again.

        Raises:
            Busy: another reload is running.
        """
        with self._folder.loading():
            self.change(phase="recovering", reloading=ProcessIdentity.of(os.getpid()))
            yield
            self.change(phase="ready", reloading=None)
