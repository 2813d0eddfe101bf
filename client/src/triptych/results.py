"""The results of the calls, as plain values. Must not import gRPC or tritonclient."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from triptych.errors import TriptychError

__all__ = [
    "Classification",
    "Embedding",
    "Explanation",
    "Item",
    "Label",
    "Match",
    "MatchDecision",
    "Recognition",
    "Recommendation",
    "Recommendations",
    "SearchResult",
    "Timing",
    "Verdict",
]

_CATEGORY_SEPARATOR = " / "

Verdict: TypeAlias = Literal["match", "uncertain", "no_match"]

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Label:
    """One class the model recognised.

    Attributes:
        name: the class in words, as in "running shoe".
        category: the retail category, as in "Shoes", or None when a shop does not sell this class.
        score: its probability, 0 to 1.
        index: its index among the model's classes.
    """

    name: str
    category: str | None
    score: float
    index: int

    @classmethod
    def from_line(cls, line: str, *, score: float, index: int) -> Label:
        """Splits a line of `labels.txt`: "Shoes / running shoe", or "tabby cat" when it is no product."""
        category, separator, name = line.partition(_CATEGORY_SEPARATOR)
        if not separator:
            return cls(name=line, category=None, score=score, index=index)
        return cls(name=name, category=category, score=score, index=index)

    def __str__(self) -> str:
        return self.name if self.category is None else f"{self.category}{_CATEGORY_SEPARATOR}{self.name}"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the parts of one call took, in seconds.

    Attributes:
        total_s: from the call to its result.
        remote_s: the wait for the answer that was used: network, queue and server. Triton's answers do not break it
            down; `Client.statistics()` has the server's means.
        client_s: the rest: reading and encoding the photo, decoding the answer, failed tries and the pauses after them.
        tries: how many times the request was sent.
    """

    total_s: float
    remote_s: float
    tries: int

    @property
    def client_s(self) -> float:
        """See the class."""
        return self.total_s - self.remote_s


