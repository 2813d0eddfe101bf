"""How a call goes: contract, deadline, tries, batches. No I/O: steps that `Client` and `AsyncClient` carry out alike.

Each function here is a generator. It yields a step and is sent what the step gave, or has its failure thrown in.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from triptych import protocol
from triptych.connection import is_ip_address
from triptych.deadline import Deadline
from triptych.errors import InvalidInput, NotReady, PermissionDenied, ServerFault, TriptychError
from triptych.protocol import InferAnswer, InferRequest, JsonObject, Priority, Question, TransportError
from triptych.recognizer import MODEL, Contract, Task, read_contract
from triptych.results import Item, Timing
from triptych.retry import Retry, RetryBudget
from triptych.server_state import Health, Model, read_model
from triptych.translation import Sent, deadline_exceeded, is_refused_unseen, translate

if TYPE_CHECKING:
    from triptych.observation import Observer
    from triptych.photo import ImageLike
    from triptych.pixels import Box

R = TypeVar("R")
T = TypeVar("T")

# Of photos in one request; a larger photo travels alone. Half of the 64 MB that Triton's HTTP takes since 25.06.
MAX_BATCH_BYTES = 32_000_000


@dataclass(frozen=True, slots=True)
class Read:
    """Read this photo, or the part of it in `box` -> its encoded bytes."""

    photo: ImageLike
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send this within so many seconds -> its answer."""

    call: protocol.Call
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait -> None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Do this, which takes a processor for milliseconds -> what it gives."""

    function: Callable[[], Any]


Step = Read | Send | Pause | Work
Steps = Generator[Step, Any, T]


@dataclass
class Session:
    """What the calls of one client share: where they go, what was learned there, what retries may still cost."""

    target: str
    observers: Sequence[Observer] = ()
    budget: RetryBudget = field(default_factory=RetryBudget)
    contract: Contract | None = None
    max_batch_size: int | None = None
    closed: bool = False
    catalogue_key: str | None = field(default=None, repr=False)

    @property
    def has_others(self) -> bool:
        """Whether the target may stand for several servers: it lists them, or is a name."""
        return "," in self.target or not is_ip_address(self.target)


@dataclass(frozen=True)
class Options:
    """What `with_options` may change: the arguments of `Client` of the same names."""

    timeout_s: float
    retry: Retry
    max_in_flight: int
    priority: Priority | None = None


@dataclass(frozen=True)
class Context:
    """One call of a user's on its way."""

    session: Session
    options: Options
    deadline: Deadline
    request_id: str


def open_context(session: Session, options: Options, timeout_s: float | None = None) -> Context:
    """A context whose deadline begins now."""
    return Context(session, options, Deadline(timeout_s or options.timeout_s), uuid.uuid4().hex)


def one(session: Session, options: Options, task: Task[R], photo: ImageLike) -> Steps[R]:
    """Reads one photo and asks about it. The deadline begins when the photo has been read."""
    started_s = time.perf_counter()
    content = yield Read(photo)
    return (yield from one_read(session, options, task, content, started_s))


def one_read(
    session: Session, options: Options, task: Task[R], content: bytes, started_s: float | None = None
) -> Steps[R]:
    """Asks about one photo that has been read."""
    started_s = time.perf_counter() if started_s is None else started_s
    (result,) = yield from _batch(open_context(session, options), task, [content], started_s)
    return result


def many(
    session: Session, options: Options, task: Task[R], chunk: Sequence[tuple[int, ImageLike]]
) -> Steps[list[Item[R]]]:
    """Reads the photos of a chunk and asks about them together; what fails becomes its item's error."""
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
    """Any call other than inference, retried like one."""
    context = open_context(session, options, timeout_s)
    answer: JsonObject = (yield from tried(context, question)).answer
    return answer


def models(session: Session, options: Options) -> Steps[tuple[Model, ...]]:
    """The repository's index, with the configuration of each ready model.

    Servers keep the index to those who may load models: then the models that serve, which have statistics.
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


def health(session: Session, options: Options) -> Steps[Health]:
    """Four questions; the first that nobody answers fails them all."""
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


def batch_size(session: Session, options: Options) -> Steps[int]:
    """The most photos the server takes in one request, asked once; 1 where it does not tell."""
    if session.max_batch_size is None:
        try:
            config = yield from ask(session, options, protocol.model_config(MODEL))
        except PermissionDenied:
            session.max_batch_size = 1
        else:
            session.max_batch_size = max(1, int(config.get("max_batch_size", 1)))
    return session.max_batch_size


def wait_ready(session: Session, options: Options, timeout_s: float) -> Steps[None]:
    """Asks until `recognizer` answers that it is ready.

    Raises:
        Unavailable: it was not within `timeout_s`; the last answer is the cause.
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
                f"Model {MODEL} at {session.target} was not ready within {timeout_s:g} s. Allow more time, or "
                "look into the server's log for why it does not load.",
                model=MODEL,
            )
        yield Pause(pause_s)
        pause_s = min(1.0, pause_s * 1.5)


def _isolated(
    session: Session, options: Options, task: Task[R], photos: list[bytes], started_s: float
) -> Steps[list[R | TriptychError]]:
    """The results of one batch. The server refuses a batch whole: then each photo is asked about alone."""
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
    observers = context.session.observers
    for observer in observers:
        observer.started(task.name)
    error: BaseException | None = None
    asked_s = time.perf_counter()
    try:
        contract = yield from _contract(context)
        request = task.request(photos, contract, context.request_id)
        reply = yield from tried(context, request)
        answer: InferAnswer = reply.answer
        timing = Timing(total_s=time.perf_counter() - started_s, remote_s=reply.remote_s, tries=reply.tries)
        if task.is_heavy:
            results: list[R] = yield Work(lambda: task.read(answer, request, contract, timing))
            return results
        return task.read(answer, request, contract, timing)
    except BaseException as caught:
        error = caught
        raise
    finally:
        for observer in observers:
            observer.ended(task.name, time.perf_counter() - asked_s, error)


def _contract(context: Context) -> Steps[Contract]:
    """What the server answers, asked once. Where asking is not allowed, what this client needs is taken for granted."""
    session = context.session
    if session.contract is None:
        try:
            reply = yield from tried(context, protocol.model_metadata(MODEL))
        except PermissionDenied:
            session.contract = Contract()
        else:
            session.contract = read_contract(reply.answer, request_id=context.request_id)
    return session.contract


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, after how long and how many tries."""

    answer: Any
    remote_s: float
    tries: int


def tried(context: Context, call: protocol.Call) -> Steps[Reply]:
    """Sends until an answer comes, the error is not worth a retry, or deadline, tries or budget are spent."""
    session, retry, deadline = context.session, context.options.retry, context.deadline
    if isinstance(call, InferRequest) and context.options.priority is not None:
        call = dataclasses.replace(call, priority=context.options.priority)
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


def _cut(read: list[tuple[int, ImageLike, bytes]]) -> Iterator[list[tuple[int, ImageLike, bytes]]]:
    """Parts of at most `MAX_BATCH_BYTES`, or of one photo."""
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
