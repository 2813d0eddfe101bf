"""The blocking client. Owns the threads and the connection; `_core` has the logic of the calls."""

from __future__ import annotations

import copy
import dataclasses
import os
import time
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from triptych._core import calls, explanation, protocol
from triptych._core.protocol import InferRequest, Priority, Source
from triptych._core.recognition import Classify, Embed, Recognize, Task
from triptych._core.retry import Retry
from triptych._core.server_state import Health, Model, ModelStatistics, read_statistics
from triptych._core.steps import Pause, Read, Step, Steps, Work, drive
from triptych._images.photo import ImageLike, read_photo
from triptych._runtime import pipeline
from triptych._runtime.configuration import (
    DEFAULT_MAX_IN_FLIGHT,
    DEFAULT_RETRY,
    DEFAULT_TARGET,
    DEFAULT_TIMEOUT_S,
    arguments_from_env,
    checked_options,
    configure,
)
from triptych._runtime.progress import watched
from triptych._runtime.search_methods import SearchMethods
from triptych._transport.connection import Auth, Balance
from triptych._transport.interface import Transport
from triptych._transport.opening import open_transport
from triptych._transport.target import Carrier
from triptych._transport.tls import TLS
from triptych.admin import Admin
from triptych.catalogue import Catalogue
from triptych.results import Classification, Embedding, Explanation, Item, Label, Recognition

if TYPE_CHECKING:
    from types import TracebackType

    from triptych._core.session import Observer

__all__ = [
    "Client",
]

R = TypeVar("R")
T = TypeVar("T")


