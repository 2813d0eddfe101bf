"""Entry point of `triptych loadtest`."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from loadtest.cli import (
    baseline_command,
    bench_command,
    locust_command,
    open_loop_command,
    overload_command,
    plan_command,
    report_command,
    search_command,
)
from loadtest.errors import LoadTestError
from triptych import TriptychError

_COMMANDS = (
    locust_command,
    open_loop_command,
    plan_command,
    bench_command,
    overload_command,
    search_command,
    baseline_command,
    report_command,
)
_DESCRIPTION = "Load tests, benchmarks and capacity plans of a Triptych server."
_RENAMED = {"server": "open-loop"}
_REMOVED = {
    "agree": "There is one load generator for each purpose now.",
    "catalogue-start": "docs/explanation/measurements.md has its last figures.",
    "client": "`bench c16` measures triptych.Client beside tritonclient.",
    "quality": "`triptych train` reports Recall@k of a shop's photos.",
    "recommend-eval": "Its shoppers were simulated; no command replaces it.",
    "scale": "`plan` computes replicas from a measured curve.",
}


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 a check failed, 2 wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in _RENAMED:
        print(f"warning: `{words[0]}` is deprecated; use `{_RENAMED[words[0]]}`", file=sys.stderr)
        words[0] = _RENAMED[words[0]]
    parser = make_parser()
    if words and words[0] in _REMOVED:
        parser.error(f"the command `{words[0]}` was removed. {_REMOVED[words[0]]}")
    options = parser.parse_args(words)
    return int(options.run(options))


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=_DESCRIPTION)
    _add_all(parser.add_subparsers(required=True, metavar="COMMAND"))
    return parser


def add_commands(add_section: Callable[[str], Any]) -> None:
    """Adds the group `loadtest` to `triptych`: an entry point of the group `triptych.commands`.

    Args:
        add_section: title of a section in the help -> an object with argparse's `add_parser`.
    """
    parser = add_section("measure a server").add_parser(
        "loadtest", help="load tests with a verdict, benchmarks, capacity", description=_DESCRIPTION
    )
    _add_all(parser.add_subparsers(metavar="COMMAND"))


def _add_all(commands: Any) -> None:
    for command in _COMMANDS:
        command.add(commands)
    for parser in commands.choices.values():
        parser.set_defaults(run=functools.partial(_run, parser.get_default("run")))


def _run(run: Callable[[argparse.Namespace, Console], int], options: argparse.Namespace) -> int:
    # Outside of a terminal a table has its full width.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    try:
        return int(run(options, console))
    except (LoadTestError, TriptychError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
