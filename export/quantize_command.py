"""The command `quantize`: what it takes and how it is explained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from export.contract import TEMPLATE
from export.place_command import SAMPLE_PHOTOS

_EPILOG = """\
examples:
  python -m export quantize --calibration ~/shop/photos --evaluation ~/shop/labelled
"""


def add_parser(commands: Any) -> None:
    """Adds `quantize` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "quantize",
        help="replace the placed float32 embedder by an INT8 one, where that pays",
        description="Tries several ways of static INT8 (QDQ) on the placed embedder and measures each beside float32 "
        "on this machine. Kept is the fastest whose every embedding has a cosine of at least 0.99, whose best class is "
        "the same for 99 % of the photos, and which is right on at most 0.5 points fewer labelled photos. Where "
        "none is, the figures are printed and nothing changes. `place` brings float32 back.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repository", type=Path, default=TEMPLATE, metavar="DIR", help="(default: %(default)s)")
    parser.add_argument("--photos", type=Path, default=SAMPLE_PHOTOS, metavar="DIR", help="*.jpg to verify on")
    parser.add_argument(
        "--calibration", type=Path, default=SAMPLE_PHOTOS, metavar="DIR", help="photos like those to come, 100 are used"
    )
    parser.add_argument(
        "--evaluation",
        type=Path,
        default=SAMPLE_PHOTOS,
        metavar="DIR",
        help="at least 100 photos, none calibrated on; 400 are used. Labelled as DIR/<class>/*.jpg or *_<index>.jpg",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end; progress goes to stderr")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Does what the command line says."""
    from export.quantize import Settings, quantize

    return quantize(Settings(options.repository, options.photos, options.calibration, options.evaluation), console)
