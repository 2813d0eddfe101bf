"""Search of the catalogue: the requests to `searcher` and `index`, and their answers. Performs no I/O."""

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

from triptych._core.calls import infer_content, infer_observed
from triptych._core.protocol import (
    InferAnswer,
    InferRequest,
    JsonObject,
    RequestedOutput,
    Tensor,
    bytes_tensor,
    elements,
)
from triptych._core.recognition import Recognize
from triptych._core.session import Options, Session, open_context
from triptych._core.steps import Read, Steps
from triptych._images.pixels import Box, check_box
from triptych.errors import ContractMismatch, InvalidInput
from triptych.results import Embedding, Match, Recognition, SearchResult, Timing

if TYPE_CHECKING:
    from triptych._images.photo import ImageLike

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
# Labels of a photo that a predicted filter uses; the others have a few per cent of the probability.
_PREDICTED = 5
_ADVICE = "Serve the model repository of this client's release, or install the triptych-client of the server's."


@dataclass(frozen=True)
class Query:
    """A query of the catalogue; see `Client.search`."""

    k: int = 10
    filter: Filter | None = None
    min_similarity: float | None = None
    group_by_product: bool = True
    exact: bool = field(default=False)
    predicted_filter: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or not 1 <= self.k <= MAX_K:
            raise InvalidInput(f"k is {self.k!r}; expected a whole number of results from 1 to {MAX_K}.")
        limit = self.min_similarity
        is_number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
        if limit is not None and not (is_number and -1 <= limit <= 1):
            raise InvalidInput(f"min_similarity is {limit!r}; expected a cosine from -1 to 1, 0.5 for example.")
        if self.filter is not None:
            check_filter(self.filter)
        field_name = self.predicted_filter
        if field_name is not None and (not isinstance(field_name, str) or not field_name):
            raise InvalidInput(
                f"predicted_filter is {field_name!r}; expected the name of a field of the products, for example "
                "'category'."
            )

    def tensors(self, predicted: Mapping[str, float] | None = None) -> dict[str, Tensor]:
        """The input tensors of one request.

        Args:
            predicted: value of the field `predicted_filter` -> its probability for the photo.
        """
        said: JsonObject = {"group_by_product": self.group_by_product}
        if self.filter:
            said["filter"] = dict(self.filter)
        if self.min_similarity is not None:
            said["min_similarity"] = float(self.min_similarity)
        if self.exact:
            said["exact"] = True
        if self.predicted_filter is not None:
            said["narrow"] = {"field": self.predicted_filter, "predicted": dict(predicted or {})}
        return {
            "k": Tensor("INT32", (1, 1), struct.pack("<i", self.k)),
            "query": bytes_tensor([encoded(said, "filter").encode()], (1, 1)),
        }


class _RecognizeQuery(Recognize):
    """The recognition of a photo to search with."""

    source = "search"


def check_filter(conditions: Filter) -> None:
    """Raises `InvalidInput` for a filter that no server can read; the server checks the names of the fields."""
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
    if query.predicted_filter is None:
        return (yield from search_content(session, options, content, query, started_s))
    recognition = yield from infer_content(session, options, _RecognizeQuery(top_k=_PREDICTED), content)
    return (yield from search_vector(session, options, recognition, query, started_s))


def search_content(
    session: Session, options: Options, content: bytes, query: Query, started_s: float
) -> Steps[SearchResult]:
    """Searches with an encoded photo."""
    context = open_context(session, options)
    request = InferRequest(SEARCHER, "image", (content,), OUTPUTS, context.request_id, query.tensors(), source="search")
    return _read(*(yield from infer_observed(context, request, "search", started_s)), request)


def search_vector(
    session: Session, options: Options, embedding: Vector, query: Query, started_s: float | None = None
) -> Steps[SearchResult]:
    """Searches with an embedding. A predicted filter uses the labels where a `Recognition` is given."""
    started_s = time.perf_counter() if started_s is None else started_s
    row = vector_of(embedding)
    context = open_context(session, options)
    predicted = _predict(embedding, query.predicted_filter) if isinstance(embedding, Recognition) else {}
    inputs = {"embedding": Tensor("FP32", (1, row.size), row.tobytes()), **query.tensors(predicted)}
    outputs = OUTPUTS if query.predicted_filter is None else (*OUTPUTS, RequestedOutput("narrowed_to"))
    request = InferRequest(INDEX, "", (), outputs, context.request_id, inputs, source="search")
    return _read(*(yield from infer_observed(context, request, "search_embedding", started_s)), request)


def _predict(recognition: Recognition, field_name: str | None) -> dict[str, float]:
    """Value of the field -> probability: of the attribute of that name, or of the categories."""
    labels = recognition.attributes.get(field_name or "", recognition.labels if field_name == "category" else ())
    predicted: dict[str, float] = {}
    for label in labels:
        # A shop names its categories like the model's classes, or like the retail categories of these classes.
        for name in {label.name, label.category or label.name}:
            predicted[name] = min(1.0, predicted.get(name, 0.0) + label.score)
    return predicted


def search_product(session: Session, options: Options, product_id: str, query: Query) -> Steps[SearchResult]:
    """Searches with the photos of a product in the catalogue; the server leaves this product out of the results."""
    check_id("product_id", product_id)
    context = open_context(session, options)
    inputs = {"product_id": bytes_tensor([product_id.encode()], (1, 1)), **query.tensors()}
    request = InferRequest(INDEX, "", (), OUTPUTS, context.request_id, inputs, source="search")
    return _read(*(yield from infer_observed(context, request, "similar_to", time.perf_counter())), request)


def check_id(name: str, value: object) -> None:
    """Raises `InvalidInput` unless `value` is a text of at least one character."""
    if not isinstance(value, str) or not value:
        raise InvalidInput(
            f"{name} is {value!r}; expected text that names a product in the catalogue, for example 'sku-17'."
        )


def vector_of(embedding: Vector) -> npt.NDArray[np.float32]:
    """The embedding as `float32[D]`; raises `InvalidInput` where it is none."""
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


def read_rows(answer: InferAnswer, request: InferRequest) -> tuple[list[tuple[str, float, JsonObject]], str]:
    """product_id, similarity and payload of each result, and the fingerprint.

    Raises:
        ContractMismatch: the answer has not these outputs.
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
            f"Model {request.model} returned something else than search results ({error!r}). {_ADVICE}",
            model=request.model,
            request_id=request.request_id,
        ) from error


def _read(answer: InferAnswer, timing: Timing, request: InferRequest) -> SearchResult:
    rows, fingerprint = read_rows(answer, request)
    return SearchResult(
        matches=tuple(_match(rank, *row) for rank, row in enumerate(rows, start=1)),
        fingerprint=fingerprint,
        predicted_values=_names(answer, "narrowed_to"),
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
    """The value as JSON; raises `InvalidInput` where JSON cannot express it."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{name} cannot be written as JSON ({error}); expected text, numbers, true or false, and lists of them."
        ) from error
