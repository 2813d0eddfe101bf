"""Entry point of `triptych loadtest`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

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
_GROUP = "loadtest"
# Former command -> command now; accepted with a warning for one release.
RENAMED = {"server": "open-loop"}
REMOVED = {
    "agree": "One load generator is left for each purpose: see `triptych loadtest --help`.",
    "catalogue-start": "docs/explanation/measurements.md has its last figures.",
    "client": "`triptych loadtest bench c16` measures triptych.Client beside tritonclient.",
    "quality": "`triptych train` and `triptych evaluate` report Recall@k of a shop's photos.",
    "recommend-eval": "Its shoppers were simulated; no command replaces it.",
    "scale": "`triptych loadtest plan` computes replicas from a measured curve.",
}


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 a check failed, 2 wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in RENAMED:
        print(
            f"warning: `{words[0]}` is deprecated and will be removed in the next release; use `{RENAMED[words[0]]}`.",
            file=sys.stderr,
        )
        words[0] = RENAMED[words[0]]
    parser = make_parser()
    if words and words[0] in REMOVED:
        parser.error(f"the command `{words[0]}` was removed. {REMOVED[words[0]]}")
    options = parser.parse_args(words)
    return int(options.run(options))


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=_DESCRIPTION)
    _add_all(parser.add_subparsers(required=True, metavar="COMMAND"))
    return parser


def add_commands(add_section: Callable[[str], Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Adds the group `loadtest` to `triptych`: an entry point of the group `triptych.commands`.

    Args:
        add_section: title of a section in the help -> an object with argparse's `add_parser`.

    Returns:
        Former commands: renamed -> the command now; removed -> what to do instead.
    """
    parser = add_section("measure a server").add_parser(
        _GROUP,
        help="load tests with a verdict, benchmarks, capacity: locust, bench, plan, ...",
        description=_DESCRIPTION,
    )
    _add_all(parser.add_subparsers(metavar="COMMAND"))
    renamed = {f"{_GROUP} {old}": f"{_GROUP} {new}" for old, new in RENAMED.items()}
    return renamed, {f"{_GROUP} {old}": advice for old, advice in REMOVED.items()}


def _add_all(commands: Any) -> None:
    for command in _COMMANDS:
        command.add(commands)
