"""`python -m loadtest plan`: from a measured curve to replicas: the arithmetic, its error, and a simulated fleet."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtest import capacity
from loadtest.capacity import Plan, Replica, answer_times
from loadtest.errors import LoadTestError
from loadtest.fleet import Autoscaler, Batching, Fleet, Record
from loadtest.options import add_outputs, output, positive, write_outputs

CURVE = Path(__file__).with_name("curve-cpu-2-cores.json")
_SIMULATED_S = 300.0
# The rate climbs from the plan's to the peak in this time, by the same factor each minute, and stays there for as long.
_CLIMB_S = 900.0

_EPILOG = """\
examples:
  python -m loadtest plan --rate 3000 --p99 0.25                    with the committed curve of a 2-core CPU
  python -m loadtest plan --rate 3000 --p99 0.1 --curve mine.json   with one of your own hardware:
  python -m ops run -- python -m loadtest server --curve --json mine.json
No curve of a GPU is in the repository: nothing was measured on one.
"""


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "plan",
        help="from a measured curve to replicas",
        description="Says how many replicas a rate needs, with the queueing arithmetic shown and its error against the "
        "measured points; then simulates such a fleet with dynamic batching and an autoscaler up to 100,000 photos/s. "
        "Needs no server. Exit code 1 when no number of replicas holds the bound.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--rate", type=positive(float), required=True, metavar="N", help="photos a second")
    command.add_argument("--p99", type=positive(float), required=True, metavar="S", help="seconds for 99 %% of answers")
    command.add_argument("--curve", type=Path, default=CURVE, metavar="FILE", help="of `server --curve` (%(default)s)")
    command.add_argument("--spare", type=positive(int, or_zero=True), default=1, help="replicas to lose (%(default)s)")
    command.add_argument(
        "--peak", type=positive(float), default=100_000, help="simulated up to this rate (%(default)s)"
    )
    command.add_argument("--no-simulation", action="store_true", help="the arithmetic alone")
    command.add_argument("--seed", type=int, default=1, help="of the simulation (%(default)s)")
    add_outputs(command)
    command.add_argument("--chart", type=output, metavar="FILE", help="write a PNG")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Exit code: 0 done, 1 no number of replicas holds the bound."""
    curve = read_curve(options.curve)
    replica = Replica.from_curve(curve)
    machine = curve["machine"]
    console.print(
        f"Curve: {machine['cpu']}, {machine['cores']} cores, profile {curve['profile']}, photos {curve['photos']}, "
        f"{curve['date']}, commit {curve['commit']} ({options.curve.name}).\nA CPU: nothing of this was measured on a "
        "GPU, and no figure here says anything of one."
        if curve["profile"].startswith("cpu") else f"Curve: {options.curve.name}, profile {curve['profile']}."
    )  # fmt: skip
    if curve.get("load_before", 0) > machine["cores"]:
        console.print(
            f"[yellow]The machine did other work meanwhile: {curve['load_before']:.0f} runnable processes on "
            f"{machine['cores']} cores before the run. Measure again where nothing else runs.[/]"
        )
    made = capacity.plan(replica, options.rate, options.p99, options.spare)
    arithmetic = capacity.describe(replica, made)
    console.print("\n".join(arithmetic), highlight=False)
    report: dict[str, Any] = {
        "curve": {key: curve[key] for key in ("machine", "date", "commit", "profile", "photos")},
        "replica": asdict(replica), "plan": asdict(made), "arithmetic": arithmetic,
    }  # fmt: skip
    batching = batching_of(replica, curve)
    report["checks"] = check_points(replica, batching, curve, options.seed, is_simulated=not options.no_simulation)
    report["errors"] = sum_errors(report["checks"])
    _show_checks(console, report["checks"], report["errors"])
    if made.replicas is not None and not options.no_simulation:
        report["fleet"] = _simulate_fleet(made, replica, batching, options, console)
    write_outputs(options, report)
    if options.chart:
        from loadtest.plan_chart import draw_plan

        draw_plan(report, options.chart)
    return 0 if made.replicas is not None else 1


