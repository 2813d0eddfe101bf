"""`python -m loadtest agree`: do bench, Locust and LoadGen say the same of one server?"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest import locust_runs
from loadtest.agreement import Generators, compare
from loadtest.corpus import Corpus, Mix
from loadtest.driver import ServerProcess
from loadtest.golden import write_golden
from loadtest.loadgen_settings import Settings
from loadtest.objectives import read_objective
from loadtest.options import ROOT, add_objective, add_outputs, add_photos, add_pid, add_server, positive, write_outputs
from loadtest.report import describe_run


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "agree",
        help="how far bench, Locust and LoadGen agree",
        description="The three generators in turns on the same photos, with 1 and with 16 calls in flight; ratios are "
        "taken within a round, because a machine drifts. Needs the server on this machine.",
        epilog="example:\n  python -m ops run -- python -m loadtest agree --sizes 640x480",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_server(command)
    add_objective(command)
    add_photos(command)
    add_outputs(command)
    add_pid(command)
    command.add_argument("--rounds", type=positive(int), default=3, help="(%(default)s)")
    command.add_argument("--turn-s", type=positive(float), default=6.0, help="seconds of a turn (%(default)s)")
    command.add_argument("--seed", type=int, default=1, help="of photos and arrivals (%(default)s)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Exit code: 0 done."""
    objective = read_objective("recognizer", options.profile, options.slo)
    mix = Mix(repeat_share=0.0, bad_share=0.0)
    report = describe_run(ROOT) | {"photos": options.sizes_name, "rounds": options.rounds, "turn_s": options.turn_s}
    with (
        tempfile.TemporaryDirectory(prefix="triptych_loadtest_") as name,
        Progress(console=console, transient=True) as progress,
    ):
        folder = Path(name)
        Corpus.make(options.photos, options.seed, sizes_px=options.sizes_px).write(folder)
        write_golden({}, folder / "golden.npz")
        field = locust_runs.Field(
            options.target, options.http, objective.under_s, mix, options.seed, users="grpc", tasks="recognize"
        )
        settings = Settings(
            "Server",
            options.target,
            name,
            options.turn_s,
            1.0,
            objective.under_s,
            objective.fast_share,
            0.0,
            options.seed,
        )
        found = Generators(field, settings, folder, ServerProcess(options.pid), options.turn_s).run(
            options.rounds, progress
        )
    report["agreement"] = {str(in_flight): compare(rounds) for in_flight, rounds in found.items()}
    for in_flight, rows in report["agreement"].items():
        _show(console, in_flight, rows)
    machine = report["machine"]
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, {report['date']}, commit {report['commit']}, load before "
        f"{report['load_before']}"
    )
    write_outputs(options, report)
    return 0


def _show(console: Console, in_flight: str, rows: dict[str, dict[str, float]]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in (f"{in_flight} in flight", "photos/s", "of bench", "over rounds", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if "flight" in column else "right")
    for name, row in rows.items():
        table.add_row(
            name, f"{row['rate']:.1f}", f"{row['ratio']:.2f}", f"{row['ratio_min']:.2f}-{row['ratio_max']:.2f}",
            f"{row['p50_ms']:.1f}", f"{row['p99_ms']:.1f}",
        )  # fmt: skip
    console.print(table)
    console.print()
