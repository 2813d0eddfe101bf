"""Comparison with an earlier release: a committed baseline, with a band of noise from repeated runs of that release."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

from loadtest.errors import LoadTestError
from loadtest.verdict import Check

# One-sided 99 % of Student's t by degrees of freedom: of a hundred figures that are no worse, one is called worse.
# Source: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
_T99 = {2: 6.965, 3: 4.541, 4: 3.747, 5: 3.365, 6: 3.143, 7: 2.998, 8: 2.896, 9: 2.821, 11: 2.718, 14: 2.624, 19: 2.539}
FEWEST_RUNS = 3
# Median over limit, or limit over median, from which on a figure within the limit says nothing.
WIDEST_BAND = 1.5


def make_baseline(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Of repeated runs, each as `python -m loadtest locust --json` wrote it.

    Raises:
        LoadTestError: fewer than three runs, so that nobody knows their noise, or runs that cannot be compared.
    """
    if len(reports) < FEWEST_RUNS:
        raise LoadTestError(
            f"A band of noise needs {FEWEST_RUNS} runs at least, got {len(reports)}. Run it more often."
        )
    try:
        first = {key: reports[0][key] for key in ("machine", "settings", "date", "commit")}
        others = [report for report in reports if any(report[key] != first[key] for key in ("machine", "settings"))]
        runs = [report["figures"] for report in reports]
    except (KeyError, TypeError) as error:
        raise LoadTestError(
            f"One of the files is no report of runs ({error!r}). `python -m loadtest locust smoke step --json FILE` "
            "writes one."
        ) from error
    if others:
        raise LoadTestError("The reports are of different machines or settings, so their spread is no noise.")
    names = [name for name in runs[0] if all(name in run for run in runs)]
    return {
        **first,
        "figures": {name: [run[name] for run in runs] for name in names},
        "limits": {name: round(_limit(name, [run[name] for run in runs]), 2) for name in names},
    }


def _limit(name: str, values: list[float]) -> float:
    """Where the next figure counts as worse: the prediction bound of one more value, of logarithms (ratios)."""
    logs = [math.log(value) for value in values]
    degrees = len(values) - 1
    t = _T99[max(known for known in _T99 if known <= degrees)]
    reach = t * statistics.stdev(logs) * math.sqrt(1 + 1 / len(values))
    centre = statistics.fmean(logs)
    return math.exp(centre - reach if _is_rate(name) else centre + reach)


def write(baseline: dict[str, Any], file: Path) -> None:
    """For `compare`, and for git."""
    file.write_text(json.dumps(baseline, indent=1) + "\n", encoding="utf-8")


def read(file: Path) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        LoadTestError: the file is no baseline.
    """
    try:
        baseline: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        baseline["figures"] = {name: [float(value) for value in found] for name, found in baseline["figures"].items()}
        return {key: baseline[key] for key in ("machine", "figures", "limits", "settings")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadTestError(
            f"Cannot read {file} as a baseline ({error!r}). `python -m loadtest baseline RUN.json ... "
            "--write FILE` makes one."
        ) from error


def compare(figures: dict[str, float], machine: dict[str, Any], settings: dict[str, Any], file: Path) -> list[Check]:
    """A check a figure that both have; skipped where the machine or what was sent are others.

    Raises:
        LoadTestError: the file is no baseline.
    """
    baseline = read(file)
    theirs, values, limits = baseline["machine"], baseline["figures"], baseline["limits"]
    if (machine["cpu"], machine["cores"]) != (theirs["cpu"], theirs["cores"]):
        reason = (
            f"It is of {theirs['cpu']}, {theirs['cores']} cores; this is {machine['cpu']}, {machine['cores']} cores."
        )
        return [Check("baseline", "skipped", reason)]
    others = [f"{name} {was}" for name, was in baseline["settings"].items() if settings.get(name) != was]
    if others:
        return [Check("baseline", "skipped", f"It was made with {', '.join(others)}, this run was not.")]
    return [_compare_one(name, figures[name], values[name], limits[name]) for name in figures if name in values] or [
        Check("baseline", "skipped", f"It has none of {', '.join(figures) or 'no figures'}.")
    ]


def _compare_one(name: str, figure: float, values: list[float], limit: float) -> Check:
    is_worse = figure < limit if _is_rate(name) else figure > limit
    reason = (
        f"{figure:g}, median of the baseline {statistics.median(values):g} ({min(values):g} to {max(values):g} in "
        f"{len(values)} runs), expected {'at least' if _is_rate(name) else 'at most'} {limit:g}."
    )
    median = statistics.median(values)
    if not is_worse and max(limit / median, median / limit) > WIDEST_BAND:
        # Passing it would be no news.
        return Check(
            f"baseline: {name}", "skipped", f"{reason} Its runs differ too much to tell: measure it anew, quietly."
        )
    return Check(f"baseline: {name}", "failed" if is_worse else "passed", reason)


def _is_rate(name: str) -> bool:
    return name.endswith("_per_s")
