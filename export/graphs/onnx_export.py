"""The two served networks as torch modules, and their export to ONNX with the tensor names of `config.pbtxt`."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import onnx
import torch
from torch import nn

from export.errors import BackboneError
from export.progress import quiet
from export.repository.configs import CATEGORY, SCORES
from export.sources.backbones import Backbone

# ONNX Runtime 1.23, the last release for Python 3.10, supports opset 23; all fused kernels used here exist for opset
# 18.
OPSET = 18

# Protobuf limits one message to 2 GiB; this leaves room for the graph.
MAX_WEIGHTS_BYTES = 2_000_000_000


class Embedder(nn.Module):
    """uint8[N,S,S,3] RGB 0-255 -> `features` float32[N,F] and `embedding` float32[N,F] of L2 norm 1."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.trunk = backbone.trunk
        self.register_buffer("mean", torch.tensor(backbone.preset.mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.preset.std).reshape(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        images = (pixels.permute(0, 3, 1, 2).to(torch.float32) - self.mean) / self.std
        features = self.trunk(images)
        return features, nn.functional.normalize(features, dim=1)


class Classifier(nn.Module):
    """`features` float32[N,F] -> `category_scores` float32[N,C], softmax, `retail_score` float32[N,1], and
    `<attribute>_scores` for each further head, softmax.

    `retail_score` comes from the network's own head, even if a trained head gives the categories. In the ONNX file,
    each `<attribute>_scores` is the Softmax of one Gemm of `features` with the weights of that head.
    """

    is_retail: torch.Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.head = backbone.head
        self.categories = backbone.heads[CATEGORY].linear if CATEGORY in backbone.heads else None
        self.further = nn.ModuleList(head.linear for head in backbone.further_heads.values())
        self.output_names = [
            f"{CATEGORY}{SCORES}",
            "retail_score",
            *(f"{attribute}{SCORES}" for attribute in backbone.further_heads),
        ]
        is_retail = torch.zeros(len(backbone.labels), 1)
        is_retail[backbone.retail_indices] = 1.0
        self.register_buffer("is_retail", is_retail)

    @property
    def linears(self) -> dict[str, nn.Module]:
        """Attribute -> linear layer of `<attribute>_scores`."""
        attributes = [name.removesuffix(SCORES) for name in self.output_names if name.endswith(SCORES)]
        return dict(zip(attributes, (self.categories or self.head, *self.further), strict=True))

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        scores = self.head(features).softmax(dim=1)
        category_scores = scores if self.categories is None else self.categories(features).softmax(dim=1)
        further = (head(features).softmax(dim=1) for head in self.further)
        return category_scores, scores @ self.is_retail, *further


def export_embedder(module: Embedder, side_px: int) -> tuple[torch.export.ExportedProgram, bytes]:
    """The embedder traced by torch.export, and its ONNX file, with a dynamic batch."""
    program = _trace(module, "pixels", torch.zeros(2, side_px, side_px, 3, dtype=torch.uint8))
    return program, _to_onnx(program, "pixels", ["features", "embedding"])


def export_classifier(module: Classifier) -> tuple[torch.export.ExportedProgram, bytes]:
    """The classifier traced by torch.export, and its ONNX file, with a dynamic batch."""
    program = _trace(module, "features", torch.zeros(2, module.head.in_features))
    return program, _to_onnx(program, "features", module.output_names)


def program_bytes(program: torch.export.ExportedProgram) -> bytes:
    """The program in the format of torch.export.load, for the profile `gpu-torch`."""
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


def _trace(module: nn.Module, input_name: str, example: torch.Tensor) -> torch.export.ExportedProgram:
    size_bytes = sum(weight.numel() * weight.element_size() for weight in module.parameters())
    if size_bytes > MAX_WEIGHTS_BYTES:
        raise BackboneError(
            f"The weights take {size_bytes / 1e9:.1f} GB; one ONNX file holds at most 2 GB. Choose a smaller network."
        )
    shapes = {input_name: {0: torch.export.Dim("batch", min=1, max=4096)}}
    try:
        with quiet():
            return torch.export.export(module.eval(), (example,), dynamic_shapes=shapes)
    except Exception as error:  # errors of the tracer, and of the network while it is traced
        raise BackboneError(
            f"The network cannot be traced with a dynamic batch: {str(error).splitlines()[0]} "
            "Remove control flow that depends on values or on the number of images from its forward method."
        ) from error


def _to_onnx(program: torch.export.ExportedProgram, input_name: str, output_names: list[str]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="triptych-export-") as folder, quiet():
        onnx_file = Path(folder) / "model.onnx"
        torch.onnx.export(
            program,
            (),
            str(onnx_file),
            input_names=[input_name],
            output_names=output_names,
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
        model = onnx.load(str(onnx_file))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    # The exporter stores stack traces in every node, with paths of this machine.
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    return model.SerializeToString()
