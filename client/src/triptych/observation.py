"""What may watch a client's calls: `triptych.metrics` does."""

from __future__ import annotations

from typing import Protocol

from triptych.errors import TriptychError


class Observer(Protocol):
    """Told of every inference request; called from whichever thread makes it, and quick."""

    def started(self, method: str) -> None:
        """A request of `recognize`, `classify`, `embed`, `search`, `search_embedding` or `similar_to` begins."""

    def ended(self, method: str, seconds: float, error: BaseException | None) -> None:
        """It has its answer, or failed; tries and pauses are within `seconds`."""

    def retried(self, error: TriptychError) -> None:
        """A try failed with `error` and will be repeated."""