def read_curve(file: Path) -> dict[str, Any]:
    """A measured curve.

    Raises:
        LoadTestError: the file is none.
    """
    try:
        curve: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        missing = {"machine", "profile", "photos", "date", "commit", "trials", "photos_per_run"} - curve.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise LoadTestError(
            f"Cannot read {file} as a curve ({error}). `python -m loadtest server --curve --json FILE` measures one."
        ) from error
    if missing:
        raise LoadTestError(
            f"{file} is no curve: it has no {', '.join(sorted(missing))}. `python -m loadtest server --curve --json "
            "FILE` measures one."
        )
    return curve


def batching_of(replica: Replica, curve: dict[str, Any]) -> Batching:
    """A run of b photos takes fixed + b x photo: from one photo alone, and from full runs when all is busy.

    Where the second says more a photo than the first (a lone photo has all cores to itself), nothing is fixed.
    """
    most = int(curve["photos_per_run"])
    full_s = replica.service_s * most
    photo_s = (full_s - replica.alone_s) / max(most - 1, 1)
    fixed_s = max(0.0, replica.alone_s - photo_s)
    return Batching(
        replica.instances, fixed_s, (full_s - fixed_s) / most, most, sigma=math.sqrt(math.log(1 + replica.cv**2)),
        lone_s=replica.alone_s if replica.alone_s < replica.service_s else None,
    )  # fmt: skip


def check_points(
    replica: Replica, batching: Batching, curve: dict[str, Any], seed: int, is_simulated: bool = True
) -> list[dict[str, Any]]:
    """At each measured rate: measured, by the arithmetic, by the simulation. Neither was fitted to these points."""
    rows = []
    for trial in curve["trials"]:
        answer = answer_times(replica, trial["rate"])
        row = {"rate": trial["rate"], "measured": {"p50_ms": trial["p50_ms"], "p99_ms": trial["p99_ms"]}}
        row["arithmetic"] = {"p50_ms": answer.p50_s * 1e3, "p99_ms": answer.p99_s * 1e3}
        if is_simulated:
            # As many replicas as make the sample large: they are alike and independent.
            rate_of_all = trial["rate"] * 4
            record = Fleet(batching, _always(rate_of_all), replicas=4, sample=4, seed=seed).run(_SIMULATED_S)
            row["simulation"] = {name: record.percentile_ms(int(name[1:3]), from_s=10) for name in ("p50_ms", "p99_ms")}
        rows.append(row)
    return rows


def _always(rate: float) -> Callable[[float], float]:
    return lambda _: rate


