"""Photos of the catalogue nearest to an embedding, or to a product. Owns the tensors alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from catalogue_errors import IncompatibleIndex, InvalidRequest
from catalogue_folder import find_folder, fingerprint
from engine import Question
from filters import check_fields
from follower import Follower
from queries import DEFAULT_K, Query, check_k, parse_query

# Metrics are those of the fused model.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "recognizer/1"))
# That folder may be in a release, which must stay as its manifest says.
sys.dont_write_bytecode = True

from search_metrics import SearchMetrics  # noqa: E402

from publisher import Publisher, open_meter  # noqa: E402


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        (embedding,) = [tensor for tensor in config["input"] if tensor["name"] == "embedding"]
        self.dimension = int(embedding["dims"][0])
        log = pb_utils.Logger.log_info
        try:
            self.fingerprint = fingerprint()
            self.follower = Follower(find_folder(log), self.dimension, log)
        except Exception as error:
            raise pb_utils.TritonModelException(f"index: {error}") from error
        self.follower.start()
        meter = open_meter("index", config)
        self.metrics = SearchMetrics(meter, self._count_photos, self._count_unindexed)
        Publisher(meter).start()

    def _count_photos(self) -> int:
        return int(self.follower.engine.vectors.alive.sum())

    def _count_unindexed(self) -> int:
        engine = self.follower.engine
        return int(engine.vectors.alive[engine.graph_rows :].sum())

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            with self.metrics.timed():
                rows = [self._search(*row) for row in self._read(request)]
        except Exception as error:
            return pb_utils.InferenceResponse(error=self._refuse(error))
        for row in rows:
            self.metrics.record_answer([one[1] for one in row])
        width = max(1, *map(len, rows)) if rows else 1
        padded = [row + [("", -1.0, "{}")] * (width - len(row)) for row in rows]
        columns = {
            "product_id": np.array([[one[0].encode() for one in row] for row in padded], object),
            "similarity": np.array([[one[1] for one in row] for row in padded], np.float32),
            "payload": np.array([[one[2].encode() for one in row] for row in padded], object),
            "fingerprint": np.array([[self.fingerprint.encode()]] * len(rows), object),
        }
        return pb_utils.InferenceResponse(
            output_tensors=[pb_utils.Tensor(name, column) for name, column in columns.items()]
        )

    def _read(self, request: Any) -> list[tuple[Any, str | None, int, Query]]:
        """Embedding or product_id, k, query of each row of the request."""
        tensors = {name: _rows(request, name) for name in ("embedding", "product_id", "k", "query")}
        given = [name for name in ("embedding", "product_id") if tensors[name] is not None]
        if len(given) != 1:
            raise InvalidRequest(
                f"The request has {' and '.join(given) or 'neither'}: expected embedding or product_id."
            )
        rows = []
        for number, value in enumerate(tensors[given[0]]):
            k = check_k(int(tensors["k"][number][0])) if tensors["k"] is not None else DEFAULT_K
            query = parse_query(tensors["query"][number][0]) if tensors["query"] is not None else Query()
            is_embedding = given[0] == "embedding"
            rows.append((_unit(value) if is_embedding else None, None if is_embedding else value[0].decode(), k, query))
        return rows

    def _search(self, embedding: Any, product_id: str | None, k: int, query: Query) -> list[tuple[str, float, str]]:
        follower = self.follower
        with follower.lock():
            follower.catch_up()
            store = follower.store
            stored = store.meta("fingerprint")
            if stored and stored != self.fingerprint and follower.engine.vectors.alive.any():
                advice = "Embed the catalogue again with this network, or serve the network it was made with."
                raise IncompatibleIndex("the catalogue", stored, self.fingerprint, advice)
            check_fields(query.conditions, store.field_names() if query.conditions else ())
            allowed = store.select(query.conditions) if query.conditions else None
            without = None
            if product_id is not None:
                embedding, without = self._embedding_of(product_id)
            nearest = follower.engine.search(
                Question(embedding, k, allowed, query.min_similarity, query.group_by_product, query.exact, without)
            )
            rows = store.rows(nearest.ids.tolist())
        return [
            (
                rows[id_][0],
                float(similarity),
                json.dumps({"photo_id": rows[id_][1], "fields": json.loads(rows[id_][2])}),
            )
            for id_, similarity in zip(nearest.ids.tolist(), nearest.similarities, strict=True)
        ]

    def _embedding_of(self, product_id: str) -> tuple[Any, int]:
        """The mean direction of a product's photos, and the product's key."""
        photos = self.follower.store.get(product_id)
        if not photos:
            raise InvalidRequest(f"No product has the id {product_id!r}. Add it with `catalogue`, or check the id.")
        vectors = self.follower.engine.vectors
        (row,) = vectors.rows_of(np.array([photos[0].id]))
        return _unit(np.mean([photo.embedding for photo in photos], axis=0)), int(vectors.products[row])

    def _refuse(self, error: Exception) -> Any:
        if hasattr(error, "reason"):
            return pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
        pb_utils.Logger.log_error(f"index failed: {type(error).__name__}: {error}")
        return pb_utils.TritonError(f"index failed: {error}", pb_utils.TritonError.INTERNAL)


def _rows(request: Any, name: str) -> Any:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def _unit(embedding: Any) -> Any:
    length = float(np.linalg.norm(embedding))
    if not np.isfinite(length) or length == 0:
        raise InvalidRequest("The embedding has no direction: expected finite numbers, not all of them 0.")
    return np.asarray(embedding / length, np.float32)
