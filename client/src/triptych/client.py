"""The blocking client. Owns threads and the connection; how a call goes belongs to `calls`."""

from __future__ import annotations

import copy
import dataclasses
import os
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from triptych import calls, explaining, pipeline, protocol
from triptych.admin import Admin
from triptych.calls import Pause, Read, Step, Steps, Work
from triptych.configuration import (
    DEFAULT_MAX_IN_FLIGHT,
    DEFAULT_RETRY,
    DEFAULT_TARGET,
    DEFAULT_TIMEOUT_S,
    arguments_from_env,
    checked_options,
    configure,
)
from triptych.connection import TLS, Auth, Balance, Carrier, Connection
from triptych.photo import ImageLike, read_photo
from triptych.progress import watched
from triptych.protocol import InferRequest, Priority
from triptych.recognizer import Classify, Embed, Recognize, Task
from triptych.results import Classification, Embedding, Explanation, Item, Label, Recognition
from triptych.retry import Retry
from triptych.search_client import Searching
from triptych.server_state import Health, Model, ModelStatistics, read_statistics
from triptych.transport import Transport

if TYPE_CHECKING:
    from types import TracebackType

    from triptych.observation import Observer

R = TypeVar("R")
T = TypeVar("T")


class Client(Searching):
    """A connection to one Triptych server, or to several that serve the same; threads may share it.

    Connects on the first call. `AsyncClient` is the same for an event loop.

    Example:
        >>> with Client("127.0.0.1:8001") as client:  # doctest: +SKIP
        ...     print(client.recognize("shoe.jpg").top)
        Shoes / running shoe
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: Retry = DEFAULT_RETRY,
        max_in_flight: int = DEFAULT_MAX_IN_FLIGHT,
        channels: int = 1,
        tls: TLS | None = None,
        auth: Auth | None = None,
        api_key: str | None = None,
        balance: Balance = "round_robin",
        transport: Carrier = "grpc",
        shared_memory: bool = False,
        private_urls: bool = False,
        metrics: Observer | None = None,
        tracing: bool = False,
        catalogue_key: str | None = None,
        priority: Priority | None = None,
        _transport: Transport | None = None,
    ) -> None:
        """Prepares a client; touches no network.

        Args:
            target: host and port of the server; a name that stands for several, "dns:///triptych:8001"; or several
                addresses, "10.0.0.7:8001,10.0.0.8:8001". For HTTP also "https://shop.example", and the port is 8000
                unless set otherwise.
            timeout_s: seconds one call may take over all its tries, counted from when the photo has been read.
            retry: when and how often a failed call is sent again.
            max_in_flight: photos that the `_many` calls keep on their way at once.
            channels: connections to each server; more than one pays past some thousand requests a second.
            tls: encrypts the connection; `TLS()` trusts the authorities of the machine.
            auth: headers of each call, or a function that is asked for them at each.
            api_key: of a restricted API, "name=value".
            balance: "round_robin" over all addresses, or "pick_first".
            transport: "grpc", or "http" (needs the extra `http`).
            shared_memory: photos reach a server on this host through shared memory, where it allows that; `ops serve`
                does for the `api_key` in its memory.key.
            private_urls: whether photos may be fetched from private addresses.
            metrics: counts and times the calls: `triptych.metrics.ClientMetrics()` (needs the extra `metrics`).
            tracing: sends the current OpenTelemetry span's context, when it is sampled (needs the extra `tracing`).
            catalogue_key: of the server's catalogue, for `catalogue`; searching needs none.
            priority: "interactive", or "bulk" for what may wait: served when nobody interactive waits. Unless set,
                `catalogue.upsert_many` and `catalogue.import_file` are bulk, all else interactive.

        Raises:
            InvalidInput: an argument that could not be used.
            ModuleNotFoundError: an extra is not installed.
        """
        self._configuration = configure(
            target,
            timeout_s=timeout_s,
            retry=retry,
            max_in_flight=max_in_flight,
            channels=channels,
            tls=tls,
            auth=auth,
            api_key=api_key,
            balance=balance,
            transport=transport,
            shared_memory=shared_memory,
            private_urls=private_urls,
            metrics=metrics,
            tracing=tracing,
            catalogue_key=catalogue_key,
            priority=priority,
        )
        self._options = self._configuration.options
        self._session = self._configuration.new_session()
        self._transport = _open(self._configuration.connection) if _transport is None else _transport
        self._pid = os.getpid()
        self._owns_transport = True
        self._closed = False

    @classmethod
    def from_env(cls, **arguments: Any) -> Client:
        """A client as the environment says (`TRIPTYCH_TARGET`, ...; README.md lists all); `arguments` come first.

        Raises:
            InvalidInput: a variable that cannot be read, or what `Client` raises.
        """
        return cls(**{**arguments_from_env(), **arguments})

    def with_options(
        self,
        *,
        timeout_s: float | None = None,
        retry: Retry | None = None,
        max_in_flight: int | None = None,
        priority: Priority | None = None,
    ) -> Client:
        """A client with other options over the same connection. Closing it leaves the connection to this one.

        Raises:
            InvalidInput: a value no call can follow.
        """
        other = copy.copy(self)
        other._owns_transport = False
        given = {"timeout_s": timeout_s, "retry": retry, "max_in_flight": max_in_flight, "priority": priority}
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        other._options = checked_options(dataclasses.replace(self._options, **changed))
        return other

    @property
    def admin(self) -> Admin:
        """Loading and unloading of models, for who may."""
        return Admin(self)

    def recognize(self, image: ImageLike, *, top_k: int = 5, min_score: float | None = None) -> Recognition:
        """Says what a photo shows, with its embedding.

        The first call also checks, within its deadline, that the server serves the model this client was written for.

        Args:
            image: one photo; see `ImageLike`.
            top_k: how many labels to return; fewer come back when the model has fewer classes.
            min_score: leaves labels below this probability out.

        Raises:
            InvalidInput: an argument is of a wrong kind, or the server refused the photo (`UnreadableImage`,
                `ImageTooLarge`).
            Unavailable: the server cannot answer now, after all tries.
            DeadlineExceeded: no answer within `timeout_s`.
            PermissionDenied: the server wants a credential.
            ContractMismatch: the server serves another model.
            ServerFault: the server failed.
            RuntimeError: the client is closed, or was carried across a fork.
        """
        return self._one(Recognize(top_k, min_score), image)

    def classify(self, image: ImageLike, *, top_k: int = 5, min_score: float | None = None) -> Classification:
        """Like `recognize`, without the embedding."""
        return self._one(Classify(top_k, min_score), image)

    def embed(self, image: ImageLike) -> Embedding:
        """The embedding alone; raises what `recognize` does."""
        return self._one(Embed(), image)

    def explain(
        self, image: ImageLike, *, attribute: str = "category", label: Label | int | None = None
    ) -> Explanation:
        """Says where in a photo the network saw what speaks for a label; `draw_heat_map` draws it.

        Args:
            image: one photo; see `ImageLike`.
            attribute: "category", or another the server's model knows.
            label: one that `recognize` gave, or its index; the best one unless named.

        Raises:
            InvalidInput: there is no such attribute or label, or no map can be made of the network that serves.
            ContractMismatch: the server serves no `explainer`; further, what `recognize` raises.
        """
        return self._run(explaining.explain(self._session, self._options, image, attribute, label))

    def recognize_many(
        self,
        images: Iterable[ImageLike],
        *,
        top_k: int = 5,
        min_score: float | None = None,
        batch_size: int | None = None,
        ordered: bool = True,
        max_in_flight: int | None = None,
        progress: bool = False,
    ) -> Iterator[Item[Recognition]]:
        """Recognises photos as they are needed, some of them at once; a bad one fails only its own item.

        Memory stays bounded however long `images` is: it is read only as far ahead as results are taken.

        Args:
            images: photos; see `ImageLike`.
            top_k: how many labels to return.
            min_score: leaves labels below this probability out.
            batch_size: photos in one request, at most what the server takes; None is one by one, which leaves
                batching to the server.
            ordered: whether items come in the order of `images`, or as they are answered.
            max_in_flight: photos on their way at once; None is the client's.
            progress: shows a bar on stderr (needs the extra `cli`).

        Raises:
            InvalidInput: an argument is of a wrong kind; what is wrong with a photo is in its item.
        """
        return self._many(Recognize(top_k, min_score), images, batch_size, ordered, max_in_flight, progress)

    def classify_many(
        self,
        images: Iterable[ImageLike],
        *,
        top_k: int = 5,
        min_score: float | None = None,
        batch_size: int | None = None,
        ordered: bool = True,
        max_in_flight: int | None = None,
        progress: bool = False,
    ) -> Iterator[Item[Classification]]:
        """Like `recognize_many`, without the embeddings."""
        return self._many(Classify(top_k, min_score), images, batch_size, ordered, max_in_flight, progress)

    def embed_many(
        self,
        images: Iterable[ImageLike],
        *,
        batch_size: int | None = None,
        ordered: bool = True,
        max_in_flight: int | None = None,
        progress: bool = False,
    ) -> Iterator[Item[Embedding]]:
        """Like `recognize_many`, the embeddings alone."""
        return self._many(Embed(), images, batch_size, ordered, max_in_flight, progress)

    def models(self) -> tuple[Model, ...]:
        """The models in the server's repository, with the tensors of the ready ones.

        Where the repository is restricted and this client has no key, the models that serve.
        """
        return self._run(calls.models(self._session, self._options))

    def health(self) -> Health:
        """Whether the server lives and is ready. Raises `ConnectionFailed` where none answers."""
        return self._run(calls.health(self._session, self._options))

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Returns when `recognizer` is ready.

        Raises:
            Unavailable: it was not within `timeout_s`; the message says what the server said last.
        """
        self._run(calls.wait_ready(self._session, self._options, timeout_s))

    def statistics(self) -> tuple[ModelStatistics, ...]:
        """What each model did since the server started."""
        return read_statistics(self._run(calls.ask(self._session, self._options, protocol.model_statistics())))

    def close(self) -> None:
        """Gives the connection back. A second call does nothing."""
        if not self._closed:
            self._closed = True
            if self._owns_transport:
                self._session.closed = True
                self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _one(self, task: Task[R], image: ImageLike) -> R:
        return self._run(calls.one(self._session, self._options, task, image))

    def _many(
        self,
        task: Task[R],
        images: Iterable[ImageLike],
        batch_size: int | None,
        ordered: bool,
        max_in_flight: int | None,
        progress: bool,
    ) -> Iterator[Item[R]]:
        options = self._options if max_in_flight is None else self.with_options(max_in_flight=max_in_flight)._options
        pipeline.check_batch_size(batch_size)
        self._check_usable()

        def items() -> Iterator[Item[R]]:
            largest = 1 if batch_size in (None, 1) else self._run(calls.batch_size(self._session, options))
            flow = pipeline.plan(largest, batch_size or 1, options.max_in_flight, ordered)
            yield from pipeline.run(
                images, lambda chunk: self._run(calls.many(self._session, options, task, chunk)), flow
            )

        return watched(items(), images) if progress else items()

    def _run(self, steps: Steps[T]) -> T:
        self._check_usable()
        try:
            step = next(steps)
            while True:
                try:
                    given = self._perform(step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(given)
        except StopIteration as end:
            result: T = end.value
            return result

    def _perform(self, step: Step) -> object:
        if isinstance(step, Read):
            return read_photo(step.photo, private_urls=self._configuration.private_urls, box=step.box)
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        if isinstance(step, Work):
            return step.function()
        headers = self._configuration.headers()
        if isinstance(step.call, InferRequest):
            return self._transport.infer(step.call, timeout_s=step.timeout_s, headers=headers)
        return self._transport.ask(step.call, timeout_s=step.timeout_s, headers=headers)

    def _check_usable(self) -> None:
        if self._closed or self._session.closed:
            raise RuntimeError("This client is closed. Make a new Client, or call before close().")
        if os.getpid() != self._pid:
            raise RuntimeError("This client was made before a fork. Make one in each process.")


def _open(connection: Connection) -> Transport:
    if connection.carrier == "http":
        from triptych.http_transport import HttpTransport

        return HttpTransport(connection)
    if connection.shared_memory:
        from triptych.shared_memory import SharedMemoryTransport

        return SharedMemoryTransport(connection)
    from triptych.grpc_transport import GrpcTransport

    return GrpcTransport(connection)
