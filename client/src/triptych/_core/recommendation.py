"""Recommendations: weights of a shopper's events, the request to `index`, cold starts. Performs no I/O."""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from triptych._core.calls import infer_observed
from triptych._core.protocol import InferAnswer, InferRequest, JsonObject, RequestedOutput, bytes_tensor, elements
from triptych._core.search import INDEX, OUTPUTS, Query, check_id, encoded, read_rows
from triptych._core.session import Options, Session, open_context
from triptych._core.steps import Steps
from triptych.errors import InvalidInput
from triptych.results import Recommendation, Recommendations, Timing

EventKind: TypeAlias = Literal["view", "click", "cart", "purchase"]
"""The kinds of events."""

EVENT_WEIGHTS: Mapping[str, float] = MappingProxyType({"view": 1.0, "click": 2.0, "cart": 4.0, "purchase": 8.0})
"""The weight of each kind of event in a shopper's preferences. They are chosen, not measured: a shop that knows its own
purchase rates passes `weights`."""
# The server accepts this many products; those of the least weight are left out.
_MAX_PRODUCTS = 200
_DAY_S = 86400.0


@dataclass(frozen=True)
class Event:
    """One interaction of a shopper with a product.

    Attributes:
        product_id: as in the catalogue; a product that is no longer there is skipped.
        kind: "view", "click", "cart" or "purchase".
        at: the time; a `datetime` (in this machine's time zone if it has none), or seconds since 1970.
    """

    product_id: str
    kind: EventKind
    at: datetime.datetime | float

    def __post_init__(self) -> None:
        check_id("product_id", self.product_id)
        if self.kind not in get_args(EventKind):
            raise InvalidInput(f"An event is of the kind {self.kind!r}; expected {', '.join(get_args(EventKind))}.")
        if not isinstance(self.at, datetime.datetime) and not _is_number(self.at):
            raise InvalidInput(f"An event was at {self.at!r}; expected a datetime, or seconds since 1970.")

    @property
    def at_s(self) -> float:
        """Seconds since 1970."""
        return self.at.timestamp() if isinstance(self.at, datetime.datetime) else float(self.at)


@dataclass(frozen=True)
class PreferenceOptions:
    """How events become recommendations; see `Client.recommend`."""

    half_life_days: float = 14.0
    diversity: float = 0.3
    interests: int = 3
    include_seen: bool = False
    weights: Mapping[str, float] | None = None
    now: datetime.datetime | float | None = None

    def __post_init__(self) -> None:
        if not _is_number(self.half_life_days) or not self.half_life_days > 0:
            raise InvalidInput(f"half_life_days is {self.half_life_days!r}; expected a number of days above 0.")
        if not _is_number(self.diversity) or not 0 <= self.diversity <= 1:
            raise InvalidInput(
                f"diversity is {self.diversity!r}; expected a number from 0 (similar products) to 1 (different ones)."
            )
        if not isinstance(self.interests, int) or isinstance(self.interests, bool) or not 1 <= self.interests <= 10:
            raise InvalidInput(f"interests is {self.interests!r}; expected a whole number from 1 to 10.")
        for kind, weight in (self.weights or {}).items():
            if kind not in EVENT_WEIGHTS or not _is_number(weight) or weight < 0:
                raise InvalidInput(f"weights has {kind!r}: {weight!r}; expected {', '.join(EVENT_WEIGHTS)}, 0 or more.")

    def weigh(self, events: Iterable[Event]) -> dict[str, float]:
        """Product -> weight, largest first: the sum of its events' weights, each halved every `half_life_days`."""
        by_kind = {**EVENT_WEIGHTS, **(self.weights or {})}
        now = self.now if self.now is not None else time.time()
        now_s = now.timestamp() if isinstance(now, datetime.datetime) else float(now)
        weighed: dict[str, float] = {}
        for event in events:
            if not isinstance(event, Event):
                raise InvalidInput(f"events has a {type(event).__name__}; expected triptych.Event.")
            age_days = max(0.0, (now_s - event.at_s) / _DAY_S)  # an event in the future counts as new
            weight = by_kind[event.kind] * 0.5 ** (age_days / self.half_life_days)
            weighed[event.product_id] = weighed.get(event.product_id, 0.0) + weight
        ranked = sorted(weighed.items(), key=lambda pair: -pair[1])
        return {product_id: weight for product_id, weight in ranked if weight > 1e-9}


def popular_products(events: Iterable[Event], *, half_life_days: float = 14.0, k: int = 100) -> tuple[str, ...]:
    """The products with the most recent events of all shoppers, best first: for `recommend(popular=...)`.

    Args:
        events: the events of all shoppers.
        half_life_days: the weight of an event halves in this time.
        k: the largest number of products.

    Raises:
        InvalidInput: `half_life_days` is not above 0, or `events` has something else than events.
    """
    taken = list(events)
    latest = max((event.at_s for event in taken), default=0.0)
    return tuple(PreferenceOptions(half_life_days, now=latest).weigh(taken))[:k]


def recommend(
    session: Session,
    options: Options,
    events: Sequence[Event],
    query: Query,
    preferences: PreferenceOptions,
    popular: Sequence[str],
) -> Steps[Recommendations]:
    """Requests products for the preferences that follow from the events; fills up with products of `popular`."""
    started_s = time.perf_counter()
    weighed = preferences.weigh(events)
    bought = {event.product_id for event in events if event.kind == "purchase"}
    without = bought if preferences.include_seen else {event.product_id for event in events}
    context = open_context(session, options)
    if not weighed:
        timing = Timing(total_s=time.perf_counter() - started_s, remote_s=0.0, tries=0)
        return _filled((), (), query.k, popular, without, context.request_id, timing)
    said: JsonObject = {
        "weights": dict(list(weighed.items())[:_MAX_PRODUCTS]),
        "without": sorted(without),
        "interests": preferences.interests,
        "diversity": float(preferences.diversity),
    }
    inputs = {"taste": bytes_tensor([encoded(said, "events").encode()], (1, 1)), **query.tensors()}
    outputs = (*OUTPUTS, RequestedOutput("unknown"))
    request = InferRequest(INDEX, "", (), outputs, context.request_id, inputs, source="search")
    answer, timing = yield from infer_observed(context, request, "recommend", started_s)
    found, unknown = _read(answer, request)
    return _filled(found, unknown, query.k, popular, without, context.request_id, timing)


def _read(answer: InferAnswer, request: InferRequest) -> tuple[tuple[Recommendation, ...], tuple[str, ...]]:
    rows, _ = read_rows(answer, request)
    found = tuple(
        Recommendation(
            rank,
            product_id,
            "preferences",
            similarity,
            payload.get("interest"),
            MappingProxyType(dict(payload["fields"])),
        )
        for rank, (product_id, similarity, payload) in enumerate(rows, start=1)
    )
    unknown = [element.decode() for element in elements(answer.tensors["unknown"].content)]
    return found, tuple(name for name in unknown if name)


def _filled(
    found: tuple[Recommendation, ...],
    unknown: tuple[str, ...],
    k: int,
    popular: Sequence[str],
    without: set[str],
    request_id: str,
    timing: Timing,
) -> Recommendations:
    there = {each.product_id for each in found} | without
    more = [product_id for product_id in dict.fromkeys(popular) if product_id not in there][: k - len(found)]
    filled = found + tuple(
        Recommendation(rank, product_id, "popular") for rank, product_id in enumerate(more, start=len(found) + 1)
    )
    return Recommendations(filled, unknown, request_id, timing)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
