"""What an engine must be able to do for `catalogue`; `search.backend.SearchBackend` has what searches ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from triptych_models.catalogue.filters import Condition
from triptych_models.catalogue.records import Floats, Ids, Item, Photo


class CatalogueStore(Protocol):
    """The truth about the photos. Every method may raise `StoreFault` or `EngineUnavailable`."""

    def upsert(self, items: Sequence[Item], embeddings: Floats, fingerprint: str) -> int:
        """Writes photos; embeddings float32[N,D], L2 norm 1. Returns a number that rises, or 0."""

    def delete(self, product_ids: Sequence[str]) -> int:
        """Removes products with all their photos; returns how many there were."""

    def get(self, product_id: str) -> list[Photo]:
        """All photos of a product."""

    def count(self, conditions: Sequence[Condition] = ()) -> tuple[int, int]:
        """How many photos meet the conditions, of how many products."""

    def export(self, after: Any, limit: int) -> list[Photo]:
        """Photos behind the one with the id `after`; None begins.

        Raises:
            InvalidRequest: `after` is no id of this engine's.
        """

    def field_names(self) -> list[str]:
        """Every field that a photo has."""

    def meta(self, key: str) -> str:
        """`fingerprint` of the embeddings there; empty before anything was written."""

    def activate(self) -> dict[str, Any]:
        """Lets everybody search what was put in for this network.

        Raises:
            InvalidRequest: there is nothing to activate.
        """

    def about(self) -> dict[str, Any]:
        """What `info` tells of the engine."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Around the two below."""

    def added_after(self, photo: int, limit: int) -> tuple[Ids, Ids, Floats]:
        """ids, keys of products, float32[N,D]."""

    def product_ids(self) -> dict[int, str]:
        """Key -> product_id."""
