"""`triptych loadtest locust`: runs shapes in sequence and gives one verdict."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.cli.options import (
    Deprecated,
    HelpFormatter,
    add_catalogue_key,
    add_objective,
    add_outputs,
    add_photos,
    add_server,
    output_file,
    positive,
    read_catalogue_key,
    write_outputs,
)
from loadtest.files import BASELINE_FILE
from loadtest.locust import baseline, runner
from loadtest.locust.run_result import RunResult, find_knee
from loadtest.locust.shapes import SHAPES, Shape, make_shape
from loadtest.locust.verdict import Check, Verdict, check_run
from loadtest.reports.environment import describe_environment, format_environment
from loadtest.server.counters import count_requests, searcher_calls_recognizer
from loadtest.server.objectives import Objective, read_objective
from loadtest.traffic.corpus import TrafficMix

_EPILOG = """\
examples:
  make loadtest                                               starts a server; smoke, step and spike; 3 minutes
  triptych run -- triptych loadtest locust smoke              one shape
  triptych loadtest locust soak --soak-s 21600 --think-s 0.5  six hours on a running server
  triptych loadtest locust step --transport http --workers 2  HTTP only, a master and two workers
  triptych loadtest locust --web                              Locust's web UI on http://127.0.0.1:8089
  triptych loadtest locust smoke step --json run1.json        for `triptych loadtest baseline`
"""
_COLOURS = {"passed": "green", "failed": "red", "skipped": "yellow"}


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "locust",
        help="load test with users, and a verdict on the objectives",
        description="Locust users send photos over gRPC and HTTP in a closed loop. Shapes: " + "; ".join(
            f"{name}: {description}" for name, description in SHAPES.items()
        ) + ". Then checks latency and availability against ops/slo.yaml, answers against reference answers, and our "
        "count of requests against the server's. Exit code 1 when a check failed.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )  # fmt: skip
    command.add_argument(
        "shapes", nargs="*", type=_shape, metavar="SHAPE", help=f"{', '.join(SHAPES)} (default: smoke)"
    )
    add_server(command)
    add_catalogue_key(command, required=False, help_text="key to add photos to an empty catalogue during the run")
    add_objective(command)
    _add_users(command)
    _add_traffic(command)
    add_outputs(command)
    command.add_argument("--junit", type=output_file, metavar="FILE", help="write the checks as JUnit XML")
    command.add_argument(
        "--web", type=int, nargs="?", const=8089, metavar="PORT", help="Locust's web UI instead of shapes"
    )
    command.add_argument(
        "--baseline", type=Path, default=BASELINE_FILE, metavar="FILE", help="of an earlier release (%(default)s)"
    )
    command.set_defaults(run=run)


def _add_users(command: argparse.ArgumentParser) -> None:
    command.add_argument("--transport", choices=runner.USERS, default="both", help="of the users (%(default)s)")
    command.add_argument("--users-of", action=Deprecated, dest="transport", const="--transport")
    command.add_argument(
        "--tasks", choices=runner.TASKS, default="mixed", help="recognize : embed : search = 6 : 2 : 2, or one of them"
    )
    command.add_argument(
        "--think-s", type=positive(float, or_zero=True), default=0.0, help="seconds between calls (%(default)s)"
    )
    command.add_argument(
        "--workers", type=positive(int, or_zero=True), default=0, help="Locust worker processes (%(default)s: none)"
    )
    command.add_argument("--scale", type=positive(float), default=1.0, help="factor of durations (%(default)s)")
    command.add_argument("--soak-s", type=positive(float), default=600.0, help="seconds of a soak (%(default)s)")
    command.add_argument("--soak-users", type=positive(int), default=1, help="users of a soak (%(default)s)")


def _add_traffic(command: argparse.ArgumentParser) -> None:
    add_photos(command)
    command.add_argument(
        "--zipf", type=float, default=TrafficMix.zipf, help="Zipf exponent of the photos' frequency (%(default)s)"
    )
    command.add_argument(
        "--repeat-share", type=float, default=TrafficMix.repeat_share, help="share of repeated photos (%(default)s)"
    )
    command.add_argument(
        "--bad-share", type=float, default=TrafficMix.bad_share, help="share of invalid photos (%(default)s)"
    )
    command.add_argument("--seed", type=int, default=1, help="of photos and draws (%(default)s)")


def run(options: argparse.Namespace, console: Console) -> int:
    """Exit code: 0 all checks passed, 1 a check failed."""
    objective = read_objective("recognizer", options.profile, options.slo)
    durations = {"scale": options.scale, "soak_s": options.soak_s, "soak_users": options.soak_users}
    shapes = [make_shape(name, **durations) for name in options.shapes or ["smoke"]]
    settings = runner.RunSettings(
        target=options.target, http=options.http, under_s=objective.under_s,
        mix=TrafficMix(options.zipf, options.repeat_share, options.bad_share), seed=options.seed,
        transport=options.transport, tasks=options.tasks, think_s=options.think_s, workers=options.workers,
    )  # fmt: skip
    key = None if options.catalogue_key_file is None else read_catalogue_key(options.catalogue_key_file)
    report = describe_environment() | {"settings": _settings(options), "runs": [], "figures": {}}
    has_baseline = options.baseline.is_file() or options.baseline != BASELINE_FILE
    if has_baseline:
        baseline.compare({}, report["machine"], report["settings"], options.baseline)  # an unusable file fails first
    count_requests(options.metrics)
    calls_recognizer = searcher_calls_recognizer(options.http)
    checks: dict[str, list[Check]] = {}
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(console=console, transient=True))
        folder = stack.enter_context(runner.prepare_run(settings, options.photos, options.sizes_px, key, progress))
        if options.web is not None:
            progress.stop()
            return runner.serve_web(settings, folder, options.web)
        for number, shape in enumerate(shapes):
            before = count_requests(options.metrics)
            # Each run draws other photos; two commands with one seed draw the same.
            own = replace(settings, seed=settings.seed + number)
            result = runner.run_shape(own, shape, folder, progress, **durations)
            checks[shape.name] = check_run(
                result, objective, before, count_requests(options.metrics), bad_share=options.bad_share,
                searcher_calls_recognizer=calls_recognizer,
            )  # fmt: skip
            report["figures"] |= result.figures()
            report["runs"].append(result.as_json())
            _show(console, result, checks[shape.name])
    if has_baseline:
        compared = baseline.compare(report["figures"], report["machine"], report["settings"], options.baseline)
        checks["baseline"] = compared
        console.print("[italic]baseline: comparison with an earlier release[/]", markup=True)
        _show_checks(console, compared)
    return _finish(options, objective, Verdict(checks), report, console)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Settings that two comparable runs share."""
    names = ("transport", "tasks", "think_s", "zipf", "repeat_share", "bad_share", "seed", "scale", "sizes_name")
    return {name: getattr(options, name) for name in names}


