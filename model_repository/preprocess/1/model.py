"""Triton's side of preprocessing: unpack, call `preprocessing`, pack, and turn refusals into INVALID_ARG."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

import preprocessing

# Metrics and log lines are those of the fused model.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "recognizer/1"))
# That folder may be in a release, which must stay as its manifest says.
sys.dont_write_bytecode = True

from allocator import keep_buffers  # noqa: E402
from publisher import Publisher, open_meter  # noqa: E402
from refusals import refuse  # noqa: E402
from stage_metrics import DecodeMetrics, record_shared_memory  # noqa: E402


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        keep_buffers()
        config = json.loads(args["model_config"])
        transform_file = Path(__file__).with_name("transform.json")
        if not transform_file.is_file():
            raise pb_utils.TritonModelException(
                f"preprocess: no {transform_file}, which says how the backbone wants its photos. "
                "Place it with `make export`."
            )
        self.transform = preprocessing.Transform(**json.loads(transform_file.read_text()))
        self.limits = preprocessing.Limits(
            **{name: int(value["string_value"]) for name, value in config["parameters"].items()}
        )
        pixels_dims = [int(dim) for dim in config["output"][0]["dims"]]
        expected_dims = [self.transform.side_px, self.transform.side_px, 3]
        if pixels_dims != expected_dims:
            raise pb_utils.TritonModelException(
                f"preprocess: config.pbtxt says pixels are {pixels_dims}, the placed backbone wants {expected_dims}. "
                "Run `make export` again."
            )
        self.meter = open_meter("preprocess", config)
        self.decode = DecodeMetrics(self.meter)
        record_shared_memory(self.meter)
        Publisher(self.meter).start()

    def execute(self, requests: list[Any]) -> list[Any]:
        with self.meter.execution():
            return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        photos = pb_utils.get_input_tensor_by_name(request, "image").as_numpy().reshape(-1).tolist()
        try:
            with self.decode.timed():
                pixels = preprocessing.preprocess_all(photos, self.transform, self.limits, self.decode.record_photo)
        except Exception as error:
            return pb_utils.InferenceResponse(error=refuse(self.decode, error, [request]))
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("pixels", pixels)])
