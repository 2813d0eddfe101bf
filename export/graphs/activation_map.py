"""Files of the model `activation_map`: the network up to its last feature map, and the weights of the heads."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx.utils import Extractor
from torch import nn

from export.arrays import Floats, Pixels
from export.repository.layout import model_file
from export.verification.onnx_session import open_session

NETWORK, HEADS, ABOUT = (
    model_file("activation_map", f"1/{name}") for name in ("model.onnx", "heads.npz", "explanation.json")
)

# Operators allowed between the spatial mean and the features: they move values and change none.
_MOVES = {"Reshape", "Flatten", "Squeeze", "Gather", "Identity", "Transpose", "Cast"}
_MEANS = {"ReduceMean", "GlobalAveragePool"}
# Torch's pooling sums in another order; features have a magnitude of about 1.
_ATOL = 1e-4
_CHANNELS_FIRST = (0, 3, 1, 2)


def explanation_files(
    name: str, embedder_onnx: bytes, linears: Mapping[str, nn.Module], pixels: Pixels
) -> dict[str, bytes]:
    """Path inside the repository -> content; without the network if its features are not the mean of a feature map.

    The arguments are those of `cut_at_map`, and the linear head of each attribute.
    """
    network = cut_at_map(embedder_onnx, pixels)
    if network is None:
        reason = (
            f"{name} supports no heat maps: its features are not the spatial mean of a feature map, as in "
            "EfficientNet, ResNet, DenseNet or Swin. Place one of these networks to get explanations."
        )
        return {ABOUT: _about([], reason)}
    arrays = {}
    for attribute, linear in linears.items():
        arrays[f"{attribute}.weight"], arrays[f"{attribute}.bias"] = _weights(linear)
    file = io.BytesIO()
    np.savez(file, **arrays)
    return {NETWORK: network, HEADS: file.getvalue(), ABOUT: _about(list(linears), None)}


def cut_at_map(embedder_onnx: bytes, pixels: Pixels) -> bytes | None:
    """ONNX file: `pixels` -> `feature_map` float32[N,F,H,W], whose spatial mean is `features`; None if there is none.

    The embedder is in float32; the result is checked on `pixels`, uint8[N,S,S,3].
    """
    model = onnx.load_from_string(embedder_onnx)
    made_by = {output: node for node in model.graph.node for output in node.output}
    node = made_by.get("features")
    while node is not None and node.op_type in _MOVES:
        node = made_by.get(node.input[0])
    if node is None or node.op_type not in _MEANS:
        return None
    network = _cut(model, node.input[0])
    (features,) = open_session(embedder_onnx).run(["features"], {"pixels": pixels})
    (maps,) = open_session(network.SerializeToString()).run(["feature_map"], {"pixels": pixels})
    if _is_mean(maps, features):
        return bytes(network.SerializeToString())
    if maps.ndim == 4 and _is_mean(maps.transpose(_CHANNELS_FIRST), features):  # channels last, as in Swin
        return bytes(_move_channels_first(network).SerializeToString())
    return None


def _cut(model: onnx.ModelProto, source: str) -> onnx.ModelProto:
    """The network up to `source`, renamed to `feature_map`."""
    model.graph.output.append(onnx.helper.make_tensor_value_info(source, onnx.TensorProto.FLOAT, None))
    cut = Extractor(model).extract_model(["pixels"], [source])
    _rename(cut, source, "feature_map")
    del cut.graph.output[:]
    cut.graph.output.append(
        onnx.helper.make_tensor_value_info("feature_map", onnx.TensorProto.FLOAT, ["batch", None, None, None])
    )
    return cut


def _move_channels_first(network: onnx.ModelProto) -> onnx.ModelProto:
    """[N,H,W,F] -> [N,F,H,W]."""
    _rename(network, "feature_map", "channels_last")
    network.graph.node.append(
        onnx.helper.make_node("Transpose", ["channels_last"], ["feature_map"], perm=_CHANNELS_FIRST)
    )
    return network


def _rename(network: onnx.ModelProto, old: str, new: str) -> None:
    for node in network.graph.node:
        node.output[:] = [new if name == old else name for name in node.output]
        node.input[:] = [new if name == old else name for name in node.input]


def _is_mean(maps: Floats, features: Floats) -> bool:
    if maps.ndim != 4 or maps.shape[:2] != features.shape or min(maps.shape[2:]) < 2:
        return False
    return bool(np.allclose(maps.mean(axis=(2, 3)), features, atol=_ATOL, rtol=_ATOL))


def _weights(linear: Any) -> tuple[Floats, Floats]:
    weight = linear.weight.detach().numpy().astype(np.float32)
    bias = np.zeros(len(weight), np.float32) if linear.bias is None else linear.bias.detach().numpy()
    return weight, bias.astype(np.float32)


def read_unexplainable_reason(files: Mapping[str, bytes]) -> str | None:
    """Why the placed network supports no heat maps; None if it does."""
    reason: str | None = json.loads(files[ABOUT])["unexplainable"]
    return reason


def _about(attributes: list[str], reason: str | None) -> bytes:
    return (json.dumps({"attributes": attributes, "unexplainable": reason}, indent=2) + "\n").encode()
