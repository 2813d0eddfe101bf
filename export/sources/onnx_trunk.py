"""Reads an ONNX classifier and splits it at its last matrix product into a trunk and a linear head.

Finds the head by walking back from the output; adds normalisation before the trunk and the L2 norm after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from export.errors import BackboneError
from export.sources.backbones import Preset
from export.sources.network_cut import LOGITS_RTOL, make_linear
from export.verification.onnx_session import open_session

# Operators allowed between the last matrix product and the output: none changes which class is best.
_PASSED_OVER = ("Softmax", "LogSoftmax", "Identity", "Flatten", "Squeeze", "Reshape", "Dropout")

_IMAGES = "triptych_images"


@dataclass(frozen=True)
class _Head:
    """The last matrix product: names of its input and output in the graph, and its weights."""

    features: str
    logits: str
    linear: nn.Linear


class OnnxTrunk(nn.Module):
    """The graph before the head, run by ONNX Runtime: float32[N,3,S,S] -> float32[N,F]."""

    def __init__(self, model: onnx.ModelProto, side_px: int | None) -> None:
        super().__init__()
        self.model = model
        self.side_px = side_px
        self._session = open_session(model.SerializeToString())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        (name,) = [value.name for value in self.model.graph.input]
        (features,) = self._session.run(None, {name: images.numpy()})
        return torch.from_numpy(features)

    def embedder_onnx(self, preset: Preset) -> bytes:
        """The served embedder: uint8 `pixels` -> `features` and `embedding`."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = model.graph
        (image_input,), (trunk_output,) = list(graph.input), list(graph.output)
        side_px, features = preset.transform.side_px, trunk_output.type.tensor_type.shape.dim[1].dim_value
        for name, channels in (("triptych_mean", preset.mean), ("triptych_std", preset.std)):
            constant = np.array(channels, np.float32).reshape(1, 3, 1, 1)
            graph.initializer.append(numpy_helper.from_array(constant, name))
        before = [
            helper.make_node("Transpose", ["pixels"], ["triptych_chw"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["triptych_chw"], ["triptych_float"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["triptych_float", "triptych_mean"], ["triptych_centred"]),
            helper.make_node("Div", ["triptych_centred", "triptych_std"], [image_input.name]),
        ]
        after = [
            helper.make_node("Identity", [trunk_output.name], ["features"]),
            helper.make_node("LpNormalization", ["features"], ["embedding"], axis=1, p=2),
        ]
        nodes = [*before, *graph.node, *after]
        del graph.node[:], graph.input[:], graph.output[:]
        graph.node.extend(nodes)
        shape: list[str | int | None] = ["batch", side_px, side_px, 3]
        graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, shape))
        graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", features])
            for name in ("features", "embedding")
        )
        return model.SerializeToString()


def load_onnx(
    file: Path, images: Callable[[int], torch.Tensor], wanted_side_px: int | None
) -> tuple[OnnxTrunk, nn.Linear]:
    """Trunk and head of an ONNX classifier.

    Args:
        file: float32[N,3,S,S] -> logits float32[N,C], or their softmax.
        images: side in pixels -> a few normalised images, on which the split is checked.
        wanted_side_px: side for a file with a dynamic side.

    Raises:
        BackboneError: not a valid ONNX file; not one float32[N,3,S,S] input and one output; a fixed batch size; no
            linear head.
    """
    model = _read(file)
    side_px = _check_input(model, file.name) or wanted_side_px
    if wanted_side_px not in (None, side_px):
        raise BackboneError(
            f"{file.name} takes images of {side_px} px, --image-side is {wanted_side_px}. Leave --image-side out."
        )
    head = _find_head(model, file.name)
    shown = images(side_px or 224)
    (input_value,) = _inputs(model)
    logits = open_session(_ending_at(model, head.logits)).run(None, {input_value.name: shown.numpy()})[0]
    trunk = onnx.load_model_from_string(_ending_at(model, head.features))
    trunk = _shaped_output(trunk, head.linear.in_features)
    module = OnnxTrunk(trunk, side_px)
    with torch.inference_mode():
        features = module(shown)
        if features.ndim != 2:
            raise BackboneError(
                f"{file.name}: {tuple(features.shape)} is the input of its last matrix product; expected [N,F]."
            )
        again = head.linear(features).numpy()
    difference = float(np.abs(again - logits).max() / max(np.abs(logits).max(), 1e-12))
    if not difference <= LOGITS_RTOL:
        raise BackboneError(
            f"{file.name}: its logits differ from the output of its last matrix product (relative difference "
            f"{difference:.2g}, limit {LOGITS_RTOL:g}). Export it again without the layers after the last linear layer."
        )
    return module, head.linear


