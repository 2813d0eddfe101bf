"""`python -m loadtest overload`: its options and what it says."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtest.errors import LoadTestError
from loadtest.options import ROOT, add_photo_folder, add_pid, add_target, write_report

_EPILOG = """\
example:
  python -m ops run --cache-mb 0 -- python -m loadtest overload

exit codes: 0 every bar was met, 1 one was missed (said on stderr), 2 wrong usage
"""


def add_overload(commands: Any) -> None:
    """Adds the subcommand to those of `commands`."""
    command = commands.add_parser(
        "overload",
        help="shoppers beside a bulk job, and ten times what the server can answer",
        description="Measures the capacity; then the interactive alone and beside a bulk job; then 10 times the "
        "capacity. A bulk job may raise their p99 2x, and under overload 80 % of the capacity must be answered.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_target(command)
    add_pid(command)
    add_photo_folder(command)
    command.add_argument("--turn-s", type=_seconds, default=15.0, help="seconds of each phase (%(default)s)")
    command.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    command.set_defaults(run=_run)


def _seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 3600 seconds")
    return value


def _run(options: argparse.Namespace, console: Console) -> None:
    from loadtest.overload import measure
    from loadtest.photos import read_photos
    from loadtest.report import describe_run

    photos = read_photos(options.photos, 640, 480)
    report = describe_run(ROOT)
    verdict = measure(options.target, options.pid, photos, options.turn_s, console)
    console.print(
        f"A bulk job raises the interactive p99 {verdict.fairness:.2f}x; under overload {verdict.kept:.0%} of the "
        f"capacity is answered, and sending took {verdict.driver_cores:.2f} cores; memory + {verdict.grown_mb:.0f} "
        f"MB; {verdict.wrong} wrong answers."
    )
    for refusal, count in sorted(verdict.refused.items(), key=lambda entry: -entry[1]):
        console.print(f"  {count} refused: {refusal}", markup=False)
    write_report({**report, "overload": verdict.report()}, options.json)
    if verdict.failures():
        raise LoadTestError(f"{'; '.join(verdict.failures())}. Is the machine busy with something else?")
