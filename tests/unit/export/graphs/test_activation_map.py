from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.graphs.activation_map import ABOUT, NETWORK, cut_at_map, explanation_files, read_unexplainable_reason
from export.verification.onnx_session import open_session

FEATURES, SIDE_PX = 5, 8
Layer = tuple[str, dict[str, Any]]
Pixels = npt.NDArray[np.uint8]


def network(*layers: Layer) -> bytes:
    """`pixels` uint8[N,8,8,3] -> each place's three colours in five mixtures -> the layers -> `features`."""
    weight = np.random.default_rng(0).normal(size=(3, FEATURES)).astype(np.float32) / 255
    nodes = [
        helper.make_node("Cast", ["pixels"], ["colours"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["colours", "weight"], ["layer0"]),
    ]
    for number, (operation, attributes) in enumerate(layers):
        made = "features" if number == len(layers) - 1 else f"layer{number + 1}"
        nodes.append(helper.make_node(operation, [f"layer{number}"], [made], **attributes))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE_PX, SIDE_PX, 3])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", FEATURES])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


TURN: Layer = ("Transpose", {"perm": [0, 3, 1, 2]})
FLATTEN: Layer = ("Flatten", {"axis": 1})
WITH_MAPS = {
    "pooled": network(TURN, ("GlobalAveragePool", {}), FLATTEN),
    "channels last, pooled": network(("Relu", {}), ("ReduceMean", {"axes": [1, 2], "keepdims": 0})),
    "channels last, with a layer after the turn": network(
        TURN, ("Relu", {}), ("ReduceMean", {"axes": [2, 3]}), FLATTEN
    ),
}
WITHOUT = {
    "greatest place": network(TURN, ("GlobalMaxPool", {}), FLATTEN),
    "changed after the mean": network(TURN, ("GlobalAveragePool", {}), FLATTEN, ("Relu", {})),
    "mean over rows alone": network(
        TURN, ("ReduceMean", {"axes": [3], "keepdims": 0}), ("ReduceMax", {"axes": [2], "keepdims": 0})
    ),
}


@pytest.fixture
def pixels() -> Pixels:
    return np.random.default_rng(1).integers(256, size=(2, SIDE_PX, SIDE_PX, 3)).astype(np.uint8)


@pytest.mark.parametrize("content", WITH_MAPS.values(), ids=WITH_MAPS)
def test_map_has_the_features_as_its_mean_wherever_the_channels_are(content: bytes, pixels: Pixels) -> None:
    cut = cut_at_map(content, pixels)
    assert cut is not None
    onnx.checker.check_model(onnx.load_from_string(cut))
    (maps,) = open_session(cut).run(["feature_map"], {"pixels": pixels})
    (features,) = open_session(content).run(["features"], {"pixels": pixels})
    assert maps.shape == (2, FEATURES, SIDE_PX, SIDE_PX)
    np.testing.assert_allclose(maps.mean(axis=(2, 3)), features, atol=1e-5)


@pytest.mark.parametrize("content", WITHOUT.values(), ids=WITHOUT)
def test_network_without_such_a_map_is_placed_with_the_reason(content: bytes, pixels: Pixels) -> None:
    files = explanation_files("net", content, {}, pixels)
    assert set(files) == {ABOUT}
    assert NETWORK not in files
    assert "net supports no heat maps" in str(read_unexplainable_reason(files))
