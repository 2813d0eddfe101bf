"""A small shop whose labels can be learned in a second, and empty catalogues."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from export.repository.configs import CHECKOUT_REPOSITORY
from export.repository.layout import CONFIG, EMBEDDER_ONNX, PACKAGE, TRANSFORM, model_file
from ops.server.local_server import LocalServer
from tests.contract.colours import COLOURS
from triptych import Client

RemoveProducts = Callable[[LocalServer], None]


@pytest.fixture(scope="session")
def remove_products() -> RemoveProducts:
    """Empties the catalogue of a server, where other tests may have written."""

    def remove(server: LocalServer) -> None:
        with Client(server.grpc_target, catalogue_key=server.catalogue_key_file.read_text().strip()) as client:
            client.catalogue.delete([photo.product_id for photo in client.catalogue.export()])

    return remove


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real decoder before a network of one layer: the mean colour of 49 fields."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(CHECKOUT_REPOSITORY / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (TRANSFORM, EMBEDDER_ONNX):
        (folder / name).parent.mkdir(parents=True)
    config = model_file("preprocess", CONFIG)
    shutil.copy(CHECKOUT_REPOSITORY / config, folder / config)
    (folder / TRANSFORM).write_text(json.dumps({"side_px": 56, "crop_ratio": 0.875, "interpolation": "bilinear"}))
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["fields"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["fields"], ["features"]),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 56, 56, 3])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 147])
    graph = helper.make_graph(nodes, "colours", [pixels], [features])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / EMBEDDER_ONNX)
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Twelve photos each of three colours."""
    random = np.random.default_rng(0)
    for colour, rgb in COLOURS.items():
        for number in range(12):
            pixels = np.clip(random.normal(rgb, 60, (80, 100, 3)), 0, 255).astype(np.uint8)
            file = tmp_path / "shop" / colour / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).resize((200, 160)).save(file)
    return tmp_path / "shop"
