"""Photos of the catalogue nearest to an embedding, a product or a taste. Owns the tensors alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from catalogue_errors import EngineUnavailable, InvalidRequest
from catalogue_folder import find_folder, fingerprint, is_distributed
from follower import Follower
from queries import DEFAULT_K, Query, check_k, parse_query
from searches import Answer, Searches
from shelf import EmbeddedShelf, Shelf
from tastes import parse_taste

# Metrics are those of the fused model.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "recognizer/1"))
# That folder may be in a release, which must stay as its manifest says.
sys.dont_write_bytecode = True

from publisher import Publisher, open_meter  # noqa: E402
from search_metrics import SearchMetrics  # noqa: E402

# One of them is what is searched with.
GIVEN = ("embedding", "product_id", "taste")


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        (embedding,) = [tensor for tensor in config["input"] if tensor["name"] == "embedding"]
        self.dimension = int(embedding["dims"][0])
        log = pb_utils.Logger.log_info
        try:
            self.fingerprint = fingerprint()
            shelf = self._open_shelf(log)
        except Exception as error:
            raise pb_utils.TritonModelException(f"index: {error}") from error
        self.searches = Searches(shelf)
        meter = open_meter("index", config)
        self.metrics = SearchMetrics(meter, shelf.count_photos, shelf.count_unindexed)
        Publisher(meter).start()

    def _open_shelf(self, log: Any) -> Shelf:
        if is_distributed():
            # Its libraries are not there, and not needed, where the catalogue is in this server's folder.
            from weaviate_store import open_named

            return open_named(self.fingerprint)
        follower = Follower(find_folder(log), self.dimension, log)
        follower.start()
        return EmbeddedShelf(follower, self.fingerprint)

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            with self.metrics.timed():
                answers = [self._search(*row) for row in self._read(request)]
        except Exception as error:
            return pb_utils.InferenceResponse(error=self._refuse(error))
        for answer in answers:
            self.metrics.record_answer([photo.similarity for photo in answer.photos])
        width = max([1, *(len(answer.photos) for answer in answers)])
        padded = [
            [(photo.product_id, photo.similarity, photo.payload) for photo in answer.photos]
            + [("", -1.0, "{}")] * (width - len(answer.photos))
            for answer in answers
        ]
        columns = {
            "product_id": _texts([one[0] for one in row] for row in padded),
            "similarity": np.array([[one[1] for one in row] for row in padded], np.float32),
            "payload": _texts([one[2] for one in row] for row in padded),
            "fingerprint": _texts([self.fingerprint] for _ in answers),
            "unknown": _padded([answer.unknown for answer in answers]),
            "narrowed_to": _padded([answer.narrowed_to for answer in answers]),
        }
        asked = request.requested_output_names()
        return pb_utils.InferenceResponse(
            output_tensors=[pb_utils.Tensor(name, column) for name, column in columns.items() if name in asked]
        )

    def _read(self, request: Any) -> list[tuple[str, Any, int, Query]]:
        """What is searched with and its value, k, query of each row of the request."""
        tensors = {name: _rows(request, name) for name in (*GIVEN, "k", "query")}
        given = [name for name in GIVEN if tensors[name] is not None]
        if len(given) != 1:
            raise InvalidRequest(
                f"The request has {' and '.join(given) or 'none of them'}: expected one of {', '.join(GIVEN)}."
            )
        rows = []
        for number, value in enumerate(tensors[given[0]]):
            k = check_k(int(tensors["k"][number][0])) if tensors["k"] is not None else DEFAULT_K
            query = parse_query(tensors["query"][number][0]) if tensors["query"] is not None else Query()
            rows.append((given[0], value, k, query))
        return rows

    def _search(self, given: str, value: Any, k: int, query: Query) -> Answer:
        if given == "embedding":
            return self.searches.by_embedding(value, k, query)
        if given == "product_id":
            return self.searches.by_product(value[0].decode(), k, query)
        return self.searches.by_taste(parse_taste(value[0]), k, query)

    def _refuse(self, error: Exception) -> Any:
        if hasattr(error, "reason"):
            return pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
        if isinstance(error, EngineUnavailable):
            return pb_utils.TritonError(str(error), pb_utils.TritonError.UNAVAILABLE)
        pb_utils.Logger.log_error(f"index failed: {type(error).__name__}: {error}")
        return pb_utils.TritonError(f"index failed: {error}", pb_utils.TritonError.INTERNAL)


def _rows(request: Any, name: str) -> Any:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def _padded(rows: list[list[str]]) -> Any:
    width = max([1, *map(len, rows)])
    return _texts([*row, *[""] * (width - len(row))] for row in rows)


def _texts(rows: Iterable[Sequence[str]]) -> Any:
    return np.array([[text.encode() for text in row] for row in rows], object)
