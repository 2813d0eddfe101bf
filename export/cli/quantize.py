"""The command `quantize`: options and help."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from export.cli.arguments import SAMPLE_PHOTOS, HelpFormatter, add_json_option, as_path
from export.cli.execution import set_run
from export.repository.configs import CHECKOUT_REPOSITORY

_EPILOG = """\
examples:
  triptych quantize --calibration ~/shop/photos --evaluation ~/shop/labelled
"""


def add_parser(commands: Any) -> None:
    """Adds `quantize` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "quantize",
        help="replace the placed float32 embedder with an INT8 one if it is accurate and faster",
        description="Makes several static INT8 (QDQ) versions of the placed embedder and measures each next to "
        "float32 on this machine. A version is accepted if the cosine of every embedding is at least 0.99, the best "
        "class agrees on 99 % of the photos, and accuracy on labelled photos drops by at most 0.5 percentage points; "
        "the fastest accepted version replaces the embedder. Without an accepted version the command prints the "
        "measurements and changes nothing. `build` restores float32.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    _add_folder_options(parser)
    add_json_option(parser)
    set_run(parser, run)


def _add_folder_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repository",
        type=as_path,
        default=CHECKOUT_REPOSITORY,
        metavar="DIR",
        help="model repository (default: %(default)s)",
    )
    parser.add_argument(
        "--photos",
        type=as_path,
        default=SAMPLE_PHOTOS,
        metavar="DIR",
        help="*.jpg photos to verify on (default: %(default)s)",
    )
    parser.add_argument(
        "--calibration",
        type=as_path,
        default=SAMPLE_PHOTOS,
        metavar="DIR",
        help="photos like those in production; 100 are used (default: %(default)s)",
    )
    parser.add_argument(
        "--evaluation",
        type=as_path,
        default=SAMPLE_PHOTOS,
        metavar="DIR",
        help="at least 100 photos that are not used for calibration; 400 are used; labels as DIR/<class>/*.jpg or "
        "*_<class index>.jpg (default: %(default)s)",
    )


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Runs the command."""
    from export.placement.quantizing import quantize

    return quantize(options.repository, options.photos, options.calibration, options.evaluation, console)
