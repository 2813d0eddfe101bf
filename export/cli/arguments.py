"""Argument types and options that several commands share."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.repository.configs import CHECKOUT_REPOSITORY

ROOT = CHECKOUT_REPOSITORY.parent
SAMPLE_PHOTOS = ROOT / ".cache/photos"
FEATURE_CACHE = ROOT / ".cache/features"

_JSON_HELP = "print one JSON object to stdout; progress goes to stderr"


def as_path(text: str) -> Path:
    """Type of an option that names a file or a folder; "" would mean the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no path; expected the name of a file or a folder")
    return Path(text).expanduser()


def add_json_option(parser: argparse._ActionsContainer) -> None:
    """Adds `--json`, which `main` reads for every command."""
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)


def positive_integer(text: str) -> int:
    """A whole number from 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1")
    return int(text)


def names(text: str) -> tuple[str, ...]:
    """Names that commas separate, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wraps a description of one line, and keeps the lines of examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return super()._fill_text(text, width, indent) if "\n" in text else textwrap.fill(text, width)


class DeprecatedFlag(argparse.Action):
    """An earlier name of a flag: sets the same value and prints a warning to stderr.

    Args:
        replacement: the name to use instead.
    """

    def __init__(self, option_strings: Sequence[str], dest: str, replacement: str, **options: Any) -> None:
        self._replacement = replacement
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **options)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        print(
            f"warning: {option} is deprecated and will be removed in the next release; use {self._replacement}.",
            file=sys.stderr,
        )
        setattr(namespace, self.dest, True)
