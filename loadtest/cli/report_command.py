"""`triptych loadtest report`: JSON reports of any commands in one HTML report."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from loadtest import arguments
from loadtest.arguments import as_path
from loadtest.files import read_report


def add(commands: Any) -> None:
    command = arguments.add_command(
        commands,
        "report",
        run,
        summary="JSON reports -> one HTML report",
        description="Writes one HTML file with the tables and charts of the reports, without external resources.",
        epilog="example:\n  triptych loadtest report out.html loadtest.json peak.json bench.json plan.json",
    )
    command.add_argument("html", type=arguments.output_file, metavar="OUT.html", help="file to write")
    command.add_argument(
        "reports", type=as_path, nargs="+", metavar="FILE.json", help="of locust, open-loop, bench or plan"
    )


def run(options: argparse.Namespace, console: Console) -> int:
    # matplotlib is slow to import.
    from loadtest.reports.html_report import write_html_report

    write_html_report(options.html, [read_report(file) for file in options.reports])
    console.print(f"Wrote {options.html}.")
    return 0
