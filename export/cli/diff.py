"""The command `diff`: prints what differs between two model repositories or releases."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from export.cli.arguments import add_json_option, as_path
from export.cli.execution import set_run
from export.release.difference import compare

LABELS_SHOWN = 20


def add_parser(commands: Any) -> None:
    """Adds `diff` to the command line."""
    command = commands.add_parser(
        "diff",
        help="compare two model repositories or releases",
        description="Compares files, config fields, labels and measurements. Exit code 0: no difference. Exit code 1: "
        "at least one difference.",
    )
    command.add_argument("before", type=as_path, metavar="A", help="a model repository or a release")
    command.add_argument("after", type=as_path, metavar="B", help="a model repository or a release")
    add_json_option(command)
    set_run(command, run)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Runs the command."""
    difference = compare(options.before, options.after)
    for line in _describe(difference) or ["No differences."]:
        console.print(line, markup=False)
    return {**difference, "exit_code": 1 if any(difference.values()) else 0}


def _describe(difference: dict[str, Any]) -> list[str]:
    lines = [f"{status:<8} {name}" for name, status in difference["files"].items()]
    for name, changes in difference["configs"].items():
        lines += [f"{name}: {path} {_arrow(change)}" for path, change in changes.items()]
    for name, changes in difference["labels"].items():
        for word in ("removed", "added"):
            shown = changes[word][:LABELS_SHOWN]
            lines += [f"{name}: {word} {line}" for line in shown]
            if len(changes[word]) > len(shown):
                lines.append(f"{name}: {word} {len(changes[word]) - len(shown)} more")
        lines += [f"{name}: {note}" for note in changes["note"]]
    return lines + [f"{path} {_arrow(change)}" for path, change in difference["facts"].items()]


def _arrow(change: tuple[Any, Any]) -> str:
    before, after = ("(none)" if value is None else value for value in change)
    return f"{before} -> {after}"
