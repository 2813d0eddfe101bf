"""The calls of `recognizer` and of the server itself: contract check, retries, batches. Performs no I/O.

Each function is a generator of `steps`, which `Client` and `AsyncClient` perform alike.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from triptych._core import protocol
from triptych._core.deadline import Deadline
from triptych._core.failures.translation import Sent, deadline_exceeded, is_refused_unseen, translate
from triptych._core.protocol import InferAnswer, InferRequest, JsonObject, Question, TransportError
from triptych._core.recognition import MODEL, Contract, Task, read_contract
from triptych._core.retry import Retry
from triptych._core.server_state import Health, Model, read_model
from triptych._core.session import Context, Options, Session, observe, open_context
from triptych._core.steps import Pause, Read, Send, Steps, Work
from triptych.errors import InvalidInput, NotReady, PermissionDenied, ServerFault, TriptychError
from triptych.results import Item, Timing

if TYPE_CHECKING:
    from triptych._images.photo import ImageLike

R = TypeVar("R")

# Largest total size of the photos in one request; a larger photo is sent alone. Half of the 64 MB that Triton's HTTP
# endpoint accepts since 25.06.
MAX_BATCH_BYTES = 32_000_000


def infer_one(session: Session, options: Options, task: Task[R], photo: ImageLike) -> Steps[R]:
    """Reads one photo and performs a task on it. The deadline starts when the photo has been read."""
    started_s = time.perf_counter()
    content = yield Read(photo)
    return (yield from infer_content(session, options, task, content, started_s))


def infer_content(
    session: Session, options: Options, task: Task[R], content: bytes, started_s: float | None = None
) -> Steps[R]:
    """Performs a task on one photo that has been read."""
    started_s = time.perf_counter() if started_s is None else started_s
    (result,) = yield from _batch(open_context(session, options), task, [content], started_s)
    return result


def infer_many(
    session: Session, options: Options, task: Task[R], chunk: Sequence[tuple[int, ImageLike]]
) -> Steps[list[Item[R]]]:
    """Reads the photos of a chunk and performs a task on them; the error of a photo goes into its item."""
    started_s = time.perf_counter()
    items: dict[int, Item[R]] = {}
    read: list[tuple[int, ImageLike, bytes]] = []
    for index, photo in chunk:
        try:
            content = yield Read(photo)
        except TriptychError as error:
            items[index] = Item(index, photo, error=error)
        else:
            read.append((index, photo, content))
    for part in _cut(read):
        outcomes = yield from _isolated(session, options, task, [content for *_, content in part], started_s)
        for (index, photo, _), outcome in zip(part, outcomes, strict=True):
            if isinstance(outcome, TriptychError):
                items[index] = Item(index, photo, error=outcome)
            else:
                items[index] = Item(index, photo, value=outcome)
    return [items[index] for index, _ in chunk]


def ask(session: Session, options: Options, question: Question, *, timeout_s: float | None = None) -> Steps[JsonObject]:
    """Sends a call other than inference, with the same retries."""
    context = open_context(session, options, timeout_s)
    answer: JsonObject = (yield from send_with_retries(context, question)).answer
    return answer


def list_models(session: Session, options: Options) -> Steps[tuple[Model, ...]]:
    """The models of the repository's index, with the configuration of each ready model.

    A server may restrict the index to clients with a key; then the models that have statistics, which serve.
    """
    try:
        entries = (yield from ask(session, options, protocol.repository_index())).get("models", [])
    except PermissionDenied:
        statistics = (yield from ask(session, options, protocol.model_statistics())).get("model_stats", [])
        entries = [{**entry, "state": "READY"} for entry in statistics]
    found = []
    for entry in entries:
        is_ready = entry.get("state") == "READY"
        config = (yield from ask(session, options, protocol.model_config(entry["name"]))) if is_ready else None
        found.append(read_model(entry, config))
    return tuple(found)


def check_health(session: Session, options: Options) -> Steps[Health]:
    """The health of server and model, by four calls; raises the error of the first that fails."""
    live = yield from ask(session, options, protocol.server_live())
    ready = yield from ask(session, options, protocol.server_ready())
    recognizer_ready = yield from ask(session, options, protocol.model_ready(MODEL))
    server = yield from ask(session, options, protocol.server_metadata())
    return Health(
        live=bool(live.get("live")),
        ready=bool(ready.get("ready")),
        recognizer_ready=bool(recognizer_ready.get("ready")),
        server=f"{server.get('name', '')} {server.get('version', '')}".strip(),
    )


def find_batch_size(session: Session, options: Options) -> Steps[int]:
    """The largest number of photos in one request, requested once; 1 where the server does not reveal it."""
    if session.max_batch_size is None:
        try:
            config = yield from ask(session, options, protocol.model_config(MODEL))
        except PermissionDenied:
            session.max_batch_size = 1
        else:
            session.max_batch_size = max(1, int(config.get("max_batch_size", 1)))
    return session.max_batch_size


def wait_ready(session: Session, options: Options, timeout_s: float) -> Steps[None]:
    """Polls until `recognizer` is ready.

    Raises:
        Unavailable: it was not ready within `timeout_s`; the message has the last answer.
    """
    deadline = Deadline(timeout_s)
    patience = Options(timeout_s, Retry(tries=1), options.max_in_flight)
    pause_s = 0.05
    while True:
        try:
            answer = yield from ask(session, patience, protocol.model_ready(MODEL), timeout_s=deadline.remaining_s())
        except TriptychError as error:
            if not error.retryable:
                raise
            last: TriptychError | None = error
        else:
            if answer.get("ready"):
                return
            last = None
        if deadline.remaining_s() <= pause_s:
            raise last or NotReady(
                f"Model {MODEL} at {session.target} was not ready within {timeout_s:g} s; expected it "
                "to load in this time. Allow more time, or read in the server's log why it does not load.",
                model=MODEL,
            )
        yield Pause(pause_s)
        pause_s = min(1.0, pause_s * 1.5)


def _isolated(
    session: Session, options: Options, task: Task[R], photos: list[bytes], started_s: float
) -> Steps[list[R | TriptychError]]:
    """The results of one batch. The server refuses a batch as a whole; then each photo is sent alone."""
    try:
        results: list[R | TriptychError] = []
        results += yield from _batch(open_context(session, options), task, photos, started_s)
    except (InvalidInput, ServerFault) as error:
        if len(photos) == 1:
            return [error]
    except TriptychError as error:
        return [error] * len(photos)
    else:
        return results
    alone: list[R | TriptychError] = []
    for photo in photos:
        alone += yield from _isolated(session, options, task, [photo], started_s)
    return alone


def _batch(context: Context, task: Task[R], photos: Sequence[bytes], started_s: float) -> Steps[list[R]]:
    with observe(context.session, task.name):
        contract = yield from _contract(context)
        request = task.request(photos, contract, context.request_id)
        answer, timing = yield from _send_timed(context, request, started_s)
        if task.is_heavy:
            results: list[R] = yield Work(lambda: task.read(answer, request, contract, timing))
            return results
        return task.read(answer, request, contract, timing)


def infer_observed(
    context: Context, request: InferRequest, method: str, started_s: float
) -> Steps[tuple[InferAnswer, Timing]]:
    """Sends one inference request and reports it to the observers as the call `method`."""
    with observe(context.session, method):
        return (yield from _send_timed(context, request, started_s))


def _send_timed(context: Context, request: InferRequest, started_s: float) -> Steps[tuple[InferAnswer, Timing]]:
    reply = yield from send_with_retries(context, request)
    timing = Timing(total_s=time.perf_counter() - started_s, remote_s=reply.remote_s, tries=reply.tries)
    return reply.answer, timing


def _contract(context: Context) -> Steps[Contract]:
    """The server's contract, requested once; the default contract where the server restricts its metadata."""
    session = context.session
    if session.contract is None:
        try:
            reply = yield from send_with_retries(context, protocol.model_metadata(MODEL))
        except PermissionDenied:
            session.contract = Contract()
        else:
            session.contract = read_contract(reply.answer, request_id=context.request_id)
    return session.contract


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, with its duration and number of tries."""

    answer: Any
    remote_s: float
    tries: int


def send_with_retries(context: Context, call: protocol.Call) -> Steps[Reply]:
    """Sends a call until it succeeds, its error is not retryable, or deadline, tries or retry budget are used up."""
    session, retry, deadline = context.session, context.options.retry, context.deadline
    if isinstance(call, InferRequest):
        call = _as_configured(call, context.options)
    model = call.model or MODEL
    sent = Sent(session.target, context.options.timeout_s, model, context.request_id)
    session.budget.note_call(retry)
    tries = refused = 0
    while True:
        remaining_s = deadline.remaining_s()
        if remaining_s <= 0:
            raise deadline_exceeded(sent)
        tries += 1
        started_s = time.perf_counter()
        try:
            answer = yield Send(call, min(remaining_s, retry.try_timeout_s or remaining_s))
        except TransportError as failure:
            error = translate(failure, sent)
            pause_s = None
            if session.has_others and is_refused_unseen(failure):
                pause_s = retry.pause_elsewhere_s(refused + 1)
            is_free = pause_s is not None
            refused += is_free
            pause_s = pause_s if is_free else retry.pause_s(tries - refused, error)
            if pause_s is None or pause_s >= deadline.remaining_s() or not (is_free or session.budget.take(retry)):
                raise error from failure
        else:
            return Reply(answer, time.perf_counter() - started_s, tries)
        for observer in session.observers:
            observer.retried(error)
        yield Pause(pause_s)


def _as_configured(request: InferRequest, options: Options) -> InferRequest:
    """The request with the client's priority and source; bulk requests without a source have the source `bulk`."""
    priority = options.priority or request.priority
    source = options.source or request.source or ("bulk" if priority == "bulk" else None)
    return dataclasses.replace(request, priority=priority, source=source)


def _cut(read: list[tuple[int, ImageLike, bytes]]) -> Iterator[list[tuple[int, ImageLike, bytes]]]:
    """Cuts the photos into parts of at most `MAX_BATCH_BYTES`, or of one photo."""
    part: list[tuple[int, ImageLike, bytes]] = []
    size_bytes = 0
    for entry in read:
        if part and size_bytes + len(entry[2]) > MAX_BATCH_BYTES:
            yield part
            part, size_bytes = [], 0
        part.append(entry)
        size_bytes += len(entry[2])
    if part:
        yield part
