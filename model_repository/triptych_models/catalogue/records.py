"""Photos of the catalogue as data, and a position in the store's history."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Item:
    """A photo to write."""

    product_id: str
    photo_id: str
    fields: dict[str, Any] = field(default_factory=dict)
    image_digest: str | None = None
    phash: str | None = None


@dataclass(frozen=True)
class Photo:
    """A stored photo; `embedding` is float32[D], L2 norm 1; `id` is the export cursor."""

    id: int | str
    product_id: str
    photo_id: str
    fields: dict[str, Any]
    image_digest: str | None
    phash: str | None
    embedding: Floats


@dataclass(frozen=True)
class Tip:
    """A position in the store's history, up to which a reader has read.

    Attributes:
        sequence: sequence of the last commit.
        token: token of that commit; another token means another history, after a restored backup for example.
        photo: id of the last photo.
        removal: last position in table `removed`.
    """

    sequence: int = 0
    token: str = ""
    photo: int = 0
    removal: int = 0
