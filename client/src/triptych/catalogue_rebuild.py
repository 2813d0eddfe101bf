"""Rebuilds of the catalogue's index: how they are asked for and waited for, what the server says of them. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from triptych.calls import Options, Pause, Session, Steps
from triptych.catalogue_calls import MODEL, call
from triptych.deadline import Deadline
from triptych.errors import ContractMismatch, InvalidInput, NotReady, ServerFault, Unavailable
from triptych.protocol import JsonObject
from triptych.retry import Retry

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 1.0
# How long a server that waits for its `index`, or that nobody reaches, may take to come back.
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class RebuildResult:
    """How the last try of a rebuild ended.

    Attributes:
        photos: in the new index; 0 where it failed.
        seconds: since it was asked for.
        ended_at: in UTC: "2026-11-29T16:21:44Z".
        error: why it failed; None where it did not.
    """

    photos: int
    seconds: float
    ended_at: str
    error: str | None
    rebuild: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RebuildStatus:
    """Whether the catalogue's index is being rebuilt, and how far that is.

    Attributes:
        state: "idle", "waiting" for the server to begin, "running", or "failed": the server will try again.
        phase: "reading_rows", "building_hnsw_index" or "saving" while it runs.
        done, total: photos, in this phase.
        progress: over all phases, from 0 to 1; 1 while idle.
        started_at: when it was asked for, in UTC: "2026-11-29T16:21:44Z".
        seconds: since then.
        retry_in_s: until the next try, where the last one failed.
        index_loaded: whether the model `index` is there, which rebuilds.
        last: how the last try ended; None where there was none.
        details: all that was said.
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
        """Why the rebuild that is due failed; None where it did not."""
        return self.last.error if self.state == "failed" and self.last is not None else None


def rebuild(session: Session, options: Options, wait: bool, watch: Callable[[RebuildStatus], None]) -> Steps[int]:
    """How many photos the new index has, or will have when it is not waited for.

    Args:
        session: where the call goes.
        options: of each call; the wait may be longer than their deadline.
        wait: until the new index is searched.
        watch: told the status now and then.
    """
    # Sent once: a server that began, and whose answer was lost, would refuse the second.
    once = dataclasses.replace(options, retry=Retry(tries=1))
    answer = yield from call(session, once, "rebuild")
    photos, asked = int(answer.get("photos", 0)), answer.get("rebuild")
    # None: the engine indexes by itself, or the server is of the release before and has waited already.
    if not wait or asked is None:
        return photos
    pause_s = _FIRST_PAUSE_S
    patience = Deadline(_PATIENCE_S)
    while True:
        yield Pause(pause_s)
        pause_s = min(_LAST_PAUSE_S, pause_s * 1.5)
        try:
            told = yield from status(session, options)
        except Unavailable:  # a server that restarts goes on with the rebuild
            if patience.remaining_s() <= 0:
                raise
            continue
        watch(told)
        if told.index_loaded:
            patience = Deadline(_PATIENCE_S)
        elif patience.remaining_s() <= 0:
            raise NotReady(
                f"Model index at {session.target} is not loaded, so the rebuild waits. It begins when the model is; "
                "the server's log says why it is not.",
                model="index",
            )
        is_last = told.last is not None and told.last.rebuild == asked
        if is_last and told.error is not None:
            raise ServerFault(
                f"The server at {session.target} could not rebuild the index: {told.error} It will try again; "
                "`triptych catalogue status` tells how that goes.",
                model=MODEL,
            )
        # Idle after another's: the rebuild ended, and one more after it, between two questions.
        if told.last is not None and told.last.error is None and (is_last or told.state == "idle"):
            return told.last.photos


def status(session: Session, options: Options) -> Steps[RebuildStatus]:
    """What the server says now."""
    try:
        said = yield from call(session, options, "status")
    except InvalidInput as error:
        if "`call` is 'status'" not in str(error):
            raise
        raise ContractMismatch(
            f"The server at {session.target} is of an older release, which does not tell of rebuilds: its catalogue "
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
