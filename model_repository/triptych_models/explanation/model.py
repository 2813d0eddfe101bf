"""Model `activation_map`: runs the network up to its last feature map, and computes class activation maps."""

from __future__ import annotations

import json

import numpy as np

from triptych_models.errors import Code, InvalidRequest
from triptych_models.explanation.class_activation_map import Explanation, Head, explain
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.placed_files import PlacedFiles
from triptych_models.recognition.onnx_session import open_session
from triptych_models.recognition.transform import read_transform
from triptych_models.triton.model import Arrays, Model, ModelConfig, Request, Server

CATEGORY = "category"


class ActivationMap(Model):
    """Pixels -> heat maps. A model without a feature map is loaded too, and refuses each request with the reason."""

    role = "activation_map"
    codes = (Code.CLASS_UNKNOWN, Code.EXPLANATION_UNSUPPORTED, Code.QUEUE_FULL, Code.DEADLINE_EXCEEDED)
    lanes = 1

    def __init__(self, config: ModelConfig, metrics: MetricRegistry, server: Server) -> None:
        files = config.files
        files.require(files.explanation, files.transform)
        about = json.loads(files.explanation.read_text(encoding="utf-8"))
        self._unexplainable: str | None = about["unexplainable"]
        self._crop_ratio = read_transform(files.transform).crop_ratio
        if self._unexplainable is not None:
            return
        self._session = open_session(files.feature_network, int(config.parameters["intra_op_threads"]))
        # Warm-up here: the warm-up of a config would fail for networks without feature maps.
        self._session.run(["feature_map"], {"pixels": np.zeros((1, *config.inputs["pixels"]), np.uint8)})
        self._heads = _read_heads(files, about["attributes"])

    def answer(self, request: Request) -> Arrays:
        """See `Model`."""
        if self._unexplainable is not None:
            raise InvalidRequest(self._unexplainable, Code.EXPLANATION_UNSUPPORTED)
        explanations = self._explain(request)
        return {
            "heat_map": np.stack([one.heat_map for one in explanations]),
            "explained": np.array([[one.explained] for one in explanations], np.int32),
            "score": np.array([[one.score] for one in explanations], np.float32),
            "label": np.array([[one.label.encode()] for one in explanations], object),
            "crop_ratio": np.full((len(explanations), 1), self._crop_ratio, np.float32),
        }

    def _explain(self, request: Request) -> list[Explanation]:
        attributes, classes = request.array("attribute"), request.array("class_index")
        (maps,) = self._session.run(["feature_map"], {"pixels": request.array("pixels")})
        return [
            explain(
                feature_map,
                self._heads,
                CATEGORY if attributes is None else attributes[row][0].decode(errors="replace"),
                None if classes is None else int(classes[row][0]),
            )
            for row, feature_map in enumerate(maps)
        ]


def _read_heads(files: PlacedFiles, attributes: list[str]) -> dict[str, Head]:
    with np.load(files.heads, allow_pickle=False) as arrays:
        return {
            name: Head(arrays[f"{name}.weight"], arrays[f"{name}.bias"], files.read_labels(name)) for name in attributes
        }
