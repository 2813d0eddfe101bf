"""`python -m loadtest locust`: shapes one after the other, one verdict over all."""

from __future__ import annotations

import argparse
import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest import baseline, locust_runs
from loadtest.corpus import Mix
from loadtest.counters import asks_recognizer, count_requests
from loadtest.errors import LoadTestError
from loadtest.objectives import Objective, read_objective
from loadtest.options import (
    ROOT,
    add_objective,
    add_outputs,
    add_photos,
    add_server,
    output,
    positive,
    write_outputs,
)
from loadtest.report import describe_run
from loadtest.run_outcome import RunOutcome, find_knee
from loadtest.shapes import SHAPES, make_shape
from loadtest.verdict import Check, Verdict, judge

BASELINE = Path(__file__).with_name("baseline.json")

_EPILOG = """\
examples:
  make loadtest                                                   a server of its own, smoke, step and spike; 3 minutes
  python -m ops run -- python -m loadtest locust smoke            one shape
  python -m loadtest locust soak --soak-s 21600 --think-s 0.5     six hours on a server that runs
  python -m loadtest locust step --users-of http --workers 2      HTTP alone, a master and two workers
  python -m loadtest locust --web                                 Locust's page on http://127.0.0.1:8089
  python -m loadtest locust smoke step --json run1.json           for `python -m loadtest baseline`
"""


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "locust",
        help="users of a shop, and a verdict",
        description="Users send photos as shops have them, over gRPC and HTTP, in a closed loop: " + "; ".join(
            f"{name}: {what.rstrip('.')}" for name, what in SHAPES.items()
        ) + " Then checks latency and availability against ops/slo.yaml, answers against golden ones, our counts "
        "against the server's. Exit code 1 when a check failed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.add_argument(
        "shapes", nargs="*", type=_shape, metavar="SHAPE", help=f"{', '.join(SHAPES)} (default: smoke)"
    )
    add_server(command)
    command.add_argument(
        "--catalogue-key-file",
        type=Path,
        default=os.environ.get("TRIPTYCH_CATALOGUE_KEY_FILE"),
        help="lets an empty catalogue be given photos to search; they are taken away at the end",
    )
    add_objective(command)
    _add_users(command)
    add_outputs(command)
    command.add_argument("--junit", type=output, metavar="FILE", help="write the checks as JUnit XML")
    command.add_argument(
        "--web", type=int, nargs="?", const=8089, metavar="PORT", help="Locust's page instead of shapes"
    )
    command.add_argument(
        "--baseline", type=Path, default=BASELINE, metavar="FILE", help="figures of an earlier release (%(default)s)"
    )
    command.set_defaults(run=run)


def _add_users(command: argparse.ArgumentParser) -> None:
    command.add_argument("--users-of", choices=locust_runs.USERS, default="both", help="(%(default)s)")
    command.add_argument("--tasks", choices=locust_runs.TASKS, default="mixed", help="(%(default)s: 6 : 2 : 2)")
    command.add_argument(
        "--think-s", type=positive(float, or_zero=True), default=0.0, help="between calls (%(default)s)"
    )
    command.add_argument(
        "--workers", type=positive(int, or_zero=True), default=0, help="processes of Locust's (%(default)s: one)"
    )
    add_photos(command)
    command.add_argument(
        "--zipf", type=float, default=Mix.zipf, help="exponent of the photos' popularity (%(default)s)"
    )
    command.add_argument(
        "--repeat-share", type=float, default=Mix.repeat_share, help="photos sent byte for byte again (%(default)s)"
    )
    command.add_argument(
        "--bad-share", type=float, default=Mix.bad_share, help="calls that send no photo (%(default)s)"
    )
    command.add_argument("--seed", type=int, default=1, help="of photos and draws (%(default)s)")
    command.add_argument("--scale", type=positive(float), default=1.0, help="of the shapes' durations (%(default)s)")
    command.add_argument("--soak-s", type=positive(float), default=600.0, help="seconds of a soak (%(default)s)")
    command.add_argument("--soak-users", type=positive(int), default=1, help="users of a soak (%(default)s)")


