"""What a call returns. Plain values; must not import gRPC or tritonclient."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_CATEGORY_SEPARATOR = " / "


@dataclass(frozen=True, slots=True)
class Label:
    """One class the model recognised.

    Attributes:
        name: the class in words, as in "running shoe".
        category: the retail category, as in "Shoes", or None when a shop does not sell this class.
        score: its probability, 0 to 1.
        index: its place among the model's classes.
    """

    name: str
    category: str | None
    score: float
    index: int

    @classmethod
    def from_line(cls, line: str, *, score: float, index: int) -> Label:
        """Splits a line of `labels.txt`: "Shoes / running shoe", or "tabby cat" when it is no product."""
        category, separator, name = line.partition(_CATEGORY_SEPARATOR)
        if not separator:
            return cls(name=line, category=None, score=score, index=index)
        return cls(name=name, category=category, score=score, index=index)

    def __str__(self) -> str:
        return self.name if self.category is None else f"{self.category}{_CATEGORY_SEPARATOR}{self.name}"


# Compared by identity: `==` between arrays has no single answer.
@dataclass(frozen=True, slots=True, eq=False)
class Recognition:
    """What the server saw in one photo.

    Attributes:
        labels: the best classes, best first; at least one.
        retail_score: probability that the photo shows something a shop sells, 0 to 1.
        embedding: `float32[D]`, L2 norm 1, read-only (`.copy()` it to change it). D is the backbone's, 1280 by default.
        model: the model that answered.
        model_version: its version, or None when the server does not say.
        request_id: the id under which the server knows the request.
    """

    labels: tuple[Label, ...]
    retail_score: float
    embedding: npt.NDArray[np.float32] = field(repr=False)
    model: str
    model_version: str | None
    request_id: str

    @property
    def top(self) -> Label:
        """The best label."""
        return self.labels[0]
