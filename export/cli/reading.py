"""The options of how a catalogue is read, which `train`, `evaluate` and `label` share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from rich.console import Console

from export.cli.arguments import positive_integer

if TYPE_CHECKING:
    from export.training.dataset.rows import ReadingOptions

FOLDER_RULES = """\
In a folder, the first level of folders names the classes (shoes/front and shoes/side are one class, shoes); folders
named train, val or test around the classes are splits. Hidden folders, thumbnails and files that are no photos are
skipped and counted. A row or photo with a fault is refused: the run goes on, names it and exits with 1.
"""


def add_dry_run(parser: argparse._ActionsContainer) -> None:
    """Adds `--dry-run`."""
    parser.add_argument("--dry-run", action="store_true", help="show what would be read, and end without work")


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `reading_options`, and `--dry-run`."""
    group = parser.add_argument_group("reading of the catalogue (default: found out and reported)")
    group.add_argument(
        "--class-level",
        type=_class_level,
        default=1,
        metavar="N|last",
        help="level of the folders that name the classes; last: the folder that holds the photo (default: 1)",
    )
    group.add_argument(
        "--no-split-folders", action="store_true", help="take folders named train, val or test as classes"
    )
    group.add_argument("--encoding", metavar="NAME", help="of a text table, cp1252 for example")
    group.add_argument("--delimiter", metavar="SIGN", help="of a CSV table: one character, or tab")
    group.add_argument("--sheet", metavar="NAME", help="of a spreadsheet")
    add_dry_run(group)


def reading_options(
    options: argparse.Namespace,
    image: str | None = None,
    attributes: tuple[str, ...] = (),
    product: str | None = None,
) -> ReadingOptions:
    """What the user says about a catalogue."""
    from export.training.dataset.rows import ReadingOptions
    from export.training.dataset.tables import Columns
    from triptych.sources.table import TableOptions

    return ReadingOptions(
        Columns(image, attributes, product),
        TableOptions(options.encoding, options.delimiter, options.sheet),
        options.class_level,
        not options.no_split_folders,
    )


def dry_run(
    options: argparse.Namespace, reading: ReadingOptions, console: Console, *, min_classes: int, is_for_training: bool
) -> dict[str, Any]:
    """Shows what `options.catalogue` holds; returns the report."""
    from export.training.dataset.overview import show_catalogue

    return show_catalogue(options.catalogue, reading, console, min_classes=min_classes, is_for_training=is_for_training)


def _class_level(text: str) -> int:
    return 0 if text == "last" else positive_integer(text)