def _finish(
    options: argparse.Namespace, objective: Objective, verdict: Verdict, report: dict[str, Any], console: Console
) -> int:
    report |= {"objective": str(objective), "under_ms": objective.under_s * 1e3}
    write_outputs(options, {"passed": verdict.passed, "checks": verdict.as_json(), **report})
    if options.junit:
        verdict.write_junit(options.junit)
    console.print(format_environment(report))
    console.print("Verdict: passed." if verdict.passed else f"Verdict: failed ({', '.join(verdict.failed())}).")
    return 0 if verdict.passed else 1


def _show(console: Console, result: RunResult, checks: list[Check]) -> None:
    console.print(f"[italic]{result.shape.name}: {result.shape.description}[/]", markup=True)
    table = Table(box=None, pad_edge=False)
    for column in ("phase", "users", "answers/s", "failed", "in bound", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "phase" else "right")
    rows = result.rows()
    for row in rows:
        within = "" if row["within"] is None else f"{row['within']:.1%}"
        table.add_row(
            row["phase"], str(row["users"]), f"{row['answers_per_s']:.1f}", str(row["failed"]), within,
            str(row["p50_ms"] or ""), str(row["p99_ms"] or ""),
        )  # fmt: skip
    console.print(table)
    _show_limit(console, result.shape, rows)
    _show_checks(console, checks)


def _show_limit(console: Console, shape: Shape, rows: list[dict[str, Any]]) -> None:
    if shape.name == "step" and rows:
        knee = find_knee(rows)
        console.print(
            f"Knee: {knee['users']} users, {knee['answers_per_s']:.1f} answers/s; more users only add latency."
        )
    if shape.ends_at_break and rows:
        console.print(f"The run ended after {rows[-1]['users']} users.")


def _show_checks(console: Console, checks: list[Check]) -> None:
    for check in checks:
        console.print(f"  [{_COLOURS[check.result]}]{check.result:7}[/] {check.name}: {check.reason}", markup=True)
    console.print()


def _shape(name: str) -> str:
    if name not in SHAPES:
        raise argparse.ArgumentTypeError(f"unknown shape {name!r}; expected one of {', '.join(SHAPES)}")
    return name
