"""Command line of the export room: `python -m export COMMAND`. Each module of this folder adds its own parsers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from types import ModuleType
from typing import Any

from export.cli import build, diff, embed_catalogue, inspect, labelling, publish, quantize, release, train, verify

# Title in the help of `triptych` -> modules of the commands.
SECTIONS: dict[str, tuple[ModuleType, ...]] = {
    "teach it a shop's own labels": (train, labelling),
    "build and release": (build, quantize, inspect, diff, release, verify, publish),
    "embed a catalogue": (embed_catalogue,),
}


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 a check failed, 2 wrong usage."""
    options = _build_parser().parse_args(arguments)
    return int(options.run(options))


def add_commands(add_section: Callable[[str], Any]) -> None:
    """Adds the commands to `triptych`: an entry point of the group `triptych.commands`.

    Args:
        add_section: title of a section in the help -> an object with argparse's `add_parser`.
    """
    for title, modules in SECTIONS.items():
        section = add_section(title)
        for module in modules:
            module.add_parser(section)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Turns weights into verified ONNX files, places them in a model repository that Triton serves, and "
        "packs placed repositories into releases.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_commands(lambda title: commands)
    return parser
