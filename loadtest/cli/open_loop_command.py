"""`triptych loadtest open-loop`: the latency at a rate, the highest rate, and the curve for a capacity plan."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest import arguments
from loadtest.open_loop.peak_rate import CAPACITY_CONCURRENCY, RateTester, Trial, find_peak
from loadtest.reports.environment import describe_environment, format_environment
from loadtest.server.counters import count_instances, count_requests
from loadtest.server.objectives import read_objective
from loadtest.traffic.corpus import Corpus

# Shares of the capacity at which the curve is measured.
_CURVE_SHARES = (0.2, 0.4, 0.6, 0.75, 0.9)

_EPILOG = """\
examples:
  triptych run -- triptych loadtest open-loop --rate 20                  20 photos/s
  triptych run -- triptych loadtest open-loop --find-peak                the highest rate within ops/slo.yaml; 4 minutes
  triptych run -- triptych loadtest open-loop --curve --json curve.json  for `triptych loadtest plan`
"""


def add(commands: Any) -> None:
    command = arguments.add_command(
        commands,
        "open-loop",
        run,
        summary="the highest rate that meets the objectives",
        description="Sends photos with Poisson arrivals, independent of the answers. Latencies count from the time at "
        "which a photo was due, so that they include the queue. A late generator voids the run. Exit code 1 when the "
        "objective was missed.",
        epilog=_EPILOG,
    )
    option = command.add_argument
    mode = command.add_mutually_exclusive_group(required=True)
    mode.add_argument("--rate", type=arguments.positive(float), metavar="N", help="photos per second")
    mode.add_argument("--find-peak", action="store_true", help="bisect for the highest rate that meets the objective")
    mode.add_argument("--curve", action="store_true", help="measure latencies at 20 %% to 90 %% of the capacity")
    arguments.add_server(command, "--target", "--http", "--metrics")
    arguments.add_objective(command)
    arguments.add_photos(command)
    option("--duration-s", type=arguments.positive(float), default=15.0, help="of one trial (%(default)s)")
    option("--tries", type=arguments.positive(int), default=6, help="of the bisection (%(default)s)")
    option("--repeat-share", action=arguments.Deprecated, dest="repeat_share")
    option("--seed", type=int, default=1, help="of photos and arrivals (%(default)s)")
    arguments.add_outputs(command)


def run(options: argparse.Namespace, console: Console) -> int:
    """Exit code: 0 done and the objective met, 1 the objective was missed."""
    objective = read_objective("recognizer", options.profile, options.slo)
    count_requests(options.metrics)
    report = describe_environment() | {
        "objective": str(objective), "under_ms": objective.under_s * 1e3, "photos": options.sizes.name,
        "instances": count_instances(options.http), "seed": options.seed, "profile": options.profile,
    }  # fmt: skip
    with Progress(console=console, transient=True) as progress:
        progress.add_task("Preparing photos and reference answers", total=None)
        corpus = Corpus.make(options.photos, options.seed, sizes_px=options.sizes.weights)
        tester = RateTester(options.target, options.metrics, list(corpus.photos.values()), objective, options.seed)
    mode = _find_peak if options.find_peak else _measure_curve if options.curve else _try_rate
    met = mode(tester, options, report, console)
    console.print(format_environment(report))
    arguments.write_outputs(options, report)
    return 0 if met else 1


def _try_rate(tester: RateTester, options: argparse.Namespace, report: dict[str, Any], console: Console) -> bool:
    with console.status(f"{options.rate:g} photos/s for {options.duration_s:g} s"):
        trial = tester.try_rate(options.rate, options.duration_s)
    report["trials"] = [trial.as_json()]
    _show(console, [("", trial)])
    console.print(
        f"Objective met: {tester.objective}." if trial.missed is None else f"Objective missed: {trial.missed}."
    )
    return trial.missed is None


def _find_peak(tester: RateTester, options: argparse.Namespace, report: dict[str, Any], console: Console) -> bool:
    capacity = _measure_capacity(tester, console)
    trials = []
    for name, trial in find_peak(tester.try_rate, capacity, options.duration_s, options.tries):
        trials.append((name, trial))
        outcome = "met" if trial.missed is None else trial.missed
        console.print(f"  {name}: {trial.rate:.1f} photos/s for {trial.duration_s:g} s: {outcome}")
    _show(console, trials)
    last = trials[-1][1]
    met = last.missed is None
    report |= {
        "capacity_per_s": round(capacity, 2),
        "peak_per_s": round(last.rate, 2) if met else None,
        "trials": [trial.as_json() | {"name": name} for name, trial in trials],
    }
    console.print(
        f"Peak: {last.rate:.1f} photos/s meet the objective ({last.photos} photos, p99 {last.p99_ms:.0f} ms)."
        if met else f"No rate down to {last.rate:.1f} photos/s met the objective: {last.missed}."
    )  # fmt: skip
    return met


def _measure_curve(tester: RateTester, options: argparse.Namespace, report: dict[str, Any], console: Console) -> bool:
    with console.status("Measuring single requests"):
        single = tester.measure_single(options.duration_s)
    capacity = _measure_capacity(tester, console)
    trials = []
    for share in _CURVE_SHARES:
        with console.status(f"Measuring {share:.0%} of the capacity"):
            trials.append(tester.try_rate(capacity * share, options.duration_s))
    # Measured before and after, because the speed of a machine drifts.
    after = _measure_capacity(tester, console)
    _show(console, [("", trial) for trial in trials])
    console.print(f"Single requests: p50 {single['p50_ms']:.1f} ms, p99 {single['p99_ms']:.1f} ms.")
    report |= {
        "single": single,
        "capacity_per_s": round((capacity + after) / 2, 2),
        "capacity_before_after": [round(capacity, 2), round(after, 2)],
        "trials": [trial.as_json() for trial in trials],
    }
    return True


def _measure_capacity(tester: RateTester, console: Console) -> float:
    with console.status("Measuring the capacity"):
        capacity = tester.measure_capacity()
    console.print(f"Capacity: {capacity:.1f} photos/s at concurrency {CAPACITY_CONCURRENCY}.")
    return capacity


def _show(console: Console, trials: list[tuple[str, Trial]]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("", "sent/s", "answered/s", "photos", "failed", "p50 ms", "p90 ms", "p99 ms", "lag ms", "objective"):
        table.add_column(column, justify="right" if column else "left")
    for name, trial in trials:
        table.add_row(
            name, f"{trial.rate:.1f}", f"{trial.completed_per_s:.1f}", str(trial.photos), str(trial.failed),
            f"{trial.p50_ms:.1f}", f"{trial.p90_ms:.1f}", f"{trial.p99_ms:.1f}", f"{trial.lag_p99_ms:.1f}",
            "met" if trial.missed is None else "missed",
        )  # fmt: skip
    console.print(table)