def run(options: argparse.Namespace, console: Console) -> int:
    """Exit code: 0 all checks passed, 1 one failed."""
    objective = read_objective("recognizer", options.profile, options.slo)
    shapes = [
        make_shape(name, scale=options.scale, soak_s=options.soak_s, soak_users=options.soak_users)
        for name in options.shapes or ["smoke"]
    ]
    field = locust_runs.Field(
        target=options.target, http=options.http, under_s=objective.under_s,
        mix=Mix(options.zipf, options.repeat_share, options.bad_share), seed=options.seed, users=options.users_of,
        tasks=options.tasks, think_s=options.think_s, workers=options.workers,
    )  # fmt: skip
    key = _read_key(options.catalogue_key_file)
    if options.baseline != BASELINE:
        baseline.read(options.baseline)  # a wrong file shows before the load, not after it
    count_requests(options.metrics)
    is_fused = asks_recognizer(options.http)
    checks: dict[str, list[Check]] = {}
    report = describe_run(ROOT) | {"settings": _settings(options), "runs": [], "figures": {}}
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(console=console, transient=True))
        folder = stack.enter_context(locust_runs.prepare(field, options.photos, options.sizes_px, key, progress))
        if options.web is not None:
            progress.stop()
            return locust_runs.serve_web(field, folder, options.web)
        for number, shape in enumerate(shapes):
            before = count_requests(options.metrics)
            # Every run draws other photos; two programs of runs with one seed draw the same.
            of_run = replace(field, seed=field.seed + number)
            outcome = locust_runs.run_shape(
                of_run, shape, folder, progress, scale=options.scale, soak_s=options.soak_s,
                soak_users=options.soak_users,
            )  # fmt: skip
            checks[shape.name] = judge(
                outcome, objective, before, count_requests(options.metrics), bad_share=options.bad_share,
                searcher_asks_recognizer=is_fused,
            )  # fmt: skip
            report["figures"] |= outcome.figures()
            report["runs"].append(_describe(outcome))
            _show(console, outcome, checks[shape.name])
    if options.baseline.is_file() or options.baseline != BASELINE:
        found = baseline.compare(report["figures"], report["machine"], report["settings"], options.baseline)
        checks["baseline"] = found
        console.print("[italic]baseline: is it worse than an earlier release?[/]", markup=True)
        _show_checks(console, found)
    return _finish(options, objective, Verdict(checks), report, console)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What must be the same for two runs to be compared."""
    names = ("users_of", "tasks", "think_s", "zipf", "repeat_share", "bad_share", "seed", "scale", "sizes_name")
    return {name: getattr(options, name) for name in names}


def _read_key(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise LoadTestError(f"Cannot read the catalogue's key in {file} ({error.strerror}).") from error


def _finish(
    options: argparse.Namespace, objective: Objective, verdict: Verdict, report: dict[str, Any], console: Console
) -> int:
    report |= {"objective": str(objective), "under_ms": objective.under_s * 1e3}
    write_outputs(options, {"passed": verdict.passed, "checks": verdict.as_json(), **report})
    if options.junit:
        verdict.write_junit(options.junit)
    machine = report["machine"]
    console.print(f"{machine['cpu']}, {machine['cores']} cores, {report['date']}, commit {report['commit']}")
    failed = [
        f"{run}: {check.name}" for run, each in verdict.checks.items() for check in each if check.result == "failed"
    ]
    console.print("Verdict: passed." if verdict.passed else f"Verdict: failed ({', '.join(failed)}).")
    return 0 if verdict.passed else 1


def _describe(outcome: RunOutcome) -> dict[str, Any]:
    return {
        "shape": outcome.shape.name, "phases": outcome.rows(), "series": outcome.series(),
        "figures": outcome.figures(), "kinds": outcome.kinds(), "locust": outcome.locust,
        "lag_p99_ms": outcome.lag_ms(99),
    }  # fmt: skip


def _show(console: Console, outcome: RunOutcome, checks: list[Check]) -> None:
    console.print(f"[italic]{outcome.shape.name}: {outcome.shape.what}[/]", markup=True)
    table = Table(box=None, pad_edge=False)
    for column in ("phase", "users", "answers/s", "failed", "in bound", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "phase" else "right")
    rows = outcome.rows()
    for row in rows:
        within = "" if row["within"] is None else f"{row['within']:.1%}"
        table.add_row(
            row["phase"], str(row["users"]), f"{row['answers_per_s']:.1f}", str(row["failed"]), within,
            str(row["p50_ms"] or ""), str(row["p99_ms"] or ""),
        )  # fmt: skip
    console.print(table)
    if outcome.shape.name == "step" and rows:
        knee = find_knee(rows)
        console.print(
            f"The knee: {knee['users']} users, {knee['answers_per_s']:.1f} answers/s; more users only wait longer."
        )
    if outcome.shape.ends_at_break and rows:
        console.print(f"Stopped after {rows[-1]['users']} users.")
    _show_checks(console, checks)


def _show_checks(console: Console, checks: list[Check]) -> None:
    colours = {"passed": "green", "failed": "red", "skipped": "yellow"}
    for check in checks:
        console.print(f"  [{colours[check.result]}]{check.result:7}[/] {check.name}: {check.reason}", markup=True)
    console.print()


def _shape(name: str) -> str:
    if name not in SHAPES:
        raise argparse.ArgumentTypeError(f"no shape {name!r}; there are {', '.join(SHAPES)}")
    return name
