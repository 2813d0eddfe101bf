"""How a catalogue is searched: what `searcher` and `index` are asked and how their answers read. No I/O."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from triptych.calls import Context, Options, Read, Session, Steps, one_read, open_context, tried
from triptych.errors import ContractMismatch, InvalidInput
from triptych.pixels import Box, check_box
from triptych.protocol import InferAnswer, InferRequest, JsonObject, RequestedOutput, Tensor
from triptych.recognizer import Recognize
from triptych.results import Embedding, Match, Recognition, SearchResult, Timing
from triptych.tensors import bytes_tensor, elements

if TYPE_CHECKING:
    from triptych.photo import ImageLike

SEARCHER = "searcher"
INDEX = "index"
MAX_K = 1000

Filter: TypeAlias = Mapping[str, Any]
"""Conditions on the fields of a product, all of which must hold: {"category": "Shoes", "brand": ["A", "B"], "price":
{"gte": 10, "lt": 50}, "colour": {"ne": "red"}}. A value is equality, a list any of it."""

Vector: TypeAlias = Embedding | Recognition | npt.ArrayLike
"""An embedding: what `embed` or `recognize` gave, or `float32[D]`."""

OPERATORS = ("gte", "gt", "lte", "lt", "ne", "exists")
OUTPUTS = tuple(map(RequestedOutput, ("product_id", "similarity", "payload", "fingerprint")))
# Labels of a photo that may narrow a search; the rest is a few per cent.
_PREDICTED = 5
_ADVICE = "Serve the model repository of this client's release, or install the triptych-client of the server's."


@dataclass(frozen=True)
class Query:
    """What of the catalogue is wanted; see `Client.search`."""

    k: int = 10
    filter: Filter | None = None
    min_similarity: float | None = None
    group_by_product: bool = True
    exact: bool = field(default=False)
    narrow_by: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or not 1 <= self.k <= MAX_K:
            raise InvalidInput(f"k is {self.k!r}; expected a whole number of results from 1 to {MAX_K}.")
        limit = self.min_similarity
        is_number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
        if limit is not None and not (is_number and -1 <= limit <= 1):
            raise InvalidInput(f"min_similarity is {limit!r}; expected a cosine from -1 to 1, 0.5 for example.")
        if self.filter is not None:
            check_filter(self.filter)
        if self.narrow_by is not None and (not isinstance(self.narrow_by, str) or not self.narrow_by):
            raise InvalidInput(f"narrow_by is {self.narrow_by!r}; expected a field of the products, 'category' say.")

    def tensors(self, predicted: Mapping[str, float] | None = None) -> dict[str, Tensor]:
        """As inputs of a model that takes batches, for one request.

        Args:
            predicted: of the photo: value of the field `narrow_by` -> probability.
        """
        said: JsonObject = {"group_by_product": self.group_by_product}
        if self.filter:
            said["filter"] = dict(self.filter)
        if self.min_similarity is not None:
            said["min_similarity"] = float(self.min_similarity)
        if self.exact:
            said["exact"] = True
        if self.narrow_by is not None:
            said["narrow"] = {"field": self.narrow_by, "predicted": dict(predicted or {})}
        return {
            "k": Tensor("INT32", (1, 1), struct.pack("<i", self.k)),
            "query": bytes_tensor([encoded(said, "filter").encode()], (1, 1)),
        }


def check_filter(conditions: Filter) -> None:
    """Raises `InvalidInput` for what no server could read; which fields there are, the server knows."""
    if not isinstance(conditions, Mapping):
        raise InvalidInput(
            f"filter is a {type(conditions).__name__}; expected conditions by field: {{'category': 'Shoes', 'price': "
            "{'lt': 50}}."
        )
    for name, condition in conditions.items():
        if not isinstance(name, str):
            raise InvalidInput(f"filter names the field {name!r}; expected text.")
        unknown = [each for each in condition if each not in OPERATORS] if isinstance(condition, Mapping) else []
        if unknown:
            raise InvalidInput(
                f"filter has the operator {unknown[0]!r} for {name!r}; expected one of {', '.join(OPERATORS)}, a value "
                "or a list of values."
            )


def search(session: Session, options: Options, image: ImageLike, query: Query, box: Box | None) -> Steps[SearchResult]:
    """Reads one photo, or the part of it in `box`, and searches with it."""
    check_box(box)
    started_s = time.perf_counter()
    content = yield Read(image, box)
    if query.narrow_by is None:
        return (yield from search_content(session, options, content, query, started_s))
    recognition = yield from one_read(session, options, Recognize(top_k=_PREDICTED), content)
    return (yield from search_vector(session, options, recognition, query, started_s))


def search_content(
    session: Session, options: Options, content: bytes, query: Query, started_s: float
) -> Steps[SearchResult]:
    """Searches with an encoded photo."""
    context = open_context(session, options)
    request = InferRequest(SEARCHER, "image", (content,), OUTPUTS, context.request_id, query.tensors())
    return _read(*(yield from answered(context, request, "search", started_s)), request)


def search_vector(
    session: Session, options: Options, embedding: Vector, query: Query, started_s: float | None = None
) -> Steps[SearchResult]:
    """Searches with an embedding; what was recognised beside it counts where the search is narrowed."""
    started_s = time.perf_counter() if started_s is None else started_s
    row = vector_of(embedding)
    context = open_context(session, options)
    predicted = _predict(embedding, query.narrow_by) if isinstance(embedding, Recognition) else {}
    inputs = {"embedding": Tensor("FP32", (1, row.size), row.tobytes()), **query.tensors(predicted)}
    outputs = OUTPUTS if query.narrow_by is None else (*OUTPUTS, RequestedOutput("narrowed_to"))
    request = InferRequest(INDEX, "", (), outputs, context.request_id, inputs)
    return _read(*(yield from answered(context, request, "search_embedding", started_s)), request)


def _predict(recognition: Recognition, narrow_by: str | None) -> dict[str, float]:
    """Value of the field -> probability: of the attribute of that name, or of the categories."""
    labels = recognition.attributes.get(narrow_by or "", recognition.labels if narrow_by == "category" else ())
    predicted: dict[str, float] = {}
    for label in labels:
        # A shop calls its categories like the model's classes, or like the retail categories these are in.
        for name in {label.name, label.category or label.name}:
            predicted[name] = min(1.0, predicted.get(name, 0.0) + label.score)
    return predicted


def search_product(session: Session, options: Options, product_id: str, query: Query) -> Steps[SearchResult]:
    """Searches with the photos of a product in the catalogue, which the server leaves out itself."""
    check_id("product_id", product_id)
    context = open_context(session, options)
    inputs = {"product_id": bytes_tensor([product_id.encode()], (1, 1)), **query.tensors()}
    request = InferRequest(INDEX, "", (), OUTPUTS, context.request_id, inputs)
    return _read(*(yield from answered(context, request, "similar_to", time.perf_counter())), request)


def check_id(name: str, value: object) -> None:
    """Raises `InvalidInput` unless `value` is text with something in it."""
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{name} is {value!r}; expected text that names a product in the catalogue, 'sku-17' say.")


def vector_of(embedding: Vector) -> npt.NDArray[np.float32]:
    """`float32[D]`; raises `InvalidInput` for what is no embedding."""
    given: Any = embedding
    if isinstance(given, Recognition):
        given = given.embedding
    try:
        vector = np.ascontiguousarray(given, dtype="<f4")
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"This is no embedding: got a {type(embedding).__name__}; expected float32[D].") from error
    if vector.ndim != 1 or not vector.size:
        raise InvalidInput(
            f"This is no embedding: got an array {list(vector.shape)}; expected float32[D]. Pass one a call."
        )
    if not np.isfinite(vector).all() or not vector.any():
        raise InvalidInput("This embedding has no direction: it is all zero, or holds NaN or infinity.")
    return vector


def answered(context: Context, request: InferRequest, name: str, started_s: float) -> Steps[tuple[InferAnswer, Timing]]:
    """The server's answer to one request, told to the observers as the call `name`."""
    observers = context.session.observers
    for observer in observers:
        observer.started(name)
    error: BaseException | None = None
    asked_s = time.perf_counter()
    try:
        reply = yield from tried(context, request)
        timing = Timing(total_s=time.perf_counter() - started_s, remote_s=reply.remote_s, tries=reply.tries)
        return reply.answer, timing
    except BaseException as caught:
        error = caught
        raise
    finally:
        for observer in observers:
            observer.ended(name, time.perf_counter() - asked_s, error)


