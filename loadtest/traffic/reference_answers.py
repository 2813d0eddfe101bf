"""Reference answers: the answers without load and the first answers under load, to compare later answers with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loadtest.errors import LoadTestError

# For components of an embedding and for scores: photos in one batch differ from a photo alone in the last bits.
# tests/e2e/test_recognizer.py has the same bound.
TOLERANCE = 1e-5

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """The compared part of an answer.

    Attributes:
        top: the best label or the nearest product; "" without one.
        numbers: `float32[D]`, an embedding, or one score.
    """

    top: str
    numbers: Floats


class ReferenceAnswers:
    """References by kind of call and photo.

    Attributes:
        compared: answers that had a reference.
        largest_difference: of any number so far.
    """

    def __init__(self, without_load: dict[tuple[str, str], Answer] | None = None) -> None:
        self._without_load = without_load or {}
        self._first: dict[tuple[str, str], Answer] = {}
        self.compared = 0
        self.largest_difference = 0.0

    def differs(self, kind: str, key: str, answer: Answer) -> str | None:
        """A sentence about the difference; None when the answer equals its references."""
        place = kind, key
        references = [
            ("the answer without load", self._without_load.get(place)),
            ("the first answer of the run", self._first.setdefault(place, answer)),
        ]
        for name, reference in references:
            if reference is None or reference is answer:
                continue
            self.compared += 1
            difference = self._difference(answer, reference)
            if difference is not None:
                return f"{kind} of {key} differs from {name}: {difference}"
        return None

    def _difference(self, answer: Answer, reference: Answer) -> str | None:
        if answer.numbers.shape != reference.numbers.shape:
            return f"the shape is {answer.numbers.shape}, expected {reference.numbers.shape}"
        distance = float(np.abs(answer.numbers - reference.numbers).max(initial=0.0))
        self.largest_difference = max(self.largest_difference, distance)
        if not distance <= TOLERANCE:  # NaN is a difference
            return f"a number differs by {distance:.2g}, more than {TOLERANCE:g}"
        if answer.top != reference.top:
            return f"the top is {answer.top!r}, expected {reference.top!r}"
        return None


def write_references(answers: dict[tuple[str, str], Answer], file: Path) -> None:
    """Writes the .npz file that `read_references` reads in another process."""
    arrays: dict[str, Any] = {f"{kind}/{key}/{answer.top}": answer.numbers for (kind, key), answer in answers.items()}
    names = np.array(list(arrays))
    np.savez(file, names=names, **{f"n{number}": array for number, array in enumerate(arrays.values())})


def read_references(file: Path) -> dict[tuple[str, str], Answer]:
    """References that `write_references` wrote.

    Raises:
        LoadTestError: the file cannot be read.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            found = {}
            for number, name in enumerate(arrays["names"]):
                kind, key, top = str(name).split("/", 2)
                found[kind, key] = Answer(top, arrays[f"n{number}"])
            return found
    except (OSError, ValueError, KeyError) as error:
        raise LoadTestError(
            f"Cannot read reference answers from {file} ({error}). `triptych loadtest locust` writes them."
        ) from error
