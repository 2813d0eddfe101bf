"""`triptych loadtest plan`: the number of replicas for a rate, from a measured curve."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtest import arguments
from loadtest.arguments import as_path
from loadtest.capacity.curve import check_points, read_curve, summarize_errors
from loadtest.capacity.queueing import describe, plan
from loadtest.files import CURVE_FILE
from loadtest.reports.environment import format_environment

_EPILOG = """\
examples:
  triptych loadtest plan --rate 3000 --p99 0.25                   with the committed curve of a 2-core CPU
  triptych loadtest plan --rate 3000 --p99 0.1 --curve mine.json  with a curve of your own hardware:
  triptych run -- triptych loadtest open-loop --curve --json mine.json
The repository has no curve of a GPU.
"""


def add(commands: Any) -> None:
    command = arguments.add_command(
        commands,
        "plan",
        run,
        summary="number of replicas for a rate and a latency bound",
        description="Computes the number of replicas for a rate from a measured curve, and prints each step and the "
        "error of the queueing model at the measured points. Needs no server. Exit code 1 when no number of replicas "
        "meets the bound.",
        epilog=_EPILOG,
    )
    option = command.add_argument
    option("--rate", type=arguments.positive(float), required=True, metavar="N", help="photos per second")
    option("--p99", type=arguments.positive(float), required=True, metavar="S", help="bound of p99 in seconds")
    option("--curve", type=as_path, default=CURVE_FILE, metavar="FILE", help="of `open-loop --curve` (%(default)s)")
    option("--spare", type=arguments.positive(int, or_zero=True), default=1, help="spare replicas (%(default)s)")
    option("--no-simulation", action=arguments.Deprecated, dest="ignored", nargs=0)
    option("--peak", action=arguments.Deprecated, dest="ignored")
    option("--seed", action=arguments.Deprecated, dest="ignored")
    arguments.add_outputs(command)
    option("--chart", type=arguments.output_file, metavar="FILE", help="write a PNG")


def run(options: argparse.Namespace, console: Console) -> int:
    """Exit code: 0 done, 1 no number of replicas meets the bound."""
    curve, replica = read_curve(options.curve)
    _show_curve(console, curve, options.curve)
    made = plan(replica, options.rate, options.p99, options.spare)
    arithmetic = describe(replica, made)
    console.print("\n".join(arithmetic), highlight=False)
    rows = check_points(replica, curve)
    errors = summarize_errors(rows)
    _show_points(console, rows, errors)
    report: dict[str, Any] = {
        "curve": {key: curve[key] for key in ("machine", "date", "commit", "profile", "photos")},
        "replica": asdict(replica), "plan": asdict(made), "arithmetic": arithmetic, "checks": rows, "errors": errors,
    }  # fmt: skip
    arguments.write_outputs(options, report)
    if options.chart:
        from loadtest.reports.load_charts import draw_plan

        draw_plan(report).savefig(options.chart)
    return 0 if made.replicas is not None else 1


def _show_curve(console: Console, curve: dict[str, Any], file: Path) -> None:
    console.print(
        f"Curve: {format_environment(curve)}, profile {curve['profile']}, photos {curve['photos']} ({file.name})."
    )
    if curve["profile"].startswith("cpu"):
        console.print("The curve is of a CPU; it does not apply to a GPU.")
    cores = curve["machine"]["cores"]
    if curve.get("load_before", 0) > cores:
        console.print(
            f"[yellow]Before the run {curve['load_before']:.0f} processes were runnable on {cores} cores. Measure the "
            "curve again on an idle machine.[/]"
        )


def _show_points(console: Console, rows: list[dict[str, Any]], errors: dict[str, float]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("photos/s", "p50 measured", "predicted", "p99 measured", "predicted"):
        table.add_column(column, justify="right")
    for row in rows:
        cells = [f"{row['rate']:.1f}"]
        for name in ("p50_ms", "p99_ms"):
            measured, predicted = row["measured"][name], row["predicted"][name]
            error = f"{predicted:.0f} ({predicted / measured - 1:+.0%})" if math.isfinite(predicted) else ""
            cells += [f"{measured:.0f} ms", error]
        table.add_row(*cells)
    console.print("Prediction at the measured points, with its error:")
    console.print(table)
    if errors["figures"]:
        console.print(
            f"Error: mean {errors['mean']:.0%}, largest {errors['largest']:.0%} of {errors['figures']:.0f} figures."
        )
