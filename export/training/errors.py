"""What training refuses with. Light: importing it imports neither torch nor ONNX."""

from __future__ import annotations

from export.errors import ExportError


class CatalogueError(ExportError):
    """The catalogue cannot be learned from: what is wrong with it, where, and what to change."""


class TrainingError(ExportError):
    """Training cannot start or go on; what was finished before is kept."""


class WorseThanBefore(ExportError):
    """The new heads are worse than those they continue by more than the margin; nothing was published."""
