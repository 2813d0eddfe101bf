"""Reference answers: the answers without load and the first answers under load, to compare later answers with."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loadtest.errors import LoadTestError
from loadtest.traffic.corpus import Corpus

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


def write_prepared(file: Path, corpus: Corpus, answers: dict[tuple[str, str], Answer]) -> None:
    """Writes the photos and the answers without load, which `read_prepared` reads in another process."""
    content = {
        "photos": {key: base64.b64encode(photo).decode() for key, photo in corpus.photos.items()},
        "answers": [[*place, answer.top, answer.numbers.tolist()] for place, answer in answers.items()],
    }
    file.write_text(json.dumps(content), encoding="utf-8")


def read_prepared(file: Path) -> tuple[Corpus, dict[tuple[str, str], Answer]]:
    """A file of `write_prepared`.

    Raises:
        LoadTestError: the file cannot be read.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        corpus = Corpus({key: base64.b64decode(photo) for key, photo in content["photos"].items()})
        rows = content["answers"]
        return corpus, {(kind, key): Answer(top, np.array(numbers, np.float32)) for kind, key, top, numbers in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadTestError(
            f"Cannot read photos and reference answers from {file} ({error!r}). `triptych loadtest locust` writes them."
        ) from error
