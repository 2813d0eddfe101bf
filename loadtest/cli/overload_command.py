"""`triptych loadtest overload`: priorities and behaviour under overload."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from loadtest import arguments
from loadtest.errors import LoadTestError
from loadtest.open_loop.overload import measure
from loadtest.reports.environment import describe_environment
from loadtest.traffic.corpus import read_photos

_EPILOG = """\
example:
  triptych run --cache-mb 0 -- triptych loadtest overload

exit codes: 0 all bounds met, 1 a bound missed (named on stderr), 2 wrong usage
"""


def add(commands: Any) -> None:
    command = arguments.add_command(
        commands,
        "overload",
        run,
        summary="interactive requests beside a bulk job, and 10 times the capacity",
        description="Measures the capacity, then interactive requests alone and beside a bulk job, then 10 times the "
        "capacity. Bounds: a bulk job may double the p99 of interactive requests; under overload 80 % of the capacity "
        "must be answered.",
        epilog=_EPILOG,
    )
    arguments.add_server(command, "--target", "--pid")
    arguments.add_photo_folder(command)
    command.add_argument(
        "--turn-s", type=arguments.positive(float), default=15.0, help="seconds of each phase (%(default)s)"
    )
    arguments.add_outputs(command, report=False)


def run(options: argparse.Namespace, console: Console) -> int:
    """Exit code: 0 all bounds met."""
    photos = read_photos(options.photos, 640, 480)
    report = describe_environment()
    result = measure(options.target, options.pid, photos, options.turn_s, console)
    console.print(
        f"A bulk job raises the p99 of interactive requests {result.p99_ratio:.2f}x. Under overload "
        f"{result.goodput_share:.0%} of the capacity is answered, the generator uses {result.generator_cores:.2f} "
        f"cores, the server grows by {result.growth_mb:.0f} MB. Wrong answers: {result.wrong_answers}."
    )
    for error, count in sorted(result.errors.items(), key=lambda entry: -entry[1]):
        console.print(f"  {count} failed: {error}", markup=False)
    arguments.write_outputs(options, {**report, "overload": result.as_json()})
    if result.failures():
        raise LoadTestError(f"{'; '.join(result.failures())}. Repeat the run on an idle machine.")
    return 0
