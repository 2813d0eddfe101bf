"""A fake Triton server in memory, with `recognizer` and the catalogue. Must not import gRPC or a test framework."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from triptych._core.explanation import MODEL as EXPLAINER
from triptych._core.failures.codes import coded
from triptych._core.protocol import (
    Call,
    InferAnswer,
    InferRequest,
    JsonObject,
    Question,
    RequestedOutput,
    Tensor,
    TransportError,
)
from triptych._core.recognition import MODEL
from triptych._images.photo import ImageLike, read_photo
from triptych.errors import (
    ConnectionFailed,
    ContractMismatch,
    DeadlineExceeded,
    ImageTooLarge,
    IncompatibleIndex,
    InvalidInput,
    NotReady,
    Overloaded,
    PermissionDenied,
    ServerFault,
    TriptychError,
    Unavailable,
    UnreadableImage,
)
from triptych.testing.fake_catalogue import FakeCatalogue
from triptych.testing.fake_explainer import explain
from triptych.testing.fake_outputs import (
    classes_tensor,
    fake_embedding,
    fake_retail_score,
    fake_scores,
    fill_scores,
    floats_tensor,
    normalised,
)

LABELS = (
    "Shoes / Loafer",
    "Shoes / running shoe",
    "Shoes / sandal",
    "Clothing / jersey",
    "Clothing / trench coat",
    "Fashion Accessories / buckle",
    "Grocery: Fresh Produce / Granny Smith",
    "Kitchen / espresso maker",
    "tabby cat",
    "lakeside",
)
"""Lines of a `labels.txt`; classes without a category are no products."""

_UNKNOWN_MODEL = "Request for unknown model: 'recognizer'"
_READABLE = "expected a complete JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file. Send the bytes of a photo."

# The messages of models, Triton 2.51.0 and gRPC that lead to each error: the client must translate them, as in
# production. InvalidInput and ServerFault stand for any message of a model.
_SPOKEN: dict[type[TriptychError], TransportError] = {
    TriptychError: TransportError("INTERNAL", "[request id: {request_id}] failed to run the model"),
    IncompatibleIndex: coded(
        "index_incompatible", "Incompatible index: the catalogue has the fingerprint 'a'; expected 'b'."
    ),
    InvalidInput: coded("request_invalid", "the request is refused"),
    UnreadableImage: coded("image_unreadable", f"unreadable image: got plain text; {_READABLE}"),
    ImageTooLarge: coded(
        "image_too_large", "image too large: 21.0 MB, the limit is 20 MB. Send a smaller copy of the photo."
    ),
    Unavailable: TransportError("UNAVAILABLE", "Socket closed"),
    Overloaded: TransportError("UNAVAILABLE", "[request id: {request_id}] Exceeds maximum queue size"),
    NotReady: TransportError("UNAVAILABLE", f"{_UNKNOWN_MODEL} version 1 is not at ready state"),
    ConnectionFailed: TransportError(
        "UNAVAILABLE",
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:8001: Failed to connect to remote "
        "host: Connection refused",
    ),
    DeadlineExceeded: TransportError("DEADLINE_EXCEEDED", "Deadline Exceeded"),
    PermissionDenied: TransportError(
        "UNAVAILABLE", "This protocol is restricted, expecting header 'triton-grpc-protocol-shop-key'"
    ),
    ContractMismatch: TransportError("NOT_FOUND", f"{_UNKNOWN_MODEL} is not found"),
    ServerFault: coded("internal", "recognizer failed; the request is not the cause. Send it again."),
}

Failure: TypeAlias = type[TriptychError] | TransportError
"""An error class, which stands for the server's message that leads to it; or such a message, with the code that a model
sends: `TransportError("INVALID_ARGUMENT", "[filter_invalid] No product has the field 'prise'.")`."""

Scores: TypeAlias = Sequence[tuple[str, float]]
"""Lines of `labels.txt` and their scores, best first."""


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A try of a call that reached the fake server, with its timeout and its headers."""

    call: Call
    timeout_s: float
    headers: Mapping[str, str]