def _simulate_fleet(
    made: Plan, replica: Replica, batching: Batching, options: argparse.Namespace, console: Console
) -> dict[str, Any]:
    assert made.answer is not None
    assert made.replicas is not None
    climb_s, start = _CLIMB_S, made.rate
    peak = max(options.peak, start)

    def rate_at(at_s: float) -> float:
        return float(start * (peak / start) ** min(1.0, at_s / climb_s))

    # Little: photos in flight a replica at the planned rate. Aimed at below it, for the pods are half a minute late.
    needed = max(made.by_capacity, made.by_latency or 0)
    in_flight = 0.7 * made.rate / needed * (replica.service_s + made.answer.waits * made.answer.wait_s)
    scaler = Autoscaler(target=in_flight)
    fleet = Fleet(batching, rate_at, scaler=scaler, replicas=made.replicas, seed=options.seed)
    with console.status(f"Simulating {2 * climb_s / 60:.0f} minutes up to {peak:,.0f} photos/s"):
        record = fleet.run(2 * climb_s)
    windows = _windows(record, made.p99_s, 2 * climb_s)
    last = record.replicas[-1][1]
    static = capacity.plan(replica, peak, made.p99_s, options.spare)
    climbing = [latency for arrived, latency in record.latencies if arrived < climb_s]
    steady = [latency for arrived, latency in record.latencies if arrived >= 1.5 * climb_s]
    report = {
        "peak": peak, "target_in_flight": in_flight, "replicas_at_end": last, "replicas_by_arithmetic": static.replicas,
        "late_while_climbing": _share_over(climbing, made.p99_s), "late_at_peak": _share_over(steady, made.p99_s),
        "simulated_photos": len(record.latencies), "windows": windows, "scaler": asdict(scaler),
    }  # fmt: skip
    report["sentence"] = (
        f"Simulated ({len(record.latencies):,} photos of {fleet.sample} replicas that stand for all): from "
        f"{start:,.0f} to {peak:,.0f} photos/s in {climb_s / 60:.0f} minutes, the autoscaler at {in_flight:.2f} photos "
        f"in flight a replica. {made.replicas} replicas at first, {last:,} at the end (the arithmetic says "
        f"{static.replicas:,}); "
        f"later than {made.p99_s * 1e3:g} ms: {report['late_while_climbing']:.2%} of the photos while climbing, "
        f"{report['late_at_peak']:.2%} at the peak."
    )
    console.print(report["sentence"])
    return report


def _share_over(latencies: list[float], bound_s: float) -> float:
    return sum(latency > bound_s for latency in latencies) / len(latencies) if latencies else math.nan


def _windows(record: Record, bound_s: float, duration_s: float, width_s: float = 30.0) -> list[dict[str, float]]:
    """A row each `width_s`: rate, replicas, p99, share that was late."""
    by_window: dict[int, list[float]] = {}
    for arrived, latency in record.latencies:
        by_window.setdefault(int(arrived // width_s), []).append(latency)
    counts = {int(at_s // width_s): (count, rate) for at_s, count, rate in record.replicas}
    return [
        {
            "at_s": window * width_s, "replicas": counts[window][0], "rate": counts[window][1],
            "p99_ms": record.percentile_ms(99, window * width_s, (window + 1) * width_s),
            "late": _share_over(by_window.get(window, []), bound_s),
        }
        for window in range(int(duration_s // width_s))
    ]  # fmt: skip


def sum_errors(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Way of predicting -> mean and largest of |predicted / measured - 1| over p50 and p99 of all points."""
    found: dict[str, dict[str, float]] = {}
    for way in ("arithmetic", "simulation"):
        errors = [
            abs(row[way][name] / row["measured"][name] - 1)
            for row in rows for name in ("p50_ms", "p99_ms") if way in row and math.isfinite(row[way][name])
        ]  # fmt: skip
        if errors:
            found[way] = {"mean": sum(errors) / len(errors), "largest": max(errors), "figures": len(errors)}
    return found


def _show_checks(console: Console, rows: list[dict[str, Any]], errors: dict[str, dict[str, float]]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("photos/s", "p50 measured", "arithmetic", "simulated", "p99 measured", "arithmetic", "simulated"):
        table.add_column(column, justify="right")
    for row in rows:
        cells = [f"{row['rate']:.1f}"]
        for name in ("p50_ms", "p99_ms"):
            measured = row["measured"][name]
            cells.append(f"{measured:.0f} ms")
            for way in ("arithmetic", "simulation"):
                predicted = row[way][name] if way in row else math.nan
                known = math.isfinite(predicted)
                cells.append(f"{predicted:.0f} ({predicted / measured - 1:+.0%})" if known else "")
        table.add_row(*cells)
    console.print("Checked against the measured points (in brackets the error):")
    console.print(table)
    for way, error in errors.items():
        mean, largest = error["mean"], error["largest"]
        console.print(f"  {way}: {mean:.0%} off on the mean of {error['figures']:.0f} figures, {largest:.0%} at most.")
