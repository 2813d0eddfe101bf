from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.triptych_models.catalogue.rebuild_shop import PHOTOS, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def full_shop(shop: Shop) -> Shop:
    """With photos, and an index that was saved."""
    shop.write(*range(PHOTOS))
    sync = shop.open_index()
    sync.maintain()
    sync.close()
    return shop
