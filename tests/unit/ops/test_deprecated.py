"""Names of the previous release still work, with a warning."""

from __future__ import annotations

import importlib

import pytest

from ops.server.local_server import LocalServer


def test_former_module_of_the_local_server_warns() -> None:
    former = importlib.import_module("ops.local_server")
    with pytest.warns(DeprecationWarning, match=r"import ops\.server\.local_server"):
        assert former.LocalServer is LocalServer
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = former.other