@dataclass(frozen=True)
class _Scripted:
    scores: Mapping[str, Scores]
    retail_score: float | None
    embedding: npt.NDArray[np.float32] | None


@dataclass
class _Scheduled:
    failure: Failure
    rpc: str | None
    left: int


class FakeServer:
    """Gives the same photo always the same answer: labels, scores and embedding are derived from its bytes.

    Photos are not decoded: any bytes are a photo, `b"a shoe"` for example. Threads and clients may share a server.

    Attributes:
        calls: all tries that arrived, oldest first.
        delay_s: latency of each answer; a try with a shorter timeout ends in `DeadlineExceeded`.
        ready: whether `recognizer` is ready; `client.admin` changes it too.
        replies: answers to calls other than inference, by rpc, "ModelMetadata" for example, instead of the defaults.
        closed: number of closed connections.
        catalogue: the catalogue of `client.search` and `client.catalogue`; `catalogue.key` restricts it.
    """

    def __init__(
        self,
        *,
        labels: Iterable[str] = LABELS,
        attributes: Mapping[str, Iterable[str]] | None = None,
        embedding_size: int = 1280,
        max_batch_size: int = 8,
        history: int | None = None,
        catalogue_key: str | None = None,
    ) -> None:
        """Creates a server without scripted answers.

        Args:
            labels: the classes, as lines of `labels.txt`: "Shoes / running shoe", or "tabby cat" if it is no product.
            attributes: further attributes and their classes: {"brand": ["Acme", "Zephyr"]}.
            embedding_size: size D of the embeddings.
            max_batch_size: largest number of photos in one request.
            history: number of calls to keep; None keeps all.
            catalogue_key: the key of the catalogue; None permits every client.
        """
        self._classes = {"category": list(labels)}
        self._classes |= {name: list(lines) for name, lines in (attributes or {}).items()}
        self._embedding_size = embedding_size
        self._max_batch_size = max_batch_size
        self._lock = threading.Lock()
        self._scripted: dict[bytes, _Scripted | Failure] = {}
        self._scheduled: list[_Scheduled] = []
        self._inferences = self._executions = 0
        self.calls: deque[RecordedCall] = deque(maxlen=history)
        self.delay_s = 0.0
        self.ready = True
        self.replies: dict[str, JsonObject] = {}
        self.closed = 0
        self.catalogue = FakeCatalogue(embedding_size, catalogue_key)

    @property
    def requests(self) -> list[InferRequest]:
        """The inference requests among `calls`, repeated tries included."""
        return [recorded.call for recorded in self.calls if isinstance(recorded.call, InferRequest)]

    @property
    def photos(self) -> list[bytes]:
        """The photos of `requests`, as they arrived."""
        return [photo for request in self.requests for photo in request.photos]

    def answer(
        self,
        photo: ImageLike,
        *,
        labels: Scores | None = None,
        attributes: Mapping[str, Scores] | None = None,
        retail_score: float | None = None,
        embedding: npt.ArrayLike | None = None,
    ) -> None:
        """Sets the answer to a photo; the parts that are left out are derived from its bytes.

        Args:
            photo: the photo that the client will get; a path is read now.
            labels: scores of some classes; an unknown class is added. The other classes share the rest of the
                probability.
            attributes: scores of further attributes.
            retail_score: 0 to 1.
            embedding: `[D]` with D the server's `embedding_size`, of any norm above 0; it is scaled to norm 1.

        Raises:
            ValueError: the embedding has another size or is zero, or the server has no such attribute.
        """
        vector = None if embedding is None else self._direction(np.asarray(embedding, dtype=np.float64))
        scores = {**({} if labels is None else {"category": labels}), **(attributes or {})}
        for attribute, given in scores.items():
            if attribute not in self._classes:
                known = ", ".join(name for name in self._classes if name != "category") or "none"
                raise ValueError(f"The attribute {attribute!r} is not the server's, it has {known}.")
            lines = self._classes[attribute]
            lines += [line for line, _ in given if line not in lines]
        self._scripted[read_photo(photo)] = _Scripted(scores, retail_score, vector)

    def refuse(self, photo: ImageLike, failure: Failure = UnreadableImage) -> None:
        """Fails every request with this photo, also in a batch with good photos, as a real server does.

        Raises:
            ValueError: the failure is not one of a server.
        """
        self._scripted[read_photo(photo)] = _checked(failure)

    def fail_next(self, failure: Failure, *, times: int = 1, rpc: str | None = "ModelInfer") -> None:
        """Fails the next tries; several orders apply one after the other.

        Args:
            failure: an error class, which stands for the server's message that leads to it; or such a message.
            times: number of tries; a client stops after its `Retry.tries`, by default 4.
            rpc: the calls that fail: "ModelInfer", another rpc, or None for all.

        Raises:
            ValueError: the failure is not one of a server.
        """
        self._scheduled.append(_Scheduled(_checked(failure), rpc, times))

    def receive(self, call: Call, timeout_s: float, headers: Mapping[str, str]) -> float:
        """Records a call; returns its latency in seconds, at most `timeout_s`."""
        with self._lock:
            self.calls.append(RecordedCall(call, timeout_s, dict(headers)))
        return min(self.delay_s, timeout_s)

    def infer(self, request: InferRequest, timeout_s: float) -> InferAnswer:
        """The answer to an inference request; raises `TransportError` as a transport does."""
        self._fail_when_scheduled("ModelInfer", request.request_id, timeout_s)
        count = len(request.photos)
        with self._lock:
            self._executions += 1
            self._inferences += count
        if not self.ready:
            raise _spoken(NotReady, request.request_id)
        if count > self._max_batch_size:
            limit = f"inference request batch-size must be <= {self._max_batch_size} for '{MODEL}'"
            raise TransportError("INVALID_ARGUMENT", f"[request id: {request.request_id}] {limit}")
        for place, photo in enumerate(request.photos, start=1):
            refusal = self._scripted.get(photo)
            if refusal is not None and not isinstance(refusal, _Scripted):
                error = _spoken(refusal, request.request_id)
                suffix = f" (photo {place} of {count} in this request)" if count > 1 else ""
                raise TransportError(error.status, error.detail + suffix)
        if request.model == EXPLAINER:
            return explain(request, self._classes, self._scores)
        if request.model != MODEL:
            return self.catalogue.infer(request, self._embedding)
        return InferAnswer("1", dict(self._tensors(request)))

    def ask(self, question: Question, timeout_s: float) -> JsonObject:
        """The answer to any other call; raises `TransportError` as a transport does."""
        self._fail_when_scheduled(question.rpc, "", timeout_s)
        if question.rpc in self.replies:
            return self.replies[question.rpc]
        name = question.fields.get("name") or question.fields.get("model_name") or MODEL
        if question.rpc == "ModelReady":
            return {"ready": True} if self.ready and name == MODEL else {}
        if name != MODEL:
            raise TransportError("NOT_FOUND", f"Request for unknown model: '{name}' is not found")
        if question.rpc in ("RepositoryModelLoad", "RepositoryModelUnload"):
            self.ready = question.rpc == "RepositoryModelLoad"
            return {}
        if question.rpc in ("ModelMetadata", "ModelConfig") and not self.ready:
            raise _spoken(NotReady, "")
        answers = self._answers()
        if question.rpc not in answers:
            raise TransportError("UNIMPLEMENTED", f"The fake server does not know {question.rpc}")
        return answers[question.rpc]

    def _answers(self) -> dict[str, JsonObject]:
        """The answers of a server with one model, `recognizer`; 64-bit numbers are strings, as over gRPC."""
        outputs = {**{f"{name}_scores": len(lines) for name, lines in self._classes.items()}, "retail_score": 1}
        outputs["embedding"] = self._embedding_size
        one = {"name": MODEL, "version": "1"}
        counts = {"inference_count": str(self._inferences), "execution_count": str(self._executions)}
        return {
            "ServerLive": {"live": True},
            "ServerReady": {"ready": True} if self.ready else {},
            "ServerMetadata": {"name": "triton", "version": "2.51.0", "extensions": ["classification"]},
            "ModelMetadata": {
                "name": MODEL,
                "versions": ["1"],
                "inputs": [{"name": "image", "datatype": "BYTES", "shape": ["-1", "1"]}],
                "outputs": [
                    {"name": name, "datatype": "FP32", "shape": ["-1", str(size)]} for name, size in outputs.items()
                ],
            },
            "ModelConfig": {
                "name": MODEL,
                "max_batch_size": self._max_batch_size,
                "input": [{"name": "image", "data_type": "TYPE_STRING", "dims": ["1"]}],
                "output": [
                    {"name": name, "data_type": "TYPE_FP32", "dims": [str(size)]} for name, size in outputs.items()
                ],
            },
            "RepositoryIndex": {"models": [{**one, "state": "READY" if self.ready else "UNAVAILABLE"}]},
            "ModelStatistics": {
                "model_stats": [{**one, **counts, "inference_stats": {"success": {"count": str(self._executions)}}}]
            },
        }

    def _fail_when_scheduled(self, rpc: str, request_id: str, timeout_s: float) -> None:
        if self.delay_s > timeout_s:
            raise _spoken(DeadlineExceeded, request_id)
        with self._lock:
            due = next((order for order in self._scheduled if order.rpc in (rpc, None)), None)
            if due is None:
                return
            due.left -= 1
            if due.left <= 0:
                self._scheduled.remove(due)
        raise _spoken(due.failure, request_id)

    def _tensors(self, request: InferRequest) -> Iterator[tuple[str, Tensor]]:
        for output in request.outputs:
            if output.name == "embedding":
                yield output.name, floats_tensor([self._embedding(photo) for photo in request.photos])
            elif output.name == "retail_score":
                scores = [np.array([self._retail_score(photo)], dtype=np.float32) for photo in request.photos]
                yield output.name, floats_tensor(scores)
            else:
                yield output.name, self._scores_tensor(request, output)

    def _scores_tensor(self, request: InferRequest, output: RequestedOutput) -> Tensor:
        attribute = output.name.removesuffix("_scores")
        lines = self._classes.get(attribute)
        if lines is None:
            raise TransportError("INVALID_ARGUMENT", f"unexpected inference output '{output.name}' for model '{MODEL}'")
        rows = [self._scores(photo, attribute, lines) for photo in request.photos]
        return floats_tensor(rows) if output.class_count is None else classes_tensor(rows, lines, output.class_count)

    def _scores(self, photo: bytes, attribute: str, lines: Sequence[str]) -> npt.NDArray[np.float32]:
        scripted = self._scripted.get(photo)
        if isinstance(scripted, _Scripted) and attribute in scripted.scores:
            given = {lines.index(line): score for line, score in scripted.scores[attribute]}
            return fill_scores(given, len(lines))
        return fake_scores(photo, attribute, len(lines))

    def _retail_score(self, photo: bytes) -> float:
        scripted = self._scripted.get(photo)
        if isinstance(scripted, _Scripted) and scripted.retail_score is not None:
            return scripted.retail_score
        return fake_retail_score(photo)

    def _embedding(self, photo: bytes) -> npt.NDArray[np.float32]:
        scripted = self._scripted.get(photo)
        if isinstance(scripted, _Scripted) and scripted.embedding is not None:
            return scripted.embedding
        return fake_embedding(photo, self._embedding_size)

    def _direction(self, vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        if vector.shape != (self._embedding_size,) or not vector.any():
            raise ValueError(
                f"The embedding is {list(vector.shape)}; expected [{self._embedding_size}], not all zero. "
                "Pass FakeServer(embedding_size=...) for another size."
            )
        return normalised(vector)


def _checked(failure: Failure) -> Failure:
    if isinstance(failure, TransportError) or failure in _SPOKEN:
        return failure
    known = ", ".join(error.__name__ for error in _SPOKEN)
    raise ValueError(f"No server answers with {failure!r}; expected a TransportError or one of {known}.")


def _spoken(failure: Failure, request_id: str) -> TransportError:
    """A new error each time: one raised twice would carry the first's traceback."""
    if isinstance(failure, TransportError):
        return TransportError(failure.status, failure.detail)
    spoken = _SPOKEN[failure]
    return TransportError(spoken.status, spoken.detail.replace("{request_id}", request_id))
