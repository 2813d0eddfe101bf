"""Judging a trained head: figures with intervals, calibration, an abstain threshold, robustness, a report to look at.

Pure functions over arrays; must not import the code that trains.
"""

from __future__ import annotations

from export.evaluation.evaluation import Evaluation, evaluate
from export.evaluation.judged import Judged
from export.evaluation.report import write_report
from export.evaluation.robustness import Robustness, measure_robustness

__all__ = ["Evaluation", "Judged", "Robustness", "evaluate", "measure_robustness", "write_report"]