class Client(SearchMethods):
    """A client of one Triptych server, or of several that serve the same models; threads may share it.

    Connects on the first call. `AsyncClient` is the client for an event loop.

    Example:
        >>> with Client("127.0.0.1:8001") as client:
        ...     print(client.recognize("shoe.jpg").top)
        Shoes / Loafer
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
        transport: Carrier | None = None,
        shared_memory: bool = False,
        private_urls: bool = False,
        metrics: Observer | None = None,
        tracing: bool = False,
        catalogue_key: str | None = None,
        priority: Priority | None = None,
        source: Source | None = None,
        _transport: Transport | None = None,
    ) -> None:
        """Prepares a client; opens no connection.

        Args:
            target: the server. Host and port, "127.0.0.1:8001"; a URL, whose scheme sets transport and TLS,
                "http://127.0.0.1:8000", "https://shop.example", "grpc://..." or "grpcs://..."; a name that stands for
                several servers, "dns:///triptych:8001"; or several addresses, "10.0.0.7:8001,10.0.0.8:8001". Triton's
                default ports are 8001 for gRPC and 8000 for HTTP.
            timeout_s: longest time of one call over all its tries, in seconds, measured after the photo has been read.
            retry: when and how often a failed call is sent again.
            max_in_flight: photos that the `_many` calls keep in flight at once.
            channels: connections to each server; more than one helps above some thousand requests a second.
            tls: encrypts the connection; `TLS()` trusts the authorities of the machine.
            auth: headers of every call, or a function that returns them and is called for each call.
            api_key: of a restricted API, "name=value".
            balance: "round_robin" over all addresses, or "pick_first".
            transport: "grpc", or "http" (needs the extra `http`); None is that of the target's scheme, otherwise gRPC.
            shared_memory: sends photos to a server on this host through shared memory, if the server permits it; `ops
                serve` permits it to clients with the `api_key` in its memory.key.
            private_urls: whether photos may be downloaded from private addresses.
            metrics: counts and times the calls: `triptych.metrics.ClientMetrics()` (needs the extra `metrics`).
            tracing: sends the context of the current OpenTelemetry span, if it is sampled (needs the extra `tracing`).
            catalogue_key: the key of the server's catalogue, for `catalogue`; searches need no key.
            priority: "interactive", or "bulk" for calls that may wait: the server runs them when no interactive call
                waits. By default `catalogue.upsert_many` and `catalogue.import_file` are bulk, all other calls
                interactive.
            source: what the calls are for, which the server's metrics tell apart: "shopper", "import", "search", "bulk"
                or "internal" (checks, load tests, tools). By default calls of `catalogue` are "import", searches are
                "search", `explain` is "internal", other bulk calls are "bulk" and all others "shopper".

        Raises:
            InvalidInput: an argument has a wrong type or value.
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
            source=source,
        )
        self._options = self._configuration.options
        self._session = self._configuration.new_session()
        self._transport = open_transport(self._configuration.connection) if _transport is None else _transport
        self._pid = os.getpid()
        self._owns_transport = True
        self._closed = False

    @classmethod
    def from_env(cls, **arguments: Any) -> Client:
        """A client with the arguments of the environment (`TRIPTYCH_TARGET`, ...; README.md lists all variables).

        Args:
            **arguments: those of `Client`; they override the environment.

        Raises:
            InvalidInput: a variable cannot be parsed, or an argument has a wrong value.
        """
        return cls(**{**arguments_from_env(), **arguments})

    def with_options(
        self,
        *,
        timeout_s: float | None = None,
        retry: Retry | None = None,
        max_in_flight: int | None = None,
        priority: Priority | None = None,
        source: Source | None = None,
    ) -> Client:
        """A client with other options over the same connection. Closing it leaves the connection open.

        Raises:
            InvalidInput: an option has a wrong type or value.
        """
        other = copy.copy(self)
        other._owns_transport = False
        given = {
            "timeout_s": timeout_s,
            "retry": retry,
            "max_in_flight": max_in_flight,
            "priority": priority,
            "source": source,
        }
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        other._options = checked_options(dataclasses.replace(self._options, **changed))
        return other

    @property
    def admin(self) -> Admin:
        """Loads and unloads models, where the server permits it."""
        return Admin(self)

    @property
    def catalogue(self) -> Catalogue:
        """Reads and writes the catalogue; needs the catalogue's key."""
        return Catalogue(self)

    def recognize(self, image: ImageLike, *, top_k: int = 5, min_score: float | None = None) -> Recognition:
        """Classifies and embeds a photo in one call.

        The first call also checks, within its deadline, that the server's model has the expected tensors.

        Args:
            image: one photo; see `ImageLike`.
            top_k: how many labels to return; fewer where the model has fewer classes.
            min_score: leaves out labels below this probability.

        Raises:
            InvalidInput: an argument has a wrong type or value, or the server refused the photo (`UnreadableImage`,
                `ImageTooLarge`).
            Unavailable: the server could not answer, after all tries.
            DeadlineExceeded: no answer within `timeout_s`.
            PermissionDenied: the server requires a credential.
            ContractMismatch: the server's model has other tensors.
            ServerFault: the server failed.
            RuntimeError: the client is closed, or the process was forked after it was made.
        """
        return self._one(Recognize(top_k, min_score), image)

    def classify(self, image: ImageLike, *, top_k: int = 5, min_score: float | None = None) -> Classification:
        """Like `recognize`, but returns no embedding."""
        return self._one(Classify(top_k, min_score), image)

    def embed(self, image: ImageLike) -> Embedding:
        """Like `recognize`, but returns only the embedding."""
        return self._one(Embed(), image)

    def explain(
        self, image: ImageLike, *, attribute: str = "category", label: Label | int | None = None
    ) -> Explanation:
        """Returns a heat map of the regions of a photo that are evidence for a label; `draw_heat_map` draws it.

        Args:
            image: one photo; see `ImageLike`.
            attribute: "category", or another attribute of the server's model.
            label: a label that `recognize` returned, or its index; None is the best label.

        Raises:
            InvalidInput: there is no such attribute or label, or the server's network supports no heat maps.
            ContractMismatch: the model `explainer` is not deployed on the server.
            TriptychError: see `recognize`.
        """
        return self._run(explanation.explain(self._session, self._options, image, attribute, label))

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
        """Recognises many photos concurrently; a bad photo fails only its own item.

        Memory stays constant for any number of `images`: they are read only as far ahead as results are taken.

        Args:
            images: photos; see `ImageLike`.
            top_k: how many labels to return.
            min_score: leaves out labels below this probability.
            batch_size: photos in one request, at most the server's limit; None sends one photo per request and leaves
                batching to the server.
            ordered: whether items come in the order of `images`, or in the order of the answers.
            max_in_flight: photos in flight at once; None is the client's value.
            progress: shows a progress bar on stderr (needs the extra `cli`).

        Raises:
            InvalidInput: an argument has a wrong type or value; the error of a photo is in its item.
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
        """Like `recognize_many`, but returns no embeddings."""
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
        """Like `recognize_many`, but returns only embeddings."""
        return self._many(Embed(), images, batch_size, ordered, max_in_flight, progress)

    def models(self) -> tuple[Model, ...]:
        """The models in the server's repository, with the tensors of the ready ones.

        A server that restricts its repository to clients with a key lists only the models that serve.
        """
        return self._run(calls.list_models(self._session, self._options))

    def health(self) -> Health:
        """Whether the server is live and ready. Raises `ConnectionFailed` where no server answers."""
        return self._run(calls.check_health(self._session, self._options))

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Returns when `recognizer` is ready.

        Raises:
            Unavailable: it was not ready within `timeout_s`; the message has the server's last answer.
        """
        self._run(calls.wait_ready(self._session, self._options, timeout_s))

    def statistics(self) -> tuple[ModelStatistics, ...]:
        """Counts and times of each model since the server started."""
        return read_statistics(self._run(calls.ask(self._session, self._options, protocol.model_statistics())))

    def close(self) -> None:
        """Closes the connection. A second call does nothing."""
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
        return self._run(calls.infer_one(self._session, self._options, task, image))

    def _many(
        self,
        task: Task[R],
        images: Iterable[ImageLike],
        batch_size: int | None,
        ordered: bool,
        max_in_flight: int | None,
        progress: bool,
    ) -> Generator[Item[R], None, None]:
        options = self._options if max_in_flight is None else self.with_options(max_in_flight=max_in_flight)._options
        pipeline.check_batch_size(batch_size)
        self._check_usable()

        def items() -> Generator[Item[R], None, None]:
            largest = 1 if batch_size in (None, 1) else self._run(calls.find_batch_size(self._session, options))
            flow = pipeline.plan(largest, batch_size or 1, options.max_in_flight, ordered)
            yield from pipeline.run(
                images, lambda chunk: self._run(calls.infer_many(self._session, options, task, chunk)), flow
            )

        return watched(items(), images) if progress else items()

    def _run(self, steps: Steps[T]) -> T:
        self._check_usable()
        return drive(steps, self._perform)

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
