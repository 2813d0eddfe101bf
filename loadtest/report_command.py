"""`python -m loadtest report`: reports of any commands on one page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtest.errors import LoadTestError
from loadtest.options import output


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "report",
        help="JSON of any of these commands -> one HTML page with charts",
        description="Everything is in the page itself: it can be sent and kept.",
        epilog="example:\n  python -m loadtest report out.html loadtest.json peak.json bench.json plan.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("page", type=output, metavar="OUT.html", help="is written")
    command.add_argument("reports", type=Path, nargs="+", metavar="FILE.json", help="of locust, server, bench, plan")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Exit code: 0 done."""
    from loadtest.page import write_page

    write_page(options.page, [_read(file) for file in options.reports])
    console.print(f"Written: {options.page}.")
    return 0


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadTestError(f"Cannot read {file} as a report ({error}).") from error
