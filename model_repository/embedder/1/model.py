"""Serves the ONNX file beside it with ONNX Runtime; tensors are those of the model's config.pbtxt.

Owns: batching requests into one run, splitting the answers. Must not know what the network computes: the classifier is
this same file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self.name = config["name"]
        self.input_name = config["input"][0]["name"]
        self.output_names = [output["name"] for output in config["output"]]
        self.is_cached = config.get("response_cache", {}).get("enable", False)
        self.session = _open_session(self.name, int(config["parameters"]["intra_op_threads"]["string_value"]))

    def execute(self, requests: list[Any]) -> list[Any]:
        batches = [pb_utils.get_input_tensor_by_name(request, self.input_name).as_numpy() for request in requests]
        stacked = batches[0] if len(batches) == 1 else np.concatenate(batches)
        outputs = self.session.run(self.output_names, {self.input_name: stacked})

        responses = []
        start = 0
        for request, batch in zip(requests, batches, strict=True):
            rows = slice(start, start + len(batch))
            responses.append(self._refusal(request) or self._answer(outputs, rows))
            start = rows.stop
        return responses

    def _answer(self, outputs: list[Any], rows: slice) -> Any:
        tensors = [pb_utils.Tensor(name, output[rows]) for name, output in zip(self.output_names, outputs, strict=True)]
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _refusal(self, request: Any) -> Any:
        """Triton's response cache looks at the inputs only: an answer with one output missing would be kept for all.

        An ensemble always asks its steps for every output they map, so this meets direct callers alone.
        """
        if not self.is_cached or len(request.requested_output_names()) == len(self.output_names):
            return None
        return pb_utils.InferenceResponse(
            error=pb_utils.TritonError(
                f"{self.name}: got a request for {sorted(request.requested_output_names())} only, expected one for "
                f"all of {sorted(self.output_names)}: answers are cached whole. Leave the outputs out of the request.",
                pb_utils.TritonError.INVALID_ARG,
            )
        )


def _open_session(model_name: str, threads: int) -> ort.InferenceSession:
    onnx_file = Path(__file__).with_name("model.onnx")
    if not onnx_file.is_file():
        raise pb_utils.TritonModelException(f"{model_name}: no weights at {onnx_file}. Place them with `make export`.")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A thread that spins while idle takes the core of the decoder next door.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])
