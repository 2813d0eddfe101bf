"""`triptych loadtest bench`: the server against the in-process baseline and the FastAPI baseline."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from rich.console import Console
from rich.progress import Progress

from loadtest import arguments
from loadtest.arguments import as_path
from loadtest.bench.scenario import SCENARIOS
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
    command = arguments.add_command(
        commands,
        "bench",
        run,
        summary="cost of serving over in-process and over FastAPI",
        description="Recognizes photos through the server in several ways, in processes without a server (the "
        "in-process baseline) and through FastAPI + ONNX Runtime (the FastAPI baseline), in interleaved turns. The "
        "server must run on this machine.",
        epilog=_EPILOG,
    )
    option = command.add_argument
    scenario = arguments.one_of("scenario", SCENARIOS)
    option("scenarios", nargs="*", type=scenario, metavar="SCENARIO", help=f"{', '.join(SCENARIOS)} (default: all)")
    arguments.add_server(command, "--target", "--http", "--pid")
    arguments.add_photo_folder(command)
    option(
        "--repository",
        type=as_path,
        default=ROOT / "model_repository",
        help="the server's repository (%(default)s)",
    )
    option("--rounds", type=arguments.positive(int), default=4, help="turns of each variant (%(default)s)")
    option("--turn-s", type=arguments.positive(float), default=1.5, help="seconds of a turn (%(default)s)")
    option("--seed", type=int, default=1, help="of the order in each round (%(default)s)")
    arguments.add_outputs(command)
    option("--chart", type=arguments.output_file, metavar="FILE", help="write a PNG of c1, c4, c16 and c32")
    option("--sweep-chart", type=arguments.output_file, metavar="FILE", help="write a PNG of the scenario sweep")


def run(options: argparse.Namespace, console: Console) -> int:
    # matplotlib, FastAPI and the clients are slow to import.
    from loadtest.bench.scenarios import Scenarios
    from loadtest.reports.bench_chart import draw_bench, draw_sweep

    http_address = options.http.removeprefix("http://")
    report = describe_environment()
    report |= {"rounds": options.rounds, "turn_s": options.turn_s, "seed": options.seed, "scenarios": {}}
    before = stage_totals(http_address)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(console=console, transient=True))
        scenarios = Scenarios(options.target, http_address, options.pid, options.repository, options.photos, stack)
        for name in options.scenarios or list(SCENARIOS):
            scenario = scenarios.make(name)
            scenario.run(options.rounds, options.turn_s, progress, options.seed)
            scenario.show(console)
            found = {"title": scenario.title, "by_latency": scenario.by_latency, "rows": scenario.rows()}
            report["scenarios"][name] = found
    report["stages_ms"] = stage_means(before, stage_totals(http_address))
    server = ServerProcess(options.pid)
    report["server_memory_mb"] = {"rss": server.rss_mb(), "pss": server.pss_mb()}
    _show_server(report, console)
    arguments.write_outputs(options, report)
    if options.chart:
        draw_bench(report).savefig(options.chart)
    if options.sweep_chart:
        draw_sweep(report).savefig(options.sweep_chart)
    return 0


def _show_server(report: dict[str, Any], console: Console) -> None:
    for model, stages in report["stages_ms"].items():
        console.print(f"{model}: " + ", ".join(f"{stage} {value:.2f} ms" for stage, value in stages.items()))
    memory = report["server_memory_mb"]
    console.print(f"server memory: PSS {memory['pss']:.0f} MB, RSS {memory['rss']:.0f} MB")
    console.print(format_environment(report))
