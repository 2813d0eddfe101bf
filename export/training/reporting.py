"""What a training says of itself: the report of `export.evaluation` over the heads that will be placed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from export.evaluation import Evaluation, Judged, Robustness, evaluate, measure_robustness, write_report
from export.progress import step
from export.training.eye import Eye, Pixels
from export.training.heads import Head
from export.training.judging import Answers

# Photos that are spoilt in 18 ways each: 30 s on 2 cores.
SPOILT_PHOTOS = 120


@dataclass(frozen=True)
class Report:
    """Attributes:
    files: name inside the trained folder -> content.
    evaluations: attribute -> what was found; an attribute without photos to validate or to test is not there.
    """

    files: dict[str, bytes]
    evaluations: dict[str, Evaluation]


def make_report(
    answers: Mapping[str, tuple[Head, Answers, Answers]],
    eye: Eye,
    title: str,
    facts: Mapping[str, object],
    target_precision: float,
    console: Console,
) -> Report:
    """Judges each head on its validation and test photos; empty where no attribute has both."""
    judged = {
        name: (_judged(head, validation), _judged(head, test))
        for name, (head, validation, test) in answers.items()
        if len(validation.targets) and len(test.targets)
    }
    if not judged:
        return Report({}, {})
    with step(console, "Judging"):
        # At the temperature that is served, which few validation photos do not fit: thresholds meet served scores.
        evaluations = {
            name: evaluate(*pair, target_precision, temperature=answers[name][0].temperature)
            for name, pair in judged.items()
        }
    spoilt = (_spoil(answers[name][0], test, eye, console) for name, (_, test) in judged.items())
    robustness = [one for one in spoilt if one is not None]
    with step(console, "Writing the report"), tempfile.TemporaryDirectory() as folder:
        write_report(list(evaluations.values()), Path(folder), title, facts=facts, robustness=robustness)
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }
    return Report(files, evaluations)


def _judged(head: Head, answers: Answers) -> Judged:
    """As trained: the temperature that is folded in is taken out, so that the report shows what it does."""
    return Judged(
        answers.attribute,
        list(answers.classes),
        list(answers.photos),
        answers.targets,
        np.float32(head.temperature) * answers.logits,
        answers.features,
    )


def _spoil(head: Head, test: Judged, eye: Eye, console: Console) -> Robustness | None:
    """None where no test photo is there any more: a training that goes on keeps features, not photos."""
    there = np.array([row for row, photo in enumerate(test.photos) if photo.is_file()], np.int64)
    drawn = np.sort(np.random.default_rng(0).permutation(there)[:SPOILT_PHOTOS])
    if not len(drawn):
        return None
    pixels = np.stack([eye.decode(test.photos[row].read_bytes()) for row in drawn])

    def predict(batch: Pixels) -> Any:
        return head.logits(eye.embed(batch))

    with Progress(console=console, transient=True) as bar, step(console, f"Spoilt photos, {head.attribute}"):
        task = bar.add_task("Spoilt photos", total=None)
        return measure_robustness(
            head.attribute,
            pixels,
            test.targets[drawn],
            predict,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
