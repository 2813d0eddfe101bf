"""The two networks Triptych serves, as torch modules and as ONNX bytes. Tensor names are those of `config.pbtxt`."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

import onnx
import torch
from torch import nn

from export.backbones import Backbone

# ONNX Runtime 1.23, the oldest that runs on Python 3.10, knows opset 23; 18 is what every fused kernel here exists for.
OPSET = 18


class Embedder(nn.Module):
    """uint8[N,S,S,3] RGB 0-255 -> `features` float32[N,F] and `embedding` float32[N,F] of L2 norm 1."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.trunk = backbone.trunk
        self.register_buffer("mean", torch.tensor(backbone.mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.std).reshape(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        images = (pixels.permute(0, 3, 1, 2).to(torch.float32) - self.mean) / self.std
        features = self.trunk(images)
        return features, nn.functional.normalize(features, dim=1)


class Classifier(nn.Module):
    """`features` float32[N,F] -> `category_scores` float32[N,C], softmax, and `retail_score` float32[N,1]."""

    is_retail: torch.Tensor

    def __init__(self, backbone: Backbone, retail_indices: Iterable[int]) -> None:
        super().__init__()
        self.head = backbone.head
        is_retail = torch.zeros(len(backbone.class_names), 1)
        is_retail[list(retail_indices)] = 1.0
        self.register_buffer("is_retail", is_retail)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        category_scores = self.head(features).softmax(dim=1)
        return category_scores, category_scores @ self.is_retail


def embedder_onnx(module: Embedder, side_px: int) -> bytes:
    """ONNX file of the embedder, batch dynamic."""
    example = torch.zeros(2, side_px, side_px, 3, dtype=torch.uint8)
    return _to_onnx(module, "pixels", example, ["features", "embedding"])


def classifier_onnx(module: Classifier) -> bytes:
    """ONNX file of the classifier, batch dynamic."""
    example = torch.zeros(2, module.head.in_features)
    return _to_onnx(module, "features", example, ["category_scores", "retail_score"])


def _to_onnx(module: nn.Module, input_name: str, example: torch.Tensor, output_names: list[str]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="triptych-export-") as folder:
        onnx_file = Path(folder) / "model.onnx"
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # the exporter's own deprecations, not ours to act on
            torch.onnx.export(
                module.eval(),
                (example,),
                str(onnx_file),
                input_names=[input_name],
                output_names=output_names,
                dynamic_shapes={input_name: {0: torch.export.Dim("batch", min=1, max=4096)}},
                opset_version=OPSET,
                external_data=False,
                dynamo=True,
                verbose=False,
            )
        model = onnx.load(str(onnx_file))
    # The exporter notes the stack of every node, with paths of the machine it ran on.
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    return model.SerializeToString()
