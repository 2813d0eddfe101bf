"""Model `index`: the catalogue's photos nearest to an embedding, a product or a shopper's preferences. Owns tensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych_models.catalogue.settings import find_folder, is_distributed
from triptych_models.errors import CallerGone, Code, InvalidRequest, ServingError
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.searches import RebuildMetrics, SearchMetrics
from triptych_models.search.backend import EmbeddedBackend, SearchBackend
from triptych_models.search.index_sync import IndexSync
from triptych_models.search.limits import check_conditions, check_k, check_places, check_text
from triptych_models.search.preferences import Preferences, parse_preferences
from triptych_models.search.query import DEFAULT_K, SearchQuery, parse_query
from triptych_models.search.searcher import SearchAnswer, Searcher
from triptych_models.triton.model import Arrays, Model, ModelConfig, Request, Server

# A request has exactly one of these tensors.
SUBJECTS = ("embedding", "product_id", "taste")

# A request for more places, or for the comparison of every photo, waits behind its like and not before other searches.
QUICK_PLACES = 100


@dataclass(frozen=True)
class Row:
    """One row of a request: its search, by an embedding, by a product or by preferences."""

    subject: Any
    k: int
    query: SearchQuery

    @property
    def interests(self) -> int:
        return self.subject.interests if isinstance(self.subject, Preferences) else 1

    @property
    def is_dear(self) -> bool:
        """Whether a small number of places does not bound the row's work."""
        conditions = self.query.conditions
        is_wide = len(conditions) > 2 or any(condition.operator != "in" for condition in conditions)
        return self.query.exact or self.query.predicted_filter is not None or is_wide


class SearchModel(Model):
    """Searches the catalogue; a search sees every write that `catalogue` has acknowledged before."""

    role = "index"
    codes = (
        Code.FILTER_INVALID,
        Code.EMBEDDING_INVALID,
        Code.PRODUCT_UNKNOWN,
        Code.INDEX_INCOMPATIBLE,
        Code.CATALOGUE_UNAVAILABLE,
        Code.CATALOGUE_UNUSABLE,
        Code.QUEUE_FULL,
        Code.DEADLINE_EXCEEDED,
    )
    lanes = 2

    def __init__(self, config: ModelConfig, metrics: MetricRegistry, server: Server) -> None:
        self._fingerprint = config.files.fingerprint()
        backend = self._open_backend(config.inputs["embedding"][0], server, RebuildMetrics(metrics))
        self._searcher = Searcher(backend)
        self._metrics = SearchMetrics(metrics, backend.count_photos, backend.count_unindexed)

    def _open_backend(self, dimension: int, server: Server, rebuilds: RebuildMetrics) -> SearchBackend:
        if is_distributed():
            # A server whose catalogue is in its own folder needs no Weaviate libraries.
            from triptych_models.catalogue.weaviate_store import open_store
            from triptych_models.search.weaviate_backend import WeaviateBackend

            return WeaviateBackend(open_store(self._fingerprint))
        sync = IndexSync(find_folder(server.log), dimension, server.log, observer=rebuilds)
        sync.start()
        return EmbeddedBackend(sync, self._fingerprint)

    def lane_of(self, request: Request) -> int:
        """0 for quick requests, 1 for dear ones."""
        try:
            rows = self._read(request)
        except ServingError:
            return 0  # `answer` refuses it
        places = sum(row.k * row.interests for row in rows)
        return int(places > QUICK_PLACES or any(row.is_dear for row in rows))

    def answer(self, request: Request) -> Arrays:
        """See `Model`."""

        def check() -> None:
            if request.is_abandoned():
                raise CallerGone

        with self._metrics.timed(request.source):
            rows = self._read(request)
            answers = [self._search(row, check) for row in rows]
        for answer in answers:
            self._metrics.record_answer([hit.similarity for hit in answer.hits], request.source)
        width = max([1, *(len(answer.hits) for answer in answers)])
        padded = [
            [(hit.product_id, hit.similarity, hit.payload) for hit in answer.hits]
            + [("", -1.0, "{}" if answer.hits else self._notice(row))] * (width - len(answer.hits))
            for row, answer in zip(rows, answers, strict=True)
        ]
        return {
            "product_id": _texts([one[0] for one in row] for row in padded),
            "similarity": np.array([[one[1] for one in row] for row in padded], np.float32),
            "payload": _texts([one[2] for one in row] for row in padded),
            "fingerprint": _texts([self._fingerprint] for _ in answers),
            "unknown": _padded([answer.unknown for answer in answers]),
            "narrowed_to": _padded([answer.narrowed_to for answer in answers]),
        }

    def _notice(self, row: Row) -> str:
        """Payload of a place that no photo takes in an answer without photos: why there are none."""
        sentence = self._searcher.explain_nothing(row.query)
        return "{}" if sentence is None else json.dumps({"notice": sentence})

    def _read(self, request: Request) -> list[Row]:
        subjects = {name: array for name in SUBJECTS if (array := request.array(name)) is not None}
        if len(subjects) != 1:
            raise InvalidRequest(
                f"The request has {' and '.join(subjects) or 'none of them'}; expected one of {', '.join(SUBJECTS)}."
            )
        ((subject, values),) = subjects.items()
        ks, queries = request.array("k"), request.array("query")
        texts = [array for array in (values, queries) if array is not None and array.dtype == object]
        check_text(sum(len(text) for array in texts for text in array.reshape(-1)))
        rows = [
            Row(
                _parse_subject(subject, value),
                check_k(int(ks[row][0])) if ks is not None else DEFAULT_K,
                parse_query(queries[row][0]) if queries is not None else SearchQuery(),
            )
            for row, value in enumerate(values)
        ]
        check_places((row.k, row.interests) for row in rows)
        check_conditions(sum(len(row.query.conditions) for row in rows))
        return rows

    def _search(self, row: Row, check: Callable[[], None]) -> SearchAnswer:
        check()
        if isinstance(row.subject, str):
            return self._searcher.by_product(row.subject, row.k, row.query)
        if isinstance(row.subject, Preferences):
            return self._searcher.by_preferences(row.subject, row.k, row.query, check)
        return self._searcher.by_embedding(row.subject, row.k, row.query)


def _parse_subject(name: str, value: Any) -> Any:
    if name == "embedding":
        return value
    if name == "taste":
        return parse_preferences(value[0])
    try:
        return value[0].decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("`product_id` is not UTF-8; expected the id of a product.") from error


def _padded(rows: list[list[str]]) -> Any:
    width = max([1, *map(len, rows)])
    return _texts([*row, *[""] * (width - len(row))] for row in rows)


def _texts(rows: Iterable[Sequence[str]]) -> Any:
    return np.array([[text.encode() for text in row] for row in rows], object)
