"""The state file of one run, as its owner writes it: nothing, in a folder that another process owns by now."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from ops.server.processes import ProcessIdentity
from ops.server.state import ServerState, StateFolder


class StateRecord:
    """Attributes:
    state: the latest state that was written or read.
    """

    state: ServerState

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder

    def change(self, **changes: Any) -> None:
        """Changes fields of the state; another process, a reload, may have changed others meanwhile."""
        if self._folder.is_claimed:
            self._folder.change(self.state, **changes)
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
