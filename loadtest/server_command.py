"""`python -m loadtest server`: an open model, MLPerf's LoadGen through the client."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.corpus import Corpus
from loadtest.counters import count_instances, count_requests
from loadtest.errors import LoadTestError
from loadtest.loadgen_settings import SCENARIOS, Settings
from loadtest.objectives import Objective, read_objective
from loadtest.open_model import OpenRun, Trial, at_rate, find_peak, run_loadgen
from loadtest.options import ROOT, add_objective, add_outputs, add_photos, add_server, positive, write_outputs
from loadtest.report import describe_run

# Of the capacity; below, so that the curve shows where waiting begins.
_CURVE_SHARES = (0.2, 0.4, 0.6, 0.75, 0.9)
_OFFLINE_S = 6.0
_GUESS_PER_S = 30.0

_EPILOG = """\
examples:
  python -m ops run -- python -m loadtest server --rate 20        20 photos/s, whether answered or not
  python -m ops run -- python -m loadtest server --find-peak      the highest rate that holds ops/slo.yaml; 4 minutes
  python -m ops run -- python -m loadtest server --scenarios      SingleStream, MultiStream, Server, Offline; 1 minute
  python -m ops run -- python -m loadtest server --curve --json curve.json        for `python -m loadtest plan`
A formal run of MLPerf takes 600 s a scenario: --duration-s 600.
"""


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "server",
        help="photos that do not wait for each other: the highest rate that holds",
        description="MLPerf's LoadGen sends photos through the client. Its Server scenario draws Poisson arrivals from "
        "a seed and takes the time from the moment a photo was due, so that a queue shows as users feel it. The "
        "generator's own lag is measured and fails a run. Exit code 1 when the objective was missed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--rate", type=positive(float), metavar="N", help="photos a second")
    what.add_argument("--find-peak", action="store_true", help="bisect for the highest rate that holds the objective")
    what.add_argument("--scenarios", action="store_true", help=f"{', '.join(SCENARIOS)} in turn")
    what.add_argument(
        "--curve", action="store_true", help="latency at a fifth to nine tenths of what the server can do"
    )
    add_server(command)
    add_objective(command)
    add_photos(command)
    command.add_argument("--duration-s", type=positive(float), default=15.0, help="of one run (%(default)s)")
    command.add_argument("--tries", type=positive(int), default=6, help="of the bisection (%(default)s)")
    command.add_argument("--repeat-share", type=float, default=0.0, help="photos the cache answers (%(default)s)")
    command.add_argument("--seed", type=int, default=1, help="of photos and arrivals (%(default)s)")
    add_outputs(command)
    command.set_defaults(run=run)


class _Bench:
    """Runs one after the other against one server, each counted on both sides."""

    def __init__(self, options: argparse.Namespace, objective: Objective, prepared: Path, console: Console) -> None:
        self.objective = objective
        self.settings = Settings(
            scenario="Server", target=options.target, prepared=str(prepared), duration_s=options.duration_s,
            rate=options.rate or _GUESS_PER_S, under_s=objective.under_s, fast_share=objective.fast_share,
            repeat_share=options.repeat_share, seed=options.seed,
        )  # fmt: skip
        self._metrics = options.metrics
        self._console = console

    def run(self, settings: Settings) -> OpenRun:
        before = count_requests(self._metrics).get("recognizer", 0)
        with Progress(console=self._console, transient=True) as progress:
            rate = f" at {settings.rate:.1f}/s" if settings.scenario == "Server" else ""
            progress.add_task(f"{settings.scenario}{rate}, {settings.duration_s:g} s", total=None)
            run = run_loadgen(settings)
        counted = count_requests(self._metrics).get("recognizer", 0) - before
        # What a full queue turns away Triton 2.51.0 does not count.
        uncounted = ("ConnectionFailed", "DeadlineExceeded", "Overloaded")
        uncertain = sum(run.failures.get(reason, 0) for reason in uncounted)
        # One more: the call before the run, which connects.
        if not run.photos + 1 - uncertain <= counted <= run.photos + 1:
            raise LoadTestError(
                f"{run.photos + 1} calls of ours, {counted} requests in the server's counters: something else uses the "
                "server, or --metrics is another's. Nothing was measured."
            )
        return run

    def try_rate(self, rate: float, duration_s: float) -> Trial:
        run = self.run(at_rate(self.settings, rate, duration_s))
        return Trial(run, run.misses(self.objective))

    def capacity(self) -> OpenRun:
        """With everything due at once: the first run learns how much that is, the second measures."""
        return self.run_offline(self.run_offline(_GUESS_PER_S).completed_per_s)

    def run_offline(self, rate: float) -> OpenRun:
        """With as many due at once as take `_OFFLINE_S` at this rate."""
        return self.run(replace(self.settings, scenario="Offline", rate=rate, duration_s=_OFFLINE_S))


def run(options: argparse.Namespace, console: Console) -> int:
    """Exit code: 0 done and the objective held, 1 it was missed."""
    objective = read_objective("recognizer", options.profile, options.slo)
    count_requests(options.metrics)
    instances, photos_per_run = count_instances(options.http)
    report = describe_run(ROOT) | {
        "objective": str(objective), "under_ms": objective.under_s * 1e3, "photos": options.sizes_name,
        "instances": instances, "photos_per_run": photos_per_run,
        "repeat_share": options.repeat_share, "seed": options.seed, "profile": options.profile,
    }  # fmt: skip
    with _prepared(options) as prepared:
        bench = _Bench(options, objective, prepared, console)
        way = (
            _find_peak if options.find_peak else _scenarios if options.scenarios else _curve if options.curve else _one
        )
        held = way(bench, options, report, console)
    machine = report["machine"]
    console.print(f"{machine['cpu']}, {machine['cores']} cores, {report['date']}, commit {report['commit']}")
    write_outputs(options, report)
    return 0 if held else 1


def _one(bench: _Bench, options: argparse.Namespace, report: dict[str, Any], console: Console) -> bool:
    trial = bench.try_rate(options.rate, options.duration_s)
    report["trials"] = [trial.run.as_json()]
    _show(console, [("", trial)])
    held = trial.missed is None
    console.print(f"Holds {bench.objective}." if held else f"Does not hold: {trial.missed}.")
    return held


def _find_peak(bench: _Bench, options: argparse.Namespace, report: dict[str, Any], console: Console) -> bool:
    capacity = bench.capacity()
    console.print(f"All due at once: {capacity.completed_per_s:.1f} photos/s. Objective: {bench.objective}.")
    trials = []
    for name, trial in find_peak(bench.try_rate, capacity.completed_per_s, options.duration_s, options.tries):
        trials.append((name, trial))
        outcome = "holds" if trial.missed is None else trial.missed
        console.print(f"  {name}: {trial.run.rate:.1f} photos/s for {trial.run.duration_s:g} s: {outcome}")
    _show(console, trials)
    last = trials[-1][1]
    held = last.missed is None
    report |= {
        "offline_per_s": round(capacity.completed_per_s, 2),
        "peak_per_s": round(last.run.rate, 2) if held else None,
        "trials": [trial.run.as_json() | {"name": name, "missed": trial.missed} for name, trial in trials],
    }
    console.print(
        f"Peak: {last.run.rate:.1f} photos/s hold it ({last.run.photos} photos, p99 {last.run.p99_ms:.0f} ms)."
        if held else f"No rate down to {last.run.rate:.1f} photos/s held: {last.missed}."
    )  # fmt: skip
    return held


def _scenarios(bench: _Bench, options: argparse.Namespace, report: dict[str, Any], console: Console) -> bool:
    capacity = bench.capacity()
    rate = capacity.completed_per_s / 2
    runs = [
        bench.run(Settings(**{**vars(bench.settings), "scenario": name, "rate": rate}))
        for name in SCENARIOS if name != "Offline"
    ]  # fmt: skip
    _show(console, [(run.scenario, Trial(run, None)) for run in (*runs, capacity)])
    report["scenarios"] = [run.as_json() for run in (*runs, capacity)]
    return True


def _curve(bench: _Bench, options: argparse.Namespace, report: dict[str, Any], console: Console) -> bool:
    alone = bench.run(Settings(**{**vars(bench.settings), "scenario": "SingleStream"}))
    capacity = bench.capacity()
    trials = [bench.try_rate(capacity.completed_per_s * share, options.duration_s) for share in _CURVE_SHARES]
    # Again: a machine that drifts is neither what it was before nor what it is after.
    again = bench.run_offline(capacity.completed_per_s)
    all_at_once = [("all at once", Trial(capacity, None)), ("and after", Trial(again, None))]
    _show(console, [("alone", Trial(alone, None)), *all_at_once, *(("", trial) for trial in trials)])
    offline = [capacity.completed_per_s, again.completed_per_s]
    report |= {
        "alone": alone.as_json(), "offline_per_s": round(sum(offline) / 2, 2),
        "offline_before_after": [round(rate, 2) for rate in offline],
        "trials": [trial.run.as_json() | {"missed": trial.missed} for trial in trials],
    }  # fmt: skip
    return True


def _show(console: Console, trials: list[tuple[str, Trial]]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("", "due/s", "answered/s", "photos", "failed", "p50 ms", "p90 ms", "p99 ms", "lag ms", "holds"):
        table.add_column(column, justify="right" if column else "left")
    for name, trial in trials:
        run = trial.run
        table.add_row(
            name, f"{run.rate:.1f}" if run.rate else "", f"{run.completed_per_s:.1f}", str(run.photos), str(run.failed),
            f"{run.p50_ms:.1f}", f"{run.p90_ms:.1f}", f"{run.p99_ms:.1f}",
            f"{max(run.lag_p99_ms, run.loadgen_lag_ms):.1f}" if run.rate else "",
            ("yes" if trial.missed is None else "no") if run.rate else "",
        )  # fmt: skip
    console.print(table)


@contextlib.contextmanager
def _prepared(options: argparse.Namespace) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="triptych_loadtest_") as folder:
        Corpus.make(options.photos, options.seed, sizes_px=options.sizes_px).write(Path(folder))
        yield Path(folder)
