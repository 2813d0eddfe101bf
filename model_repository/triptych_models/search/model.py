"""Model `index`: the catalogue's photos nearest to an embedding, a product or a shopper's preferences. Owns tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from triptych_models.catalogue.settings import find_folder, is_distributed
from triptych_models.errors import Code, InvalidRequest
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.searches import RebuildMetrics, SearchMetrics
from triptych_models.search.backend import EmbeddedBackend, SearchBackend
from triptych_models.search.index_sync import IndexSync
from triptych_models.search.preferences import parse_preferences
from triptych_models.search.query import DEFAULT_K, SearchQuery, check_k, parse_query
from triptych_models.search.searcher import SearchAnswer, Searcher
from triptych_models.triton.model import Arrays, Model, ModelConfig, Request, Server

# A request has exactly one of these tensors.
SUBJECTS = ("embedding", "product_id", "taste")


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
    )

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

    def answer(self, request: Request) -> Arrays:
        """See `Model`."""
        with self._metrics.timed():
            answers = [self._search(*row) for row in self._read(request)]
        for answer in answers:
            self._metrics.record_answer([hit.similarity for hit in answer.hits])
        width = max([1, *(len(answer.hits) for answer in answers)])
        padded = [
            [(hit.product_id, hit.similarity, hit.payload) for hit in answer.hits]
            + [("", -1.0, "{}")] * (width - len(answer.hits))
            for answer in answers
        ]
        return {
            "product_id": _texts([one[0] for one in row] for row in padded),
            "similarity": np.array([[one[1] for one in row] for row in padded], np.float32),
            "payload": _texts([one[2] for one in row] for row in padded),
            "fingerprint": _texts([self._fingerprint] for _ in answers),
            "unknown": _padded([answer.unknown for answer in answers]),
            "narrowed_to": _padded([answer.narrowed_to for answer in answers]),
        }

    def _read(self, request: Request) -> list[tuple[str, Any, int, SearchQuery]]:
        """For each row of the request: the search tensor's name and value, k, and the query."""
        subjects = {name: array for name in SUBJECTS if (array := request.array(name)) is not None}
        if len(subjects) != 1:
            raise InvalidRequest(
                f"The request has {' and '.join(subjects) or 'none of them'}; expected one of {', '.join(SUBJECTS)}."
            )
        ((subject, values),) = subjects.items()
        ks, queries = request.array("k"), request.array("query")
        return [
            (
                subject,
                value,
                check_k(int(ks[row][0])) if ks is not None else DEFAULT_K,
                parse_query(queries[row][0]) if queries is not None else SearchQuery(),
            )
            for row, value in enumerate(values)
        ]

    def _search(self, subject: str, value: Any, k: int, query: SearchQuery) -> SearchAnswer:
        if subject == "embedding":
            return self._searcher.by_embedding(value, k, query)
        if subject == "product_id":
            return self._searcher.by_product(value[0].decode(errors="replace"), k, query)
        return self._searcher.by_preferences(parse_preferences(value[0]), k, query)


def _padded(rows: list[list[str]]) -> Any:
    width = max([1, *map(len, rows)])
    return _texts([*row, *[""] * (width - len(row))] for row in rows)


def _texts(rows: Iterable[Sequence[str]]) -> Any:
    return np.array([[text.encode() for text in row] for row in rows], object)