def _read(file: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(str(file))
        onnx.checker.check_model(model, full_check=True)
    except (OSError, DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BackboneError(f"{file} is not a valid ONNX file: {str(error).splitlines()[0]}") from error
    return onnx.shape_inference.infer_shapes(model)


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored]


def _check_input(model: onnx.ModelProto, name: str) -> int | None:
    """The side that the file declares; None if it is dynamic."""
    inputs = _inputs(model)
    tensor = inputs[0].type.tensor_type if inputs else None
    dims = list(tensor.shape.dim) if tensor else []
    if len(inputs) != 1 or tensor is None or len(dims) != 4 or tensor.elem_type != TensorProto.FLOAT:
        raise BackboneError(f"{name}: expected one input, float32[N,3,S,S]; got {[value.name for value in inputs]}.")
    if dims[0].HasField("dim_value"):
        raise BackboneError(
            f"{name}: its batch size is fixed at {dims[0].dim_value}. Export it again with a dynamic first dimension "
            "(torch.onnx.export: dynamic_shapes)."
        )
    if (dims[1].dim_value or 3) != 3 or dims[2].dim_value != dims[3].dim_value:
        raise BackboneError(
            f"{name}: expected images of [N,3,S,S]; got {[dim.dim_param or dim.dim_value for dim in dims]}."
        )
    return dims[2].dim_value or None


def _find_head(model: onnx.ModelProto, file_name: str) -> _Head:
    made_by = {output: node for node in model.graph.node for output in node.output}
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for one in model.graph.node:
        if one.op_type == "Constant" and one.attribute[0].name == "value":
            values[one.output[0]] = numpy_helper.to_array(one.attribute[0].t)
    tensor = model.graph.output[0].name
    while tensor in made_by and made_by[tensor].op_type in _PASSED_OVER:
        tensor = made_by[tensor].input[0]
    logits, bias = tensor, None
    node: onnx.NodeProto | None = made_by.get(tensor)
    if node is not None and node.op_type == "Add":
        stored = [name for name in node.input if name in values]
        computed = [name for name in node.input if name not in values]
        if len(stored) == 1:
            bias, node = values[stored[0]], made_by.get(computed[0])
    if node is None or node.op_type not in ("Gemm", "MatMul") or node.input[1] not in values:
        got = node.op_type if node is not None else "nothing"
        raise BackboneError(
            f"{file_name}: its output comes from {got}; expected a linear layer (Gemm, or MatMul and Add, with "
            "constant weights)."
        )
    weight = values[node.input[1]]
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type == "Gemm":
        bias = values[node.input[2]] if len(node.input) > 2 else None
    if not (node.op_type == "Gemm" and attributes.get("transB", 0)):
        weight = weight.T
    return _Head(node.input[0], logits, make_linear(weight, bias))


def _ending_at(model: onnx.ModelProto, tensor: str) -> bytes:
    """The graph up to a tensor, serialised."""
    names = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    if tensor not in names:
        cut.graph.value_info.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    inputs = [value.name for value in _inputs(model)]
    return onnx.utils.Extractor(cut).extract_model(inputs, [tensor]).SerializeToString()


def _shaped_output(model: onnx.ModelProto, features: int) -> onnx.ModelProto:
    (output,) = model.graph.output
    output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, ["batch", features]))
    return model
