"""Deprecated: `LocalServer` is in `ops.server.local_server`. The next release removes this module."""

from __future__ import annotations

import importlib
import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    if name != "LocalServer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("ops.local_server is deprecated; import ops.server.local_server", DeprecationWarning, stacklevel=2)
    return getattr(importlib.import_module("ops.server.local_server"), name)
