"""Optional dependencies, imported on first use."""

from __future__ import annotations

import importlib
from types import ModuleType


def require(module: str, *, extra: str, wanted_by: str) -> ModuleType:
    """Imports a module; raises `ModuleNotFoundError` with the name of the extra that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{wanted_by} needs {module.partition('.')[0]}, which is not installed. "
            f"Run pip install 'triptych-client[{extra}]', or in a checkout pip install './client[{extra}]'.",
            name=error.name,
        ) from error
