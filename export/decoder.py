"""A repository's own decoder, loaded from its file: it is what will be served. Imports neither torch nor ONNX."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load_preprocessing(repository: Path) -> ModuleType:
    """`preprocess/1/preprocessing.py` as a module."""
    file = repository / "preprocess/1/preprocessing.py"
    specification = importlib.util.spec_from_file_location("placed_preprocessing", file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module
