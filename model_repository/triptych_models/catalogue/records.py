"""Photos of the catalogue as data, and how far somebody has read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Item:
    """A photo to be written."""

    product_id: str
    photo_id: str
    fields: dict[str, Any] = field(default_factory=dict)
    image_digest: str | None = None
    phash: str | None = None


@dataclass(frozen=True)
class Photo:
    """A photo as it is kept; `embedding` float32[D], L2 norm 1."""

    id: int
    product_id: str
    photo_id: str
    fields: dict[str, Any]
    image_digest: str | None
    phash: str | None
    embedding: Floats


@dataclass(frozen=True)
class Tip:
    """How far somebody has followed.

    Attributes:
        sequence: of the last commit seen.
        token: of that commit; another one there means another history, as after a backup was restored.
        photo: the last id.
        removal: the last position in `removed`.
    """

    sequence: int = 0
    token: str = ""
    photo: int = 0
    removal: int = 0
