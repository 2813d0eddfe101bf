"""The measured curve of one replica: reading it, and the error of the queueing model at its points."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from loadtest.capacity.queueing import Replica, predict
from loadtest.errors import LoadTestError
from loadtest.files import read_report

_FIELDS = {"machine", "profile", "photos", "date", "commit", "trials", "single", "instances", "capacity_per_s"}


def read_curve(file: Path) -> tuple[dict[str, Any], Replica]:
    """A report of `triptych loadtest open-loop --curve --json`, and the replica that it measured.

    Raises:
        LoadTestError: the file cannot be read, or is not a curve of this release.
    """
    curve = read_report(file)
    try:
        if missing := sorted(_FIELDS - curve.keys()):
            raise KeyError(*missing)
        return curve, Replica.from_curve(curve)
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise LoadTestError(
            f"{file} is not a curve of this release ({error!r}). Measure one with `triptych run -- triptych loadtest "
            "open-loop --curve --json FILE`."
        ) from error


def check_points(replica: Replica, curve: dict[str, Any]) -> list[dict[str, Any]]:
    """Measured and predicted milliseconds at each measured rate; the model was not fitted to these points."""
    rows = []
    for trial in curve["trials"]:
        found = predict(replica, trial["rate"])
        measured = {"p50_ms": trial["p50_ms"], "p99_ms": trial["p99_ms"]}
        predicted = {"p50_ms": found.p50_s * 1e3, "p99_ms": found.p99_s * 1e3}
        rows.append({"rate": trial["rate"], "measured": measured, "predicted": predicted})
    return rows


def summarize_errors(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean and largest |predicted / measured - 1| over p50 and p99 of all points below the capacity."""
    errors = [
        abs(row["predicted"][name] / row["measured"][name] - 1)
        for row in rows
        for name in ("p50_ms", "p99_ms")
        if math.isfinite(row["predicted"][name]) and row["measured"][name]
    ]
    if not errors:
        return {"mean": math.nan, "largest": math.nan, "figures": 0}
    return {"mean": sum(errors) / len(errors), "largest": max(errors), "figures": len(errors)}
