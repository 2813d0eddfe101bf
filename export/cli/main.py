"""Command line of the export room: `python -m export COMMAND`. Each module of this folder adds its own parsers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from export.cli import (
    build,
    bulk_embed,
    diff,
    evaluate,
    inspect,
    labelling,
    publish,
    quantize,
    release,
    train,
    verify,
)

# Title in the help of `triptych` -> modules of the commands.
SECTIONS: dict[str, tuple[ModuleType, ...]] = {
    "teach it a shop's own labels": (train, evaluate, labelling),
    "build and release": (build, quantize, inspect, diff, release, verify, publish),
    "embed a large catalogue": (bulk_embed,),
}
# Former command -> command now; accepted with a warning for one release.
RENAMED = {
    "place": "build",
    "suggest-labels": "label suggest",
    "auto-label": "label auto",
    "find-label-errors": "label check",
    "few-shot": "label estimate",
    "embed-catalogue": "bulk-embed",
}


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 a check failed, 2 wrong usage."""
    options = _build_parser().parse_args(_with_current_name(sys.argv[1:] if arguments is None else arguments))
    return int(options.run(options))


def add_commands(add_section: Callable[[str], Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Adds the commands to `triptych`: an entry point of the group `triptych.commands`.

    Args:
        add_section: title of a section in the help -> an object with argparse's `add_parser`.

    Returns:
        Former commands: renamed -> the command now; removed -> what to do instead.
    """
    for title, modules in SECTIONS.items():
        section = add_section(title)
        for module in modules:
            module.add_parser(section)
    return RENAMED, {}


def _with_current_name(words: list[str]) -> list[str]:
    if not words or words[0] not in RENAMED:
        return words
    print(
        f"warning: `{words[0]}` is deprecated and will be removed in the next release; use `{RENAMED[words[0]]}`.",
        file=sys.stderr,
    )
    return [*RENAMED[words[0]].split(), *words[1:]]


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Turns weights into verified ONNX files, places them in a model repository that Triton serves, and "
        "packs placed repositories into releases.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_commands(lambda title: commands)
    return parser
