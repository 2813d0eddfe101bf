"""Figures per class (precision, recall, F1, support) and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix

from export.arrays import Integers


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class.

    Attributes:
        precision: None if the class was never predicted.
        recall: None if there is no photo of the class.
        support: number of photos of the class.
        answers: number of predictions of the class.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    answers: int


@dataclass(frozen=True)
class Confusion:
    """Number of photos of the class `truth` that were predicted as `answer`."""

    truth: str
    answer: str
    photos: int


def count_confusions(targets: Integers, answers: Integers, classes: int) -> Integers:
    """Returns int64[C,C]: rows are true classes, columns are predictions."""
    if not len(targets):  # scikit-learn refuses empty arrays
        return np.zeros((classes, classes), np.int64)
    matrix: Integers = confusion_matrix(targets, answers, labels=np.arange(classes))
    return matrix


def measure_classes(names: Sequence[str], matrix: Integers) -> list[ClassFigures]:
    """Figures of each class, from the confusion matrix."""
    right, support, answers = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return [
        ClassFigures(
            name=name,
            precision=_ratio(right[index], answers[index]),
            recall=_ratio(right[index], support[index]),
            f1=_ratio(2 * right[index], answers[index] + support[index]),
            support=int(support[index]),
            answers=int(answers[index]),
        )
        for index, name in enumerate(names)
    ]


def measure_macro_f1(targets: Integers, answers: Integers) -> float:
    """Mean F1 over the classes with photos; all classes have the same weight."""
    # scikit-learn's f1_score returns the same (a test compares them) but takes 1 ms, too long for 1,000 resamples.
    width = int(max(targets.max(), answers.max())) + 1
    support, answered = np.bincount(targets, minlength=width), np.bincount(answers, minlength=width)
    right = np.bincount(targets[targets == answers], minlength=width)
    present = support > 0
    return float((2 * right[present] / (support + answered)[present]).mean())


def list_confusions(names: Sequence[str], matrix: Integers, at_most: int = 15) -> list[Confusion]:
    """Pairs of confused classes, the most frequent first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    rows, columns = np.nonzero(wrong)
    order = np.argsort(-wrong[rows, columns], kind="stable")[:at_most]
    return [
        Confusion(names[rows[index]], names[columns[index]], int(wrong[rows[index], columns[index]])) for index in order
    ]


def _ratio(part: np.int64, whole: np.int64) -> float | None:
    return float(part / whole) if whole else None