def read_rows(answer: InferAnswer, request: InferRequest) -> tuple[list[tuple[str, float, JsonObject]], str]:
    """product_id, similarity and payload of each result, and the fingerprint.

    Raises:
        ContractMismatch: it is no such answer.
    """
    try:
        ids, payloads, fingerprints = (
            [element.decode() for element in elements(answer.tensors[name].content)]
            for name in ("product_id", "payload", "fingerprint")
        )
        similarities = np.frombuffer(answer.tensors["similarity"].content, "<f4")
        rows = list(zip(ids, similarities.tolist(), map(json.loads, payloads), strict=True))
        # A row without a product is padding: Triton has no tensors without rows.
        return [row for row in rows if row[0]], fingerprints[0]
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise ContractMismatch(
            f"Model {request.model} answered with something else than results ({error!r}). {_ADVICE}",
            model=request.model,
            request_id=request.request_id,
        ) from error


def _read(answer: InferAnswer, timing: Timing, request: InferRequest) -> SearchResult:
    rows, fingerprint = read_rows(answer, request)
    return SearchResult(
        matches=tuple(_match(rank, *row) for rank, row in enumerate(rows, start=1)),
        fingerprint=fingerprint,
        narrowed_to=_names(answer, "narrowed_to"),
        model=request.model,
        model_version=answer.model_version or None,
        request_id=request.request_id,
        timing=timing,
    )


def _names(answer: InferAnswer, output: str) -> tuple[str, ...]:
    if output not in answer.tensors:
        return ()
    return tuple(name for each in elements(answer.tensors[output].content) if (name := each.decode()))


def _match(rank: int, product_id: str, similarity: float, payload: JsonObject) -> Match:
    return Match(
        rank,
        product_id,
        str(payload.get("photo_id", product_id)),
        similarity,
        MappingProxyType(dict(payload.get("fields") or {})),
        payload.get("image_digest"),
        payload.get("phash"),
    )


def encoded(value: object, name: str) -> str:
    """As JSON; raises `InvalidInput` for what JSON does not have."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{name} cannot be written as JSON ({error}); expected text, numbers, true or false, and lists of them."
        ) from error
