"""Golden answers: what a photo was answered alone, and first under load, against what it is answered later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loadtest.errors import LoadTestError

# Of an embedding's components and of scores. Photos that are run together differ from one alone in the last bits; the
# same bound stands in tests/e2e/test_recognizer.py.
TOLERANCE = 1e-5

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """What counts of an answer.

    Attributes:
        top: the best label, or the nearest product; "" where there is none.
        numbers: `float32[D]`, an embedding, or one score.
    """

    top: str
    numbers: Floats


class GoldenAnswers:
    """References by kind of call and photo: taken alone before the run, and the first of the run.

    Attributes:
        compared: answers that had a reference.
        largest: difference of a number seen.
    """

    def __init__(self, alone: dict[tuple[str, str], Answer] | None = None) -> None:
        self._alone = alone or {}
        self._first: dict[tuple[str, str], Answer] = {}
        self.compared = 0
        self.largest = 0.0

    def differs(self, kind: str, key: str, answer: Answer) -> str | None:
        """What is other than it was, in a sentence; None where all is the same."""
        place = kind, key
        references = [("alone", self._alone.get(place)), ("first", self._first.setdefault(place, answer))]
        for name, reference in references:
            if reference is None or reference is answer:
                continue
            self.compared += 1
            difference = self._difference(answer, reference)
            if difference is not None:
                return f"{kind} of {key} is not what it was {name}: {difference}"
        return None

    def _difference(self, answer: Answer, reference: Answer) -> str | None:
        if answer.numbers.shape != reference.numbers.shape:
            return f"{answer.numbers.shape} numbers, expected {reference.numbers.shape}"
        distance = float(np.abs(answer.numbers - reference.numbers).max(initial=0.0))
        self.largest = max(self.largest, distance)
        if not distance <= TOLERANCE:  # NaN is a difference
            return f"a number differs by {distance:.2g}, more than {TOLERANCE:g}"
        if answer.top != reference.top:
            return f"the top is {answer.top!r}, expected {reference.top!r}"
        return None


def write_golden(answers: dict[tuple[str, str], Answer], file: Path) -> None:
    """Into an .npz, for `read_golden` in another process."""
    arrays: dict[str, Any] = {f"{kind}/{key}/{answer.top}": answer.numbers for (kind, key), answer in answers.items()}
    names = np.array(list(arrays))
    np.savez(file, names=names, **{f"n{number}": array for number, array in enumerate(arrays.values())})


def read_golden(file: Path) -> dict[tuple[str, str], Answer]:
    """What `write_golden` wrote.

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
        raise LoadTestError(f"No golden answers can be read from {file} ({error}).") from error
