"""What the catalogue refuses, a sentence each. An error with a `reason` is the caller's to fix; others are ours."""

from __future__ import annotations

INVALID, INCOMPATIBLE, DENIED = "invalid", "incompatible", "denied"


class InvalidRequest(Exception):
    """The request says something that cannot be done."""

    reason = INVALID


class IncompatibleIndex(Exception):
    """Embeddings of another network: their similarity to these would mean nothing.

    Args:
        got: fingerprint of what came, or of what is stored.
        expected: fingerprint of the embedder that is served.
        what: whose fingerprint `got` is, and what to do about it.
    """

    reason = INCOMPATIBLE

    def __init__(self, what: str, got: str, expected: str, advice: str) -> None:
        super().__init__(f"Incompatible index: {what} has the fingerprint {got!r}, expected {expected!r}. {advice}")


class KeyRefused(Exception):
    """The caller does not hold the catalogue's key."""

    reason = DENIED


class EngineUnavailable(Exception):
    """The distributed engine does not answer; the same may work in a moment."""


# Of a StoreFault.
REMEDY = "It needs a folder that the server may write, with room on its disk; TRIPTYCH_CATALOGUE_DIR names it."


class StoreFault(Exception):
    """The store or its index cannot be opened or written; the message names the file and what to do."""
