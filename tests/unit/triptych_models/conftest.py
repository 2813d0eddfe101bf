"""An in-memory Weaviate cluster, and stores of it."""

from __future__ import annotations

import warnings
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.unit.triptych_models.fake_weaviate import FakeWeaviate
from tests.weaviate.catalogue_photos import StoreOf

URL = "http://weaviate.test:8080"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeWeaviate:
    with warnings.catch_warnings(record=True):  # dependencies of the client warn when they are imported
        import weaviate

        import triptych_models.catalogue.weaviate_store  # noqa: F401
    fake = FakeWeaviate()
    monkeypatch.setattr(weaviate, "connect_to_custom", fake.connect)
    return fake


@pytest.fixture
def store_of(cluster: FakeWeaviate) -> Any:
    """Makes a store of the cluster for a fingerprint; all are closed at the end."""
    from triptych_models.catalogue.weaviate_store import WeaviateCatalogueStore

    with ExitStack() as stack:

        def open_store(fingerprint: str, url: str = URL) -> WeaviateCatalogueStore:
            return stack.enter_context(closing(WeaviateCatalogueStore(url, fingerprint)))

        opened: StoreOf = open_store
        yield opened
