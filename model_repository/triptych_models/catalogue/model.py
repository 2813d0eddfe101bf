"""Model `catalogue`, the only writer of the catalogue. Owns the tensors and the key check; `calls` executes calls."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from triptych_models.catalogue.calls import CatalogueCalls
from triptych_models.catalogue.rebuild import IndexRebuilds, NoRebuilds
from triptych_models.catalogue.settings import INDEX_FOLDER, check_key, find_folder, is_distributed
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import Code, InvalidRequest, ServingError
from triptych_models.metrics.families import ANSWERED, FAILED, REFUSED
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.searches import CatalogueMetrics
from triptych_models.metrics.sources import IMPORT
from triptych_models.triton.model import Arrays, Model, ModelConfig, Request, Server

EMBEDDER = "recognizer"


class CatalogueModel(Model):
    """Executes one call for each request."""

    role = "catalogue"
    codes = (
        Code.IMAGE_UNREADABLE,
        Code.IMAGE_TOO_LARGE,
        Code.FILTER_INVALID,
        Code.EMBEDDING_INVALID,
        Code.CATALOGUE_KEY_REFUSED,
        Code.INDEX_INCOMPATIBLE,
        Code.REBUILD_RUNNING,
        Code.CATALOGUE_UNAVAILABLE,
        Code.CATALOGUE_UNUSABLE,
        Code.QUEUE_FULL,
        Code.DEADLINE_EXCEEDED,
        Code.MODEL_NOT_READY,
    )
    lanes = 1

    def __init__(self, config: ModelConfig, metrics: MetricRegistry, server: Server) -> None:
        self._server = server
        self._calls = _open_calls(int(config.parameters["dimension"]), config.files.fingerprint(), server)
        self._metrics = CatalogueMetrics(metrics)

    def answer(self, request: Request) -> Arrays:
        """See `Model`."""
        name = ""  # until the request is parsed
        try:
            check_key(request.parameters.get("catalogue_key"))
            name, arguments = self._calls.parse(request.array("request").reshape(-1)[0])
            answer = self._calls.answer(name, arguments, self._embeddings(request))
        except Exception as error:
            is_refused = isinstance(error, ServingError) and not error.code.is_servers_fault
            self._metrics.record(name, REFUSED if is_refused else FAILED)
            raise
        self._metrics.record(name, ANSWERED, answer.get("upserted", 0))
        return {"response": np.array([json.dumps(answer, ensure_ascii=False).encode()], object)}

    def _embeddings(self, request: Request) -> Any:
        """The request's embeddings, or the embeddings of its photos; None where the request has neither."""
        embedding, image = request.array("embedding"), request.array("image")
        if embedding is not None and image is not None:
            raise InvalidRequest("The request has `image` and `embedding`; expected one of them.")
        if image is None:
            return embedding
        if not len(image):
            raise InvalidRequest("`image` has no photos; expected one for each item of an upsert.")
        return np.stack([self._embed(photo) for photo in image])

    def _embed(self, photo: bytes) -> Any:
        return self._server.infer(EMBEDDER, {"image": np.array([[photo]], object)}, "embedding", IMPORT)[0]


def _open_calls(dimension: int, fingerprint: str, server: Server) -> CatalogueCalls:
    if is_distributed():
        # A server whose catalogue is in its own folder needs no Weaviate libraries.
        from triptych_models.catalogue.weaviate_store import open_store

        store = open_store(fingerprint)
        return CatalogueCalls(store, NoRebuilds(store.count), dimension, fingerprint)
    folder = find_folder(server.log)
    own = SqliteCatalogueStore(folder, lambda line: server.log(f"catalogue: {line}"))
    return CatalogueCalls(own, IndexRebuilds(own, folder / INDEX_FOLDER), dimension, fingerprint)
