"""Photos of this tier."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def contents(photos: list[Path]) -> list[bytes]:
    """Eight sample photos."""
    return [photo.read_bytes() for photo in photos[:8]]
