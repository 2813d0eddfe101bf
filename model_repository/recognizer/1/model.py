"""The whole of `recognizer` in one Python model: what the `cpu` profile serves behind the ensemble's tensors.

Between Python models each hop costs a copy and two wake-ups; on a CPU three hops are a tenth of the work. The decoder,
the ONNX files and the limits are the sibling models': this file owns none of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from answer_cache import AnswerCache
from load_board import LoadBoard
from network import Network
from server_folder import open_server_folder

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "preprocess/1"))

import preprocessing  # noqa: E402

TRANSFORM = REPOSITORY / "preprocess/1/transform.json"
EMBEDDER = REPOSITORY / "embedder/1/model.onnx"
CLASSIFIER = REPOSITORY / "classifier/1/model.onnx"

Rows = npt.NDArray[np.float32]  # float32[N,L], an answer each: the outputs in the order of the config, end to end


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        parameters = {name: int(value["string_value"]) for name, value in config["parameters"].items()}
        for file in (TRANSFORM, EMBEDDER, CLASSIFIER):
            if not file.is_file():
                raise pb_utils.TritonModelException(f"recognizer: no {file}. Place the weights with `make export`.")
        self.transform = preprocessing.Transform(**json.loads(TRANSFORM.read_text(encoding="utf-8")))
        self.limits = preprocessing.Limits(parameters["max_image_bytes"], parameters["max_image_pixels"])
        self.network = Network(EMBEDDER, CLASSIFIER, lone_threads=parameters["lone_threads"])
        self.outputs = [output["name"] for output in config["output"]]
        self.edges = np.cumsum([0, *(int(output["dims"][0]) for output in config["output"])])
        folder = open_server_folder()
        self.load = LoadBoard(folder, int(args["model_instance_name"].rpartition("_")[2]))
        cache_mb = int(os.environ.get("TRIPTYCH_CACHE_MB", parameters["cache_mb"]))
        self.cache = AnswerCache(folder, cache_mb, 4 * int(self.edges[-1]), _fingerprint()) if cache_mb else None

    def execute(self, requests: list[Any]) -> list[Any]:
        with self.load.busy() as is_alone:
            return [self._respond(request, is_alone) for request in requests]

    def _respond(self, request: Any, is_alone: bool) -> Any:
        photos = pb_utils.get_input_tensor_by_name(request, "image").as_numpy().reshape(-1).tolist()
        try:
            rows = self._recognize(photos, is_alone)
        except preprocessing.InvalidPhoto as refusal:
            error = pb_utils.TritonError(str(refusal), pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=error)
        tensors = [
            pb_utils.Tensor(name, np.ascontiguousarray(rows[:, start:stop]))
            for name, start, stop in zip(self.outputs, self.edges, self.edges[1:], strict=False)
        ]
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _recognize(self, photos: list[bytes], is_alone: bool) -> Rows:
        cache = self.cache
        if cache is None:
            return self._compute(photos, is_alone)
        keys = [cache.key(photo) for photo in photos]
        answers = [answer for answer in map(cache.get, keys) if answer is not None]
        if len(answers) == len(photos):
            return np.frombuffer(b"".join(answers), np.float32).reshape(len(photos), -1)
        rows = self._compute(photos, is_alone)
        for key, row in zip(keys, rows, strict=True):
            cache.put(key, row.tobytes())
        return rows

    def _compute(self, photos: list[bytes], is_alone: bool) -> Rows:
        pixels = preprocessing.preprocess_all(photos, self.transform, self.limits)
        arrays = self.network.run(pixels, is_alone)
        return np.concatenate([arrays[name] for name in self.outputs], axis=1)


def _fingerprint() -> bytes:
    digest = hashlib.sha256()
    for file in (TRANSFORM, EMBEDDER, CLASSIFIER):
        digest.update(file.read_bytes())
    return digest.digest()
