"""`python -m loadtest baseline`: what later releases are compared with, of repeated runs of this one."""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtest import baseline
from loadtest.errors import LoadTestError
from loadtest.options import output

_EPILOG = """\
examples:
  for n in 1 2 3 4 5; do python -m ops run -- python -m loadtest locust smoke step --json run$n.json; done
  python -m loadtest baseline run?.json --write loadtest/baseline.json
"""


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "baseline",
        help="repeated runs -> what later runs are compared with, with their noise",
        description="A later figure is called worse when it lies outside the one-sided 99 % prediction bound of the "
        "repeated runs: of a hundred that are no worse, one is called so. At least 3 runs; 5 give half the band of 3.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("reports", nargs="+", type=Path, metavar="RUN.json", help="of `locust --json`")
    command.add_argument("--write", type=output, required=True, metavar="FILE", help="loadtest/baseline.json")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Exit code: 0 done."""
    made = baseline.make_baseline([_read(file) for file in options.reports])
    baseline.write(made, options.write)
    table = Table(box=None, pad_edge=False)
    for column in ("figure", "median", "from", "to", "worse from"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, values in made["figures"].items():
        figures = (statistics.median(values), min(values), max(values), made["limits"][name])
        table.add_row(name, *(f"{figure:.1f}" for figure in figures))
    console.print(table)
    return 0


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadTestError(f"Cannot read {file} as a report ({error}).") from error
