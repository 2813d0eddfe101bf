"""`triptych loadtest bench`: the server against the in-process baseline and the FastAPI baseline."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from loadtest.bench.scenario import SCENARIOS
from loadtest.cli.options import (
    HelpFormatter,
    add_http,
    add_outputs,
    add_photo_folder,
    add_pid,
    add_target,
    output_file,
    positive,
    write_outputs,
)
from loadtest.files import ROOT
from loadtest.reports.environment import describe_environment, format_environment
from loadtest.server.counters import stage_means, stage_totals
from loadtest.server.process import ServerProcess

_EPILOG = """\
examples:
  make bench                                      starts a server and runs all scenarios, 10 minutes
  triptych run -- triptych loadtest bench c1 c16  two scenarios
  triptych run --profile '' -- triptych loadtest bench c16
                                                  the ensemble instead of the fused model
"""


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "bench",
        help="cost of serving over in-process and over FastAPI",
        description="Recognizes photos through the server in several ways, in processes without a server (the "
        "in-process baseline) and through FastAPI + ONNX Runtime (the FastAPI baseline), in interleaved turns. The "
        "server must run on this machine.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    command.add_argument(
        "scenarios", nargs="*", type=_scenario, metavar="SCENARIO", help=f"{', '.join(SCENARIOS)} (default: all)"
    )
    add_target(command)
    add_http(command)
    add_pid(command)
    add_photo_folder(command)
    command.add_argument(
        "--repository", type=Path, default=ROOT / "model_repository", help="the server's repository (%(default)s)"
    )
    command.add_argument("--rounds", type=positive(int), default=4, help="turns of each variant (%(default)s)")
    command.add_argument("--turn-s", type=positive(float), default=1.5, help="seconds of a turn (%(default)s)")
    command.add_argument("--seed", type=int, default=1, help="of the order in each round (%(default)s)")
    add_outputs(command)
    command.add_argument("--chart", type=output_file, metavar="FILE", help="write a PNG of c1, c4, c16 and c32")
    command.add_argument("--sweep-chart", type=output_file, metavar="FILE", help="write a PNG of the scenario sweep")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Exit code: 0 done."""
    # matplotlib, FastAPI and the clients are slow to import.
    from loadtest.bench.scenarios import BenchSetup, Scenarios
    from loadtest.reports.bench_chart import draw_bench, draw_sweep

    http_address = options.http.removeprefix("http://")
    setup = BenchSetup(options.target, http_address, options.pid, options.repository, options.photos)
    report = describe_environment()
    report |= {"rounds": options.rounds, "turn_s": options.turn_s, "seed": options.seed, "scenarios": {}}
    before = stage_totals(http_address)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(console=console, transient=True))
        scenarios = Scenarios(setup, stack)
        for name in options.scenarios or list(SCENARIOS):
            scenario = scenarios.make(name)
            scenario.run(options.rounds, options.turn_s, progress, options.seed)
            scenario.show(console)
            report["scenarios"][name] = scenario.as_json()
    report["stages_ms"] = stage_means(before, stage_totals(http_address))
    report["server_memory_mb"] = dict(zip(("rss", "pss"), ServerProcess(setup.pid).memory_mb(), strict=True))
    _show_server(report, console)
    write_outputs(options, report)
    if options.chart:
        draw_bench(report, options.chart)
    if options.sweep_chart:
        draw_sweep(report, options.sweep_chart)
    return 0


def _show_server(report: dict[str, Any], console: Console) -> None:
    for model, stages in report["stages_ms"].items():
        console.print(f"{model}: " + ", ".join(f"{stage} {value:.2f} ms" for stage, value in stages.items()))
    memory = report["server_memory_mb"]
    console.print(f"server memory: PSS {memory['pss']:.0f} MB, RSS {memory['rss']:.0f} MB")
    console.print(format_environment(report))


def _scenario(name: str) -> str:
    if name not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"unknown scenario {name!r}; expected one of {', '.join(SCENARIOS)}")
    return name
