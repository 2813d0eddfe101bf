"""Command line of the load tests: `python -m loadtest --help` lists them."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest import (
    agree_command,
    baseline_command,
    catalogue_commands,
    locust_command,
    plan_command,
    report_command,
    server_command,
)
from loadtest.driver import ServerProcess
from loadtest.errors import LoadTestError
from loadtest.options import ROOT, add_outputs, add_photo_folder, add_pid, add_target, write_outputs, write_report
from loadtest.overload_command import add_overload
from loadtest.scenarios import SCENARIOS, Field, Scenarios
from triptych import TriptychError

_EPILOG = """\
examples:
  make bench                                              a server of its own and all scenarios, 10 minutes
  python -m ops run -- python -m loadtest bench c1 c16    two scenarios
  python -m ops run --profile '' -- python -m loadtest bench c16
                                                          the ensemble instead of the fused model
"""


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 a check failed, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    # A table that is read in a file is as wide as it needs to be.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    try:
        return options.run(options, console) or 0
    except (LoadTestError, TriptychError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _bench(options: argparse.Namespace, console: Console) -> None:
    # matplotlib is slow to import: only once the arguments are right.
    from loadtest.chart import draw
    from loadtest.report import describe_run, describe_scenario, stage_means, stage_totals
    from loadtest.sweep_chart import draw_sweep

    place = Field(options.target, options.http.removeprefix("http://"), options.pid, options.repository, options.photos)
    report = describe_run(ROOT)
    before = stage_totals(place.http_address)
    report |= {"rounds": options.rounds, "turn_s": options.turn_s, "seed": options.seed, "scenarios": {}}
    names = options.scenarios or list(SCENARIOS)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(console=console, transient=True))
        scenarios = Scenarios(place, stack)
        for name in names:
            scenario = scenarios.make(name)
            scenario.run(options.rounds, options.turn_s, progress, options.seed)
            scenario.show(console)
            report["scenarios"][name] = describe_scenario(scenario)
    report["stages_ms"] = stage_means(before, stage_totals(place.http_address))
    report["server_memory_mb"] = dict(zip(("rss", "pss"), ServerProcess(place.pid).memory_mb(), strict=True))
    for model, stages in report["stages_ms"].items():
        console.print(f"{model}: " + ", ".join(f"{stage} {value:.2f} ms" for stage, value in stages.items()))
    memory = report["server_memory_mb"]
    console.print(f"server memory: {memory['pss']:.0f} MB (shared pages counted once), RSS {memory['rss']:.0f} MB")
    machine = report["machine"]
    console.print(f"{machine['cpu']}, {machine['cores']} cores, {report['date']}, commit {report['commit']}")
    write_outputs(options, report)
    if options.chart:
        draw(report, options.chart)
    if options.sweep_chart:
        draw_sweep(report, options.sweep_chart)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest", description="Load tests of a running Triptych server.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_bench(commands)
    _add_client(commands)
    _add_scale(commands)
    catalogue_commands.add(commands)
    locust_command.add(commands)
    baseline_command.add(commands)
    server_command.add(commands)
    add_overload(commands)
    agree_command.add(commands)
    plan_command.add(commands)
    report_command.add(commands)
    return parser


def _add_bench(commands: Any) -> None:
    command = commands.add_parser(
        "bench",
        help="what serving costs over the same work without a server",
        description="Recognises photos through the server in several ways, in processes without a server (the "
        "ceiling), and through FastAPI + ONNX Runtime, in interleaved turns. Needs the server on this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "scenarios", nargs="*", type=_scenario, metavar="SCENARIO", help=f"{', '.join(SCENARIOS)} (default: all)"
    )
    add_target(command)
    command.add_argument(
        "--http",
        default=os.environ.get("TRIPTYCH_HTTP_URL", "http://127.0.0.1:8000"),
        help="HTTP address (%(default)s, $TRIPTYCH_HTTP_URL)",
    )
    add_pid(command)
    add_photo_folder(command)
    command.add_argument(
        "--repository", type=Path, default=ROOT / "model_repository", help="the one being served (%(default)s)"
    )
    command.add_argument("--rounds", type=int, default=4, help="turns of each contestant (%(default)s)")
    command.add_argument("--turn-s", type=float, default=1.5, help="seconds a turn (%(default)s)")
    command.add_argument("--seed", type=int, default=1, help="of the order in each round (%(default)s)")
    add_outputs(command)
    command.add_argument("--chart", type=Path, metavar="FILE", help="write a PNG")
    command.add_argument("--sweep-chart", type=Path, metavar="FILE", help="write a PNG of the scenario sweep")
    command.set_defaults(run=_bench)


def _add_client(commands: Any) -> None:
    command = commands.add_parser(
        "client",
        help="what the client costs over tritonclient by hand",
        description="Sends photos through triptych and through tritonclient in turns: many at once, and one "
        "by one from the server's cache. `python -m ops run -- python -m loadtest client` brings its own server.",
    )
    add_target(command)
    add_photo_folder(command)
    command.add_argument("--count", type=int, default=2000, help="photos for each way (%(default)s)")
    command.add_argument("--concurrency", type=int, default=16, help="photos in flight (%(default)s)")
    command.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    command.set_defaults(run=_client)


def _client(options: argparse.Namespace, console: Console) -> None:
    from loadtest.client_cost import compare_many, compare_single
    from loadtest.photos import never_alike, read_photos
    from loadtest.report import describe_run

    photos = read_photos(options.photos, 640, 480)
    report = describe_run(ROOT)
    report["single"] = compare_single(options.target, photos[0], console)
    report["many"] = compare_many(
        options.target, never_alike(photos), count=options.count, concurrency=options.concurrency, console=console
    )
    write_report(report, options.json)


def _add_scale(commands: Any) -> None:
    scale = commands.add_parser(
        "scale",
        help="what more cores would give, on paper",
        description="Puts the costs of one photo, as `bench c16 --json` measured them, into a queueing model.",
    )
    scale.add_argument("report", type=Path, help="JSON of a bench that ran c16")
    scale.add_argument("--cores", type=int, nargs="+", default=[2, 4, 16, 64], help="sizes of machine (2 4 16 64)")
    scale.set_defaults(run=_scale)


def _scale(options: argparse.Namespace, console: Console) -> None:
    from loadtest.scale import OBJECTIVE_MS, Costs, closed_loop_rate, forecast

    try:
        report = json.loads(options.report.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadTestError(f"Cannot read {options.report} as a report ({error}). `make bench` writes one.") from error
    costs = Costs.from_report(report)
    table = Table(
        "cores",
        "photos/s, all busy",
        f"photos/s, p99 <= {OBJECTIVE_MS:g} ms",
        "p50 ms at 70 %",
        "p99 ms at 70 %",
        "gRPC threads busy",
        "memory GB",
        box=None,
    )
    for cores in options.cores:
        it = forecast(costs, cores)
        table.add_row(
            str(cores),
            f"{it.capacity:.0f}",
            f"{it.rate_in_objective:.0f}",
            f"{it.p50_ms:.1f}",
            f"{it.p99_ms:.1f}",
            f"{it.front_busy:.0%}",
            f"{it.memory_gb:.1f}",
        )
    console.print(table)
    measured = next(row for row in report["scenarios"]["c16"]["rows"] if row["name"] == "gRPC, bare")["photos_per_s"]
    predicted = closed_loop_rate(costs, report["machine"]["cores"])
    console.print(
        f"Check: with the callers on the same {report['machine']['cores']} cores the model says {predicted:.0f} "
        f"photos/s, the bench measured {measured:.0f} ({predicted / measured - 1:+.1%})."
    )


def _scenario(name: str) -> str:
    if name not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"no scenario {name!r}; there are {', '.join(SCENARIOS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
