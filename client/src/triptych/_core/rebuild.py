"""Rebuilds of the catalogue's index: the request, the wait, and the status. Performs no I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from triptych._core.catalogue import MODEL, call
from triptych._core.deadline import Deadline
from triptych._core.protocol import JsonObject
from triptych._core.retry import Retry
from triptych._core.session import Options, Session
from triptych._core.steps import Pause, Steps
from triptych.errors import ContractMismatch, InvalidInput, NotReady, ServerFault, Unavailable

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 1.0
# How long the wait for a rebuild tolerates a server that is unreachable or has not loaded `index`.
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class RebuildResult:
    """The result of the last try of a rebuild.

    Attributes:
        photos: photos in the new index; 0 after a failure.
        seconds: duration since the request.
        ended_at: time of the end in UTC: "2026-11-29T16:21:44Z".
        error: the reason of a failure, otherwise None.
    """

    photos: int
    seconds: float
    ended_at: str
    error: str | None
    rebuild: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RebuildStatus:
    """The state and progress of a rebuild of the catalogue's index.

    Attributes:
        state: "idle", "waiting" for the server to start, "running", or "failed": the server will try again.
        phase: "reading_rows", "building_hnsw_index" or "saving" while it runs.
        done, total: photos of this phase.
        progress: over all phases, from 0 to 1; 1 while idle.
        started_at: time of the request in UTC: "2026-11-29T16:21:44Z".
        seconds: time since the request.
        retry_in_s: time until the next try, after a failure.
        index_loaded: whether the model `index`, which rebuilds, is loaded.
        last: the result of the last try; None where there was none.
        details: the complete answer of the server.
    """

    state: str
    phase: str | None
    done: int
    total: int
    progress: float
    started_at: str | None
    seconds: float
    retry_in_s: float | None
    index_loaded: bool
    last: RebuildResult | None
    details: Mapping[str, Any] = field(repr=False)

    @property
    def error(self) -> str | None:
        """The reason of the last failure while the rebuild waits for its next try, otherwise None."""
        return self.last.error if self.state == "failed" and self.last is not None else None


def rebuild(session: Session, options: Options, wait: bool, watch: Callable[[RebuildStatus], None]) -> Steps[int]:
    """Rebuilds the index; returns the number of photos that the new index has, or will have.

    Args:
        session: see `Session`.
        options: of each call; the wait may be longer than their deadline.
        wait: whether to return only when searches use the new index.
        watch: called with the status at each poll.
    """
    # Sent once: a server that started, and whose answer was lost, would refuse a repeated request.
    once = dataclasses.replace(options, retry=Retry(tries=1))
    answer = yield from call(session, once, "rebuild")
    photos, asked = int(answer.get("photos", 0)), answer.get("rebuild")
    # None: the engine maintains its index itself, or a server of the previous release has waited already.
    if not wait or asked is None:
        return photos
    pause_s = _FIRST_PAUSE_S
    patience = Deadline(_PATIENCE_S)
    while True:
        yield Pause(pause_s)
        pause_s = min(_LAST_PAUSE_S, pause_s * 1.5)
        try:
            told = yield from status(session, options)
        except Unavailable:  # a server that restarts continues the rebuild
            if patience.remaining_s() <= 0:
                raise
            continue
        watch(told)
        if told.index_loaded:
            patience = Deadline(_PATIENCE_S)
        elif patience.remaining_s() <= 0:
            raise NotReady(
                f"Model index at {session.target} is not loaded, so the rebuild waits. It starts when the model is "
                "loaded; the server's log says why it is not.",
                model="index",
            )
        is_last = told.last is not None and told.last.rebuild == asked
        if is_last and told.error is not None:
            raise ServerFault(
                f"The server at {session.target} could not rebuild the index: {told.error} It will try again; "
                "`triptych catalogue status` shows the progress.",
                model=MODEL,
            )
        # Idle after another rebuild: this one ended, and a later one too, between two polls.
        if told.last is not None and told.last.error is None and (is_last or told.state == "idle"):
            return told.last.photos


def status(session: Session, options: Options) -> Steps[RebuildStatus]:
    """The current status of the rebuild."""
    try:
        said = yield from call(session, options, "status")
    except InvalidInput as error:
        if "`call` is 'status'" not in str(error):
            raise
        raise ContractMismatch(
            f"The server at {session.target} is of an older release, which does not report rebuilds: its catalogue "
            "has no call `status`. Serve the model repository of this client's release.",
            model=error.model,
            request_id=error.request_id,
        ) from error
    return RebuildStatus(
        state=str(said.get("state", "idle")),
        phase=said.get("phase"),
        done=int(said.get("done", 0)),
        total=int(said.get("total", 0)),
        progress=float(said.get("progress", 1.0)),
        started_at=said.get("started_at"),
        seconds=float(said.get("seconds", 0.0)),
        retry_in_s=said.get("retry_in_s"),
        index_loaded=bool(said.get("index_loaded", True)),
        last=_read_result(said.get("last")),
        details=MappingProxyType(said),
    )


def _read_result(said: JsonObject | None) -> RebuildResult | None:
    if said is None:
        return None
    return RebuildResult(
        photos=int(said.get("photos", 0)),
        seconds=float(said.get("seconds", 0.0)),
        ended_at=str(said.get("ended_at", "")),
        error=said.get("error"),
        rebuild=str(said.get("rebuild", "")),
    )
