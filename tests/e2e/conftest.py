"""Two releases with different answers, made of the placed model repository."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from export.release.assembly import make_release
from export.release.folder import remove_tree
from export.repository.manifest import place_files
from ops.settings import REPOSITORY

FEATURES = 1280
CLASSES = 1000
SHIFT = 7


def shuffled(onnx_file: Path, outputs: dict[str, list[int]], inputs: dict[str, list[int]]) -> bytes:
    """The same network with the columns of the named tensors taken in another order."""
    model = onnx.load(str(onnx_file))
    graph = model.graph
    for name, order in outputs.items():
        for node in graph.node:
            node.output[:] = [f"{name}_before" if tensor == name else tensor for tensor in node.output]
            node.input[:] = [f"{name}_before" if tensor == name else tensor for tensor in node.input]
        graph.initializer.append(numpy_helper.from_array(np.array(order), f"{name}_order"))
        graph.node.append(helper.make_node("Gather", [f"{name}_before", f"{name}_order"], [name], axis=1))
    for name, order in inputs.items():
        for node in graph.node:
            node.input[:] = [f"{name}_after" if tensor == name else tensor for tensor in node.input]
        graph.initializer.append(numpy_helper.from_array(np.array(order), f"{name}_order"))
        graph.node.insert(0, helper.make_node("Gather", [name, f"{name}_order"], [f"{name}_after"], axis=1))
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """What is placed, and a network that gives its features, embedding and scores in another order.

    Half of one with half of the other answers neither's scores: a mixed answer shows.
    """
    folder = tmp_path_factory.mktemp("releases")
    first = make_release(REPOSITORY, folder)
    other = folder / "other"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY, other, ignore=ignore)
    forward = [(n + SHIFT) % FEATURES for n in range(FEATURES)]
    back = [(n - SHIFT) % FEATURES for n in range(FEATURES)]
    rolled = [(n + SHIFT) % CLASSES for n in range(CLASSES)]
    labels = (REPOSITORY / "models/recognizer/labels.txt").read_text().splitlines()
    label_file = "".join(f"{labels[n]}\n" for n in rolled).encode()
    placed = json.loads((REPOSITORY / "manifest.json").read_text())
    files = {name: (REPOSITORY / name).read_bytes() for name in placed.pop("files")} | {
        "models/embedder/1/model.onnx": shuffled(
            REPOSITORY / "models/embedder/1/model.onnx", {"features": forward, "embedding": forward}, {}
        ),
        "models/classifier/1/model.onnx": shuffled(
            REPOSITORY / "models/classifier/1/model.onnx", {"category_scores": rolled}, {"features": back}
        ),
        "models/classifier/labels.txt": label_file,
        "models/recognizer/labels.txt": label_file,
    }
    place_files(other, files, placed)
    second = make_release(other, folder)
    yield first.folder, second.folder
    for release in (first, second):
        remove_tree(release.folder)
