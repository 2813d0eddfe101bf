"""The one writer of the catalogue, and what its keepers ask of it. Owns: the key, tensors; `calls.py` does the rest."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

REPOSITORY = Path(__file__).resolve().parents[2]
# Metrics are those of the fused model; the store is the one that `index` follows.
sys.path[:0] = [str(REPOSITORY / "recognizer/1"), str(REPOSITORY / "index/1")]
# That folder may be in a release, which must stay as its manifest says.
sys.dont_write_bytecode = True

from calls import Calls  # noqa: E402
from catalogue_errors import EngineUnavailable, InvalidRequest, StoreFault  # noqa: E402
from catalogue_folder import check_key, find_folder, fingerprint, is_distributed  # noqa: E402
from follower import INDEX_FOLDER  # noqa: E402
from metrics import ANSWERED, FAILED, REFUSED  # noqa: E402
from publisher import Publisher, open_meter  # noqa: E402
from search_metrics import CatalogueMetrics  # noqa: E402
from store import Store  # noqa: E402

INDEX_CONFIG = REPOSITORY / "index/config.pbtxt"
EMBEDDER = "recognizer"


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        parameters = config["parameters"]
        try:
            self.calls = _open_calls(int(parameters["dimension"]["string_value"]))
        except Exception as error:
            raise pb_utils.TritonModelException(f"catalogue: {error}") from error
        meter = open_meter("catalogue", config)
        self.metrics = CatalogueMetrics(meter)
        Publisher(meter).start()

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        name = ""  # until it is known
        try:
            check_key(json.loads(request.parameters() or "{}").get("catalogue_key"))
            text = pb_utils.get_input_tensor_by_name(request, "request").as_numpy().reshape(-1)[0]
            name, asked = self.calls.parse(text)
            answer = self.calls.answer(name, asked, self._embeddings(request))
        except Exception as error:
            self.metrics.record(name, REFUSED if hasattr(error, "reason") else FAILED)
            return pb_utils.InferenceResponse(error=_refuse(error))
        self.metrics.record(name, ANSWERED, answer.get("upserted", 0))
        tensor = np.array([json.dumps(answer, ensure_ascii=False).encode()], object)
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("response", tensor)])

    def _embeddings(self, request: Any) -> Any:
        """Those given, or those of the photos given; None when there are neither."""
        embedding = pb_utils.get_input_tensor_by_name(request, "embedding")
        image = pb_utils.get_input_tensor_by_name(request, "image")
        if embedding is not None and image is not None:
            raise InvalidRequest("The request has image and embedding, expected one of them.")
        if embedding is not None:
            return embedding.as_numpy()
        return None if image is None else np.stack([_embed(photo) for photo in image.as_numpy()])


def _open_calls(dimension: int) -> Calls:
    served = fingerprint()
    if is_distributed():
        # Its libraries are not there, and not needed, where the catalogue is in this server's folder.
        from weaviate_store import open_named

        return Calls(open_named(served), None, dimension, served)
    folder = find_folder(pb_utils.Logger.log_info)
    return Calls(Store(folder), folder / INDEX_FOLDER, dimension, served)


def _embed(photo: bytes) -> Any:
    asked = pb_utils.InferenceRequest(
        model_name=EMBEDDER,
        requested_output_names=["embedding"],
        inputs=[pb_utils.Tensor("image", np.array([[photo]], object))],
    ).exec()
    if asked.has_error():
        raise InvalidRequest(asked.error().message())
    return pb_utils.get_output_tensor_by_name(asked, "embedding").as_numpy()[0]


def _refuse(error: Exception) -> Any:
    if hasattr(error, "reason"):
        return pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
    if isinstance(error, EngineUnavailable):
        return pb_utils.TritonError(str(error), pb_utils.TritonError.UNAVAILABLE)
    pb_utils.Logger.log_error(f"catalogue failed: {type(error).__name__}: {error}")
    sentence = str(error) if isinstance(error, StoreFault) else "catalogue failed; the server's log says why."
    return pb_utils.TritonError(sentence, pb_utils.TritonError.INTERNAL)
