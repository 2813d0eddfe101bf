"""The requests to the model `recognizer` and their answers. Performs no I/O."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from triptych._core.protocol import InferAnswer, InferRequest, JsonObject, RequestedOutput, Source, elements
from triptych.errors import ContractMismatch, InvalidInput
from triptych.results import Classification, Embedding, Label, Recognition, Timing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MODEL = "recognizer"
# Name -> datatype in the server's metadata. Sizes depend on the backbone.
INPUTS = {"image": "BYTES"}
OUTPUTS = {"category_scores": "FP32", "retail_score": "FP32", "embedding": "FP32"}

_SCORES = "_scores"
_CATEGORY = "category"

# Triton 2.51.0 truncates the class count to 32 bits: 2**32 + 1 requests one class, 2**32 none.
MAX_TOP_K = 2**32 - 1

_ADVICE = "Serve the model repository of this client's release, or install the triptych-client of the server's."

R = TypeVar("R")


@dataclass(frozen=True)
class Contract:
    """The outputs of the server's `recognizer` beyond `OUTPUTS`.

    Attributes:
        attributes: the further attributes: "brand" for an output `brand_scores`.
    """

    attributes: tuple[str, ...] = ()


def check_top_k(top_k: int) -> None:
    """Raises `InvalidInput` unless `top_k` is a number of classes that the server can return."""
    if not isinstance(top_k, int) or isinstance(top_k, bool) or not 1 <= top_k <= MAX_TOP_K:
        raise InvalidInput(
            f"top_k is {top_k!r}; expected a whole number from 1 to {MAX_TOP_K}. "
            "Pass the number of labels to return, 5 for example."
        )


def check_min_score(min_score: float | None) -> None:
    """Raises `InvalidInput` unless `min_score` is None or a probability."""
    if min_score is None:
        return
    if not isinstance(min_score, (int, float)) or isinstance(min_score, bool) or not 0 <= min_score <= 1:
        raise InvalidInput(f"min_score is {min_score!r}; expected a probability from 0 to 1. Pass 0.5, for example.")


def read_contract(metadata: JsonObject, *, request_id: str) -> Contract:
    """Compares a model's metadata with the tensors that this client uses. Further inputs and outputs are allowed.

    Raises:
        ContractMismatch: a tensor is missing or has another datatype; the message names all differences.
    """
    outputs = metadata.get("outputs", [])
    differences = [
        *_differences("input", INPUTS, metadata.get("inputs", [])),
        *_differences("output", OUTPUTS, outputs),
    ]
    if differences:
        raise _mismatch(f"model {MODEL} differs from what this client expects: {'; '.join(differences)}", request_id)
    names = (output["name"] for output in outputs)
    scores = (name.removesuffix(_SCORES) for name in names if name.endswith(_SCORES))
    return Contract(attributes=tuple(name for name in scores if name != _CATEGORY))


class Task(ABC, Generic[R]):
    """One kind of request to `recognizer`: the outputs that it needs, and the results that they become."""

    name: ClassVar[str]
    is_heavy: ClassVar[bool] = False
    """Whether reading the answer takes milliseconds of processor time."""
    source: ClassVar[Source | None] = None
    """What the requests are for; None: the client says it."""

    @abstractmethod
    def outputs(self, contract: Contract) -> Iterable[RequestedOutput]:
        """The outputs to request."""

    @abstractmethod
    def read_rows(self, rows: Rows, contract: Contract, origin: dict[str, Any]) -> Iterator[R]:
        """One result for each photo; `origin` has the fields of `results.Answer`."""

    def request(self, photos: Sequence[bytes], contract: Contract, request_id: str) -> InferRequest:
        """One inference request for all `photos`."""
        outputs = tuple(self.outputs(contract))
        return InferRequest(MODEL, "image", tuple(photos), outputs, request_id, source=self.source)

    def read(self, answer: InferAnswer, request: InferRequest, contract: Contract, timing: Timing) -> list[R]:
        """The results of all photos of `request`, in its order.

        Raises:
            ContractMismatch: an output is missing, or the classes have no labels.
        """
        origin = {
            "model": MODEL,
            "model_version": answer.model_version or None,
            "request_id": request.request_id,
            "timing": timing,
        }
        return list(self.read_rows(Rows(answer, len(request.photos), request.request_id), contract, origin))


@dataclass(frozen=True)
class _WithClasses(Task[R]):
    """A task that returns classes: at most `top_k`, of at least `min_score`."""

    top_k: int = 5
    min_score: float | None = None

    def __post_init__(self) -> None:
        check_top_k(self.top_k)
        check_min_score(self.min_score)

    def outputs(self, contract: Contract) -> Iterable[RequestedOutput]:
        """See `Task`."""
        yield RequestedOutput("retail_score")
        for attribute in (_CATEGORY, *contract.attributes):
            yield RequestedOutput(attribute + _SCORES, class_count=self.top_k)

    def _classes(self, rows: Rows, contract: Contract) -> Iterator[dict[str, Any]]:
        retail_scores = rows.floats("retail_score")
        categories = rows.labels(_CATEGORY + _SCORES)
        attributes = {name: rows.labels(name + _SCORES) for name in contract.attributes}
        for row, labels in enumerate(categories):
            kept = self._kept(labels)
            yield {
                "labels": kept,
                "attributes": MappingProxyType({name: self._kept(found[row]) for name, found in attributes.items()}),
                "retail_score": float(retail_scores[row, 0]),
                "abstained": not kept,
            }

    def _kept(self, labels: tuple[Label, ...]) -> tuple[Label, ...]:
        if self.min_score is None:
            return labels
        return tuple(label for label in labels if label.score >= self.min_score)


@dataclass(frozen=True)
class Classify(_WithClasses[Classification]):
    """Returns only the classes."""

    name = "classify"

    def read_rows(self, rows: Rows, contract: Contract, origin: dict[str, Any]) -> Iterator[Classification]:
        """See `Task`."""
        for fields in self._classes(rows, contract):
            yield Classification(**fields, **origin)


@dataclass(frozen=True)
class Recognize(_WithClasses[Recognition]):
    """Returns classes and embedding of one forward pass."""

    name = "recognize"

    def outputs(self, contract: Contract) -> Iterable[RequestedOutput]:
        """See `Task`."""
        yield from super().outputs(contract)
        yield RequestedOutput("embedding")

    def read_rows(self, rows: Rows, contract: Contract, origin: dict[str, Any]) -> Iterator[Recognition]:
        """See `Task`."""
        embeddings = rows.floats("embedding")
        for row, fields in enumerate(self._classes(rows, contract)):
            yield Recognition(**fields, embedding=embeddings[row], **origin)


@dataclass(frozen=True)
class Embed(Task[Embedding]):
    """Returns only the embedding."""

    name = "embed"

    def outputs(self, contract: Contract) -> Iterable[RequestedOutput]:
        """See `Task`."""
        yield RequestedOutput("embedding")

    def read_rows(self, rows: Rows, contract: Contract, origin: dict[str, Any]) -> Iterator[Embedding]:
        """See `Task`."""
        for vector in rows.floats("embedding"):
            yield Embedding(vector=vector, **origin)


class Rows:
    """The outputs of an answer, one row for each photo."""

    def __init__(self, answer: InferAnswer, count: int, request_id: str) -> None:
        self._answer = answer
        self._count = count
        self._request_id = request_id

    def floats(self, name: str) -> npt.NDArray[np.float32]:
        """`float32[N,D]`, read-only."""
        content, shape = self._content(name, "FP32")
        if len(content) != 4 * math.prod(shape):
            raise self._mismatch(f"output {name} came with {len(content)} bytes, expected {4 * math.prod(shape)}")
        return np.frombuffer(content, np.float32).reshape(shape)

    def labels(self, name: str) -> list[tuple[Label, ...]]:
        """The classes of each row, from Triton's b"score:index:line of labels.txt"."""
        content, (_, classes) = self._content(name, "BYTES")
        entries = list(elements(content))
        if len(entries) != self._count * classes:
            raise self._mismatch(f"output {name} came with {len(entries)} classes, expected {self._count * classes}")
        labels = [self._label(entry) for entry in entries]
        return [tuple(labels[start : start + classes]) for start in range(0, len(labels), classes)]

    def _content(self, name: str, datatype: str) -> tuple[bytes | memoryview, tuple[int, int]]:
        tensor = self._answer.tensors.get(name)
        if tensor is None:
            raise self._mismatch(f"output {name} is missing from the answer")
        has_rows = len(tensor.shape) == 2 and tensor.shape[0] == self._count and tensor.shape[1] > 0
        if tensor.datatype != datatype or not has_rows:
            found = f"{tensor.datatype}{list(tensor.shape)}"
            expected = f"{datatype} with one row for each of {self._count} photos"
            raise self._mismatch(f"output {name} came back as {found}, expected {expected}")
        return tensor.content, (tensor.shape[0], tensor.shape[1])

    def _label(self, entry: bytes) -> Label:
        try:
            # Split twice only: the line itself may contain colons.
            score, index, line = entry.decode().split(":", 2)
            return Label.from_line(line, score=float(score), index=int(index))
        except ValueError as error:
            raise self._mismatch(f"a class came back as {entry!r}, expected score:index:label") from error

    def _mismatch(self, found: str) -> ContractMismatch:
        return _mismatch(found, self._request_id)


def _differences(role: str, expected: Mapping[str, str], found: Iterable[JsonObject]) -> Iterable[str]:
    datatypes = {tensor["name"]: tensor["datatype"] for tensor in found}
    for name, datatype in expected.items():
        if name not in datatypes:
            yield f"{role} {name} is missing, there is only {', '.join(datatypes) or 'none'}"
        elif datatypes[name] != datatype:
            yield f"{role} {name} is {datatypes[name]}, expected {datatype}"


def _mismatch(found: str, request_id: str) -> ContractMismatch:
    return ContractMismatch(f"{found[:1].upper()}{found[1:]}. {_ADVICE}", model=MODEL, request_id=request_id)
