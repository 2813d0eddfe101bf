"""`triptych loadtest locust`: runs shapes in sequence and gives one verdict."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest import arguments
from loadtest.arguments import as_path
from loadtest.files import BASELINE_FILE
from loadtest.locust import baseline, runner
from loadtest.locust.run_result import RunResult, find_knee
from loadtest.locust.settings import RunSettings, add_options
from loadtest.locust.shapes import SHAPES, Shape
from loadtest.locust.verdict import Check, Verdict, check_run
from loadtest.reports.environment import describe_environment, format_environment
from loadtest.server.counters import count_requests, searcher_calls_recognizer
from loadtest.server.objectives import Objective, read_objective

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
    command = arguments.add_command(
        commands,
        "locust",
        run,
        summary="load test with users, and a verdict on the objectives",
        description="Locust users send photos over gRPC and HTTP in a closed loop. Shapes: " + "; ".join(
            f"{name}: {description}" for name, description in SHAPES.items()
        ) + ". Then checks latency and availability against ops/slo.yaml, answers against reference answers, and our "
        "count of requests against the server's. Exit code 1 when a check failed. With the catalogue's key, an empty "
        "catalogue has photos during the run.",
        epilog=_EPILOG,
    )  # fmt: skip
    option = command.add_argument
    shape = arguments.one_of("shape", SHAPES)
    option("shapes", nargs="*", type=shape, metavar="SHAPE", help=f"{', '.join(SHAPES)} (default: smoke)")
    add_options(command)
    arguments.add_server(command, "--metrics")
    arguments.add_server(command, "--catalogue-key-file", required=False)
    arguments.add_objective(command)
    arguments.add_photos(command)
    option("--transport", choices=runner.USERS, default="both", help="of the users (%(default)s)")
    option("--users-of", action=arguments.Deprecated, dest="transport", const="--transport")
    option(
        "--tasks", choices=runner.TASKS, default="mixed", help="recognize : embed : search = 6 : 2 : 2, or one of them"
    )
    option(
        "--workers",
        type=arguments.positive(int, or_zero=True),
        default=0,
        help="Locust worker processes (%(default)s: none)",
    )
    arguments.add_outputs(command)
    option("--junit", type=arguments.output_file, metavar="FILE", help="write the checks as JUnit XML")
    option("--web", type=int, nargs="?", const=8089, metavar="PORT", help="Locust's web UI instead of shapes")
    option("--baseline", type=as_path, default=BASELINE_FILE, metavar="FILE", help="earlier release (%(default)s)")


def run(options: argparse.Namespace, console: Console) -> int:
    """Exit code: 0 all checks passed, 1 a check failed."""
    objective = read_objective("recognizer", options.profile, options.slo)
    options.under_ms = objective.under_s * 1e3
    settings = RunSettings.from_options(options)
    users = runner.select_users(options.transport, options.tasks)
    key = None if options.catalogue_key_file is None else arguments.read_catalogue_key(options.catalogue_key_file)
    report = describe_environment() | {"settings": _settings(options), "runs": [], "figures": {}}
    has_baseline = options.baseline.is_file() or options.baseline != BASELINE_FILE
    if has_baseline:
        baseline.compare({}, report["machine"], report["settings"], options.baseline)  # an unusable file fails first
    count_requests(options.metrics)
    calls_recognizer = searcher_calls_recognizer(options.http)
    checks: dict[str, list[Check]] = {}
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(console=console, transient=True))
        folder = stack.enter_context(runner.prepare_run(settings, options.photos, options.sizes.weights, key, progress))
        if options.web is not None:
            progress.stop()
            return runner.serve_web(settings, users, folder, options.web)
        for number, name in enumerate(options.shapes or ["smoke"]):
            before = count_requests(options.metrics)
            # Each run draws other photos; two commands with one seed draw the same.
            own = replace(settings, seed=settings.seed + number)
            result = runner.run_shape(own, users, name, folder, options.workers, progress)
            counted = count_requests(options.metrics) - before
            checks[name] = check_run(
                result, objective, counted, bad_share=options.bad_share, searcher_calls_recognizer=calls_recognizer
            )
            report["figures"] |= result.figures()
            report["runs"].append(result.as_json())
            _show(console, result, checks[name])
    if has_baseline:
        compared = baseline.compare(report["figures"], report["machine"], report["settings"], options.baseline)
        checks["baseline"] = compared
        console.print("[italic]baseline: comparison with an earlier release[/]", markup=True)
        _show_checks(console, compared)
    return _finish(options, objective, Verdict(checks), report, console)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Settings that two comparable runs share."""
    names = ("transport", "tasks", "think_s", "zipf", "repeat_share", "bad_share", "seed", "scale")
    return {**{name: getattr(options, name) for name in names}, "sizes_name": options.sizes.name}


def _finish(
    options: argparse.Namespace, objective: Objective, verdict: Verdict, report: dict[str, Any], console: Console
) -> int:
    report |= {"objective": str(objective), "under_ms": objective.under_s * 1e3}
    arguments.write_outputs(options, {"passed": verdict.passed, "checks": verdict.as_json(), **report})
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
