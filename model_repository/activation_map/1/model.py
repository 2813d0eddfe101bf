"""Serves class activation maps: the network to its last map, and what a head makes of each place. Owns the tensors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

from maps import Explanation, Head, InvalidRequest, explain

REPOSITORY = Path(__file__).resolve().parents[2]
# That folder may be in a release, which must stay as its manifest says.
sys.dont_write_bytecode = True

ABOUT = Path(__file__).with_name("explanation.json")
NETWORK = Path(__file__).with_name("model.onnx")
HEADS = Path(__file__).with_name("heads.npz")
TRANSFORM = REPOSITORY / "preprocess/1/transform.json"
CATEGORY = "category"


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        if not ABOUT.is_file():
            raise pb_utils.TritonModelException(f"activation_map: no {ABOUT}. Place it with `make export`.")
        about = json.loads(ABOUT.read_text(encoding="utf-8"))
        # A network whose features are not the mean of a map: served all the same, each call is told why not.
        self.unexplainable: str | None = about["unexplainable"]
        transform = json.loads(TRANSFORM.read_text(encoding="utf-8"))
        self.crop_ratio = float(transform["crop_ratio"])
        if self.unexplainable is not None:
            return
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(config["parameters"]["intra_op_threads"]["string_value"])
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = ort.InferenceSession(str(NETWORK), options, providers=["CPUExecutionProvider"])
        # Warmed here: a config's warm-up would keep a network without maps from loading.
        shape = [int(dim) for dim in config["input"][0]["dims"]]
        self.session.run(["feature_map"], {"pixels": np.zeros((1, *shape), np.uint8)})
        with np.load(HEADS, allow_pickle=False) as arrays:
            self.heads = {
                name: Head(arrays[f"{name}.weight"], arrays[f"{name}.bias"], _labels(name))
                for name in about["attributes"]
            }

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            if self.unexplainable is not None:
                raise InvalidRequest(self.unexplainable)
            explanations = self._explain(request)
        except Exception as error:
            if hasattr(error, "reason"):
                refusal = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            else:
                pb_utils.Logger.log_error(f"activation_map failed: {type(error).__name__}: {error}")
                refusal = pb_utils.TritonError(
                    "activation_map failed; the server's log says why.", pb_utils.TritonError.INTERNAL
                )
            return pb_utils.InferenceResponse(error=refusal)
        columns = {
            "heat_map": np.stack([one.heat_map for one in explanations]),
            "explained": np.array([[one.explained] for one in explanations], np.int32),
            "score": np.array([[one.score] for one in explanations], np.float32),
            "label": np.array([[one.label.encode()] for one in explanations], object),
            "crop_ratio": np.full((len(explanations), 1), self.crop_ratio, np.float32),
        }
        asked = request.requested_output_names()
        return pb_utils.InferenceResponse(
            output_tensors=[pb_utils.Tensor(name, column) for name, column in columns.items() if name in asked]
        )

    def _explain(self, request: Any) -> list[Explanation]:
        pixels, attributes, classes = (
            None if tensor is None else tensor.as_numpy()
            for name in ("pixels", "attribute", "class_index")
            for tensor in (pb_utils.get_input_tensor_by_name(request, name),)
        )
        (maps,) = self.session.run(["feature_map"], {"pixels": pixels})
        return [
            explain(
                feature_map,
                self.heads,
                CATEGORY if attributes is None else attributes[row][0].decode(),
                None if classes is None else int(classes[row][0]),
            )
            for row, feature_map in enumerate(maps)
        ]


def _labels(attribute: str) -> list[str]:
    name = "labels.txt" if attribute == CATEGORY else f"{attribute}_labels.txt"
    return (REPOSITORY / "classifier" / name).read_text(encoding="utf-8").splitlines()
