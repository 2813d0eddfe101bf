"""The interface of a catalogue store to model `catalogue`; for searches see `search.backend.SearchBackend`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from triptych_models.catalogue.field_kinds import FieldReader
from triptych_models.catalogue.filters import Condition
from triptych_models.catalogue.records import Floats, Ids, Item, Photo


class CatalogueStore(FieldReader, Protocol):
    """The source of truth about photos. Every method may raise `StoreFault` or `EngineUnavailable`."""

    def upsert(self, items: Sequence[Item], embeddings: Floats, fingerprint: str) -> int:
        """Writes photos; embeddings float32[N,D], L2 norm 1. Returns a rising number, or 0 where there is none."""

    def delete(self, product_ids: Sequence[str]) -> int:
        """Removes products with all their photos; returns the number of products removed."""

    def get(self, product_id: str) -> list[Photo]:
        """All photos of a product."""

    def count(self, conditions: Sequence[Condition] = ()) -> tuple[int, int]:
        """Number of photos that meet the conditions, and number of their products."""

    def export(self, after: Any, limit: int) -> list[Photo]:
        """Photos after the photo with id `after`; None starts at the first photo.

        Raises:
            InvalidRequest: `after` is not an id of this store.
        """

    def meta(self, key: str) -> str:
        """`fingerprint` of the stored embeddings; empty before the first write."""

    def activate(self) -> dict[str, Any]:
        """Makes searches use the catalogue of the network that is served.

        Raises:
            InvalidRequest: there is no catalogue to activate.
        """

    def about(self) -> dict[str, Any]:
        """What call `info` returns about the store."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Context in which `added_after` and `product_ids` see one state."""

    def added_after(self, photo: int, limit: int) -> tuple[Ids, Ids, Floats]:
        """Ids, product keys and embeddings float32[N,D] of the photos after an id."""

    def product_ids(self) -> dict[int, str]:
        """Product key -> product id."""