# The classes below compare by identity: `==` between arrays gives an array.
@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answer:
    """The origin of a result.

    Attributes:
        model: the model that answered.
        model_version: its version, or None when the server does not say.
        request_id: the id under which the server knows the request; photos sent in one batch share it.
        timing: of the request that carried the photo.
    """

    model: str
    model_version: str | None
    request_id: str
    timing: Timing


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Classification(Answer):
    """The classes of one photo.

    Attributes:
        labels: the best classes, best first; those below `min_score` are left out.
        attributes: the same for each further attribute the server's model knows: {"brand": (Label, ...)}.
        retail_score: probability that the photo shows something a shop sells, 0 to 1.
        abstained: whether no class reached `min_score`.
    """

    labels: tuple[Label, ...]
    attributes: Mapping[str, tuple[Label, ...]] = field(default_factory=lambda: MappingProxyType({}))
    retail_score: float
    abstained: bool

    @property
    def top(self) -> Label | None:
        """The best label; None when abstained."""
        return self.labels[0] if self.labels else None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Embedding(Answer):
    """The embedding of one photo.

    Attributes:
        vector: `float32[D]`, L2 norm 1, read-only (`.copy()` it to change it). D is the backbone's, 1280 by default.
    """

    vector: npt.NDArray[np.float32] = field(repr=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """The vector, so that numpy takes the result itself."""
        return np.array(self.vector, dtype=dtype) if copy else np.asarray(self.vector, dtype=dtype)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Recognition(Classification):
    """The classes and the embedding of one photo.

    Attributes:
        embedding: `float32[D]`, L2 norm 1, read-only (`.copy()` it to change it). D is the backbone's, 1280 by default.
    """

    embedding: npt.NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Item(Generic[R_co]):
    """One photo of many: its result or its error.

    Attributes:
        index: its position in the iterable, from 0.
        source: the photo as it was given.
        value: the result, or None when it failed.
        error: why it failed, or None.
    """

    index: int
    source: Any = field(repr=False)
    value: R_co | None = None
    error: TriptychError | None = None

    def result(self) -> R_co:
        """The value; raises the error where there is one."""
        if self.error is not None:
            raise self.error
        assert self.value is not None
        return self.value


@dataclass(frozen=True, slots=True)
class Match:
    """One product, or one photo of it, that is similar to the query.

    Attributes:
        rank: its position in the results, from 1.
        product_id: as in the catalogue.
        photo_id: of the most similar photo.
        similarity: cosine of the embeddings, -1 to 1.
        fields: the photo's fields in the catalogue: {"category": "Shoes", ...}.
        image_digest: sha256 of the photo's bytes, where the server returns it.
        phash: perceptual hash of the photo, 64 bits as hex, where the server returns it.
    """

    rank: int
    product_id: str
    photo_id: str
    similarity: float
    fields: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    image_digest: str | None = None
    phash: str | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SearchResult(Answer):
    """The matches in a catalogue, most similar first.

    Attributes:
        matches: empty where no photo passes the filter and `min_similarity`.
        fingerprint: of the embedder that embedded the catalogue and the query.
        predicted_values: values of the field `predicted_filter` that come first in the matches, most probable first;
            empty without a predicted filter.
    """

    matches: tuple[Match, ...]
    fingerprint: str
    predicted_values: tuple[str, ...] = ()

    @property
    def top(self) -> Match | None:
        """The most similar match; None where there is none."""
        return self.matches[0] if self.matches else None

    @property
    def narrowed_to(self) -> tuple[str, ...]:
        """Deprecated name of `predicted_values`; removed in the next release."""
        warnings.warn("SearchResult.narrowed_to is deprecated: use predicted_values.", DeprecationWarning, stacklevel=2)
        return self.predicted_values


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Explanation(Answer):
    """The regions of a photo that are evidence for a label.

    Attributes:
        attribute: "category", or another the server's model knows.
        label: the explained label, with its score.
        heat_map: `float32[H,W]`, 7 x 7 by default, over the square that `seen` gives: how much each cell adds to the
            label's score; a cell below 0 is evidence against the label.
        crop_ratio: side of that square over the photo's short side.
    """

    attribute: str
    label: Label
    heat_map: npt.NDArray[np.float32] = field(repr=False)
    crop_ratio: float

    def seen(self, width_px: int, height_px: int) -> tuple[int, int, int, int]:
        """The square of an upright photo of this size that the network received: left, top, right, bottom in pixels."""
        side_px = max(1, round(min(width_px, height_px) * self.crop_ratio))
        left, top = (width_px - side_px) // 2, (height_px - side_px) // 2
        return left, top, left + side_px, top + side_px


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One recommended product.

    Attributes:
        rank: its position, from 1.
        product_id: as in the catalogue.
        source: "preferences": similar to products of the events; "popular": from the list that was passed.
        similarity: cosine with the interest that it belongs to; None for a popular product.
        interest: number of that interest, 0 the strongest; None for a popular product.
        fields: the product's fields in the catalogue; empty for a popular product.
    """

    rank: int
    product_id: str
    source: Literal["preferences", "popular"]
    similarity: float | None = None
    interest: int | None = None
    fields: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, eq=False)
class Recommendations:
    """Recommended products, best first.

    Attributes:
        products: fewer than `k` where the catalogue, the filter and the popular products give no more.
        unknown: products of the events that are not in the catalogue.
        request_id: the id under which the server knows the request.
        timing: of the request; 0 tries where only popular products were used and no request was sent.
    """

    products: tuple[Recommendation, ...]
    unknown: tuple[str, ...]
    request_id: str
    timing: Timing


@dataclass(frozen=True, slots=True, eq=False)
class MatchDecision:
    """Whether a photo shows a product that the catalogue has.

    Attributes:
        verdict: "match", "uncertain" or "no_match".
        reason: the evidence in words.
        method: what decided: "digest", "phash" or "embedding".
        match: the matching product; the nearest one where there is no match, None where the catalogue is empty.
        candidates: all photos that were compared, most similar first.
    """

    verdict: Verdict
    reason: str
    method: str
    match: Match | None
    candidates: tuple[Match, ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        """Whether it is a match."""
        return self.verdict == "match"
