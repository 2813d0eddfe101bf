"""The baseline of an earlier release: figures of repeated runs, and the limits that follow from their spread."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

from loadtest.errors import LoadTestError
from loadtest.files import read_report
from loadtest.locust.verdict import Check

# One-sided 99 % quantiles of Student's t by degrees of freedom: 1 of 100 figures that did not change fails.
# Source: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
_T99 = {2: 6.965, 3: 4.541, 4: 3.747, 5: 3.365, 6: 3.143, 7: 2.998, 8: 2.896, 9: 2.821, 11: 2.718, 14: 2.624, 19: 2.539}
FEWEST_RUNS = 3
# Ratio of limit and median from which on the baseline is too imprecise to pass a figure.
WIDEST_BAND = 1.5


def make_baseline(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Of repeated runs of `triptych loadtest locust --json`.

    Raises:
        LoadTestError: fewer than 3 runs, or runs of different machines or settings.
    """
    if len(reports) < FEWEST_RUNS:
        raise LoadTestError(f"A baseline needs {FEWEST_RUNS} runs or more, got {len(reports)}. Repeat the run.")
    try:
        first = {key: reports[0][key] for key in ("machine", "settings", "date", "commit")}
        others = [report for report in reports if any(report[key] != first[key] for key in ("machine", "settings"))]
        runs = [report["figures"] for report in reports]
    except (KeyError, TypeError) as error:
        raise LoadTestError(
            f"A file is not a report of runs ({error!r}). `triptych loadtest locust smoke step --json FILE` writes one."
        ) from error
    if others:
        raise LoadTestError("The reports are of different machines or settings. Repeat the run with one of each.")
    names = [name for name in runs[0] if all(name in run for run in runs)]
    return {
        **first,
        "figures": {name: [run[name] for run in runs] for name in names},
        "limits": {name: round(_limit(name, [run[name] for run in runs]), 2) for name in names},
    }


def _limit(name: str, values: list[float]) -> float:
    """The prediction bound of one more value, on logarithms; a figure beyond it is worse."""
    logs = [math.log(value) for value in values]
    degrees = len(values) - 1
    t = _T99[max(known for known in _T99 if known <= degrees)]
    reach = t * statistics.stdev(logs) * math.sqrt(1 + 1 / len(values))
    centre = statistics.fmean(logs)
    return math.exp(centre - reach if _is_rate(name) else centre + reach)


def read_baseline(file: Path) -> dict[str, Any]:
    """A file that `triptych loadtest baseline` wrote.

    Raises:
        LoadTestError: the file is not a baseline.
    """
    found = read_report(file)
    try:
        figures = {name: [float(value) for value in values] for name, values in found["figures"].items()}
        return {**{key: found[key] for key in ("machine", "limits", "settings")}, "figures": figures}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadTestError(
            f"{file} is not a baseline ({error!r}). `triptych loadtest baseline RUN.json ... --write FILE` makes one."
        ) from error


def compare(figures: dict[str, float], machine: dict[str, Any], settings: dict[str, Any], file: Path) -> list[Check]:
    """One check per figure of both; skipped where machine or settings differ.

    Raises:
        LoadTestError: the file is not a baseline, or is one of a release with other settings.
    """
    baseline = read_baseline(file)
    if baseline["settings"].keys() != settings.keys():
        raise LoadTestError(
            f"{file} is a baseline of another release: its settings are {', '.join(baseline['settings'])}, expected "
            f"{', '.join(settings)}. Make a new one with `triptych loadtest baseline RUN.json ... --write FILE`."
        )
    theirs, values, limits = baseline["machine"], baseline["figures"], baseline["limits"]
    if (machine["cpu"], machine["cores"]) != (theirs["cpu"], theirs["cores"]):
        reason = (
            f"The baseline is of {theirs['cpu']}, {theirs['cores']} cores; this run is of {machine['cpu']}, "
            f"{machine['cores']} cores."
        )
        return [Check("baseline", "skipped", reason)]
    others = [f"{name} {was}" for name, was in baseline["settings"].items() if settings.get(name) != was]
    if others:
        return [Check("baseline", "skipped", f"The baseline has other settings: {', '.join(others)}.")]
    return [_compare_one(name, figures[name], values[name], limits[name]) for name in figures if name in values] or [
        Check(
            "baseline", "skipped",
            f"The baseline has {', '.join(values) or 'no figures'}; this run has {', '.join(figures) or 'no figures'}.",
        )
    ]  # fmt: skip


def _compare_one(name: str, figure: float, values: list[float], limit: float) -> Check:
    is_worse = figure < limit if _is_rate(name) else figure > limit
    median = statistics.median(values)
    reason = (
        f"{figure:g}, expected {'at least' if _is_rate(name) else 'at most'} {limit:g}; the baseline has median "
        f"{median:g} ({min(values):g} to {max(values):g} in {len(values)} runs)."
    )
    if not is_worse and max(limit / median, median / limit) > WIDEST_BAND:
        return Check(
            f"baseline: {name}", "skipped", f"{reason} Its runs differ too much; measure it again on an idle machine."
        )
    return Check(f"baseline: {name}", "failed" if is_worse else "passed", reason)


def _is_rate(name: str) -> bool:
    return name.endswith("_per_s")
