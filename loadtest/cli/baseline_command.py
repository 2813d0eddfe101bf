"""`triptych loadtest baseline`: the baseline for later releases, of repeated runs of this one."""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtest import arguments
from loadtest.arguments import as_path
from loadtest.files import read_report, write_json
from loadtest.locust import baseline

_EPILOG = """\
examples:
  for n in 1 2 3 4 5; do triptych run -- triptych loadtest locust smoke step --json run$n.json; done
  triptych loadtest baseline run?.json --write loadtest/baseline.json
"""


def add(commands: Any) -> None:
    command = arguments.add_command(
        commands,
        "baseline",
        run,
        summary="repeated runs -> the baseline of later releases",
        description="Computes the limit of each figure: the one-sided 99 % prediction bound of the repeated runs. 1 of "
        "100 figures that did not change fails. At least 3 runs; the band of 5 runs is half as wide as that of 3.",
        epilog=_EPILOG,
    )
    command.add_argument("reports", nargs="+", type=as_path, metavar="RUN.json", help="of `locust --json`")
    command.add_argument(
        "--write", type=arguments.output_file, required=True, metavar="FILE", help="loadtest/baseline.json"
    )


def run(options: argparse.Namespace, console: Console) -> int:
    made = baseline.make_baseline([read_report(file) for file in options.reports])
    write_json(made, options.write)
    table = Table(box=None, pad_edge=False)
    for column in ("figure", "median", "lowest", "highest", "limit"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, values in made["figures"].items():
        figures = (statistics.median(values), min(values), max(values), made["limits"][name])
        table.add_row(name, *(f"{figure:.1f}" for figure in figures))
    console.print(table)
    return 0
