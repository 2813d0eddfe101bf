"""The options of a search: the JSON of tensor `query`. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from triptych_models.catalogue.filters import Condition, parse_filter
from triptych_models.errors import InvalidRequest, quoted
from triptych_models.json_objects import parse_object, refuse_unknown
from triptych_models.search.predicted_filter import PredictedFilter, parse_predicted_filter

DEFAULT_K = 10


@dataclass(frozen=True)
class SearchQuery:
    """Options of a search.

    Attributes:
        conditions: conditions that a photo's fields must all meet.
        min_similarity: cosine below which no photo is returned.
        group_by_product: returns only the nearest photo of each product.
        exact: compares every photo instead of using the HNSW index.
        predicted_filter: restricts the search to the categories predicted for the photo.
    """

    conditions: tuple[Condition, ...] = ()
    min_similarity: float = -1.0
    group_by_product: bool = True
    exact: bool = False
    predicted_filter: PredictedFilter | None = None


def parse_query(text: bytes) -> SearchQuery:
    """Parses tensor `query`.

    Raises:
        InvalidRequest: the text is not a valid query; the message names the key.
    """
    options = parse_object(text, "query")
    filter_ = options.pop("filter", {})
    conditions = parse_filter({} if filter_ is None else filter_)
    minimum = options.pop("min_similarity", None)
    if minimum is None:
        minimum = -1.0
    elif isinstance(minimum, bool) or not isinstance(minimum, int | float) or not -1 <= minimum <= 1:
        raise InvalidRequest(f"`min_similarity` is {quoted(minimum)}; expected a number from -1 to 1.")
    flags = {"group_by_product": True, "exact": False}
    for name in flags:
        value = options.pop(name, flags[name])
        if not isinstance(value, bool):
            raise InvalidRequest(f"`{name}` is {quoted(value)}; expected true or false.")
        flags[name] = value
    narrow = options.pop("narrow", None)
    predicted_filter = None if narrow is None else parse_predicted_filter(narrow)
    refuse_unknown(options, "query", ("filter", "min_similarity", "narrow", *flags))
    return SearchQuery(conditions, float(minimum), predicted_filter=predicted_filter, **flags)
