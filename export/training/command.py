"""The command `train`: what it takes and how it is explained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from export.contract import TEMPLATE
from export.errors import WrongUsage
from export.training.split import DEFAULT_SHARES

ROOT = TEMPLATE.parent

_EPILOG = """\
examples:
  python -m export train ~/shop/photos                         a folder of class folders: photos/dress/*.jpg, ...
  python -m export train products.csv                          columns image, category, brand, colour, product_id
  python -m export train products.csv --attributes brand,colour --image-column file
  python -m export place --heads trained/photos --repository served      check the heads and place them
  python -m ops serve --repository served                      serve them

A folder's classes become the recogniser's categories. A table's columns of labels become one output each: `brand` is
answered as recognition.attributes["brand"], `category` in place of ImageNet's. Paths in a table are relative to it.
"""


def add_parser(commands: Any) -> None:
    """Adds `train` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="learn a shop's own labels from its photos",
        description="Learns a shop's own labels from a folder of class folders or a table. The placed backbone looks "
        "at each photo once; linear heads over what it sees are fitted in minutes, measured on photos kept apart, and "
        "written to a folder that `place --heads` takes. Done again, only new photos are looked at.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("catalogue", type=Path, metavar="CATALOGUE", help="a folder, or a .csv, .jsonl or .parquet")
    reading = parser.add_argument_group("how the catalogue is read (default: found by the names of the columns)")
    reading.add_argument("--image-column", metavar="NAME")
    reading.add_argument("--attributes", type=_names, default=(), metavar="NAME,...", help="columns of labels")
    reading.add_argument("--product-column", metavar="NAME", help="photos of one product stay on one side of the split")
    learning = parser.add_argument_group("how it learns")
    learning.add_argument(
        "--views", type=_views, default=6, metavar="N", help="of each photo: itself, mirrored, parts (default: 6)"
    )
    learning.add_argument(
        "--minutes", type=_minutes, default=3.0, metavar="M", help="for the search of hyper-parameters (default: 3)"
    )
    learning.add_argument("--trials", type=_positive, default=12, metavar="N", help="at most (default: 12)")
    learning.add_argument(
        "--split", type=_shares, default=DEFAULT_SHARES, metavar="T,V,E", help="shares (default: 0.7,0.15,0.15)"
    )
    learning.add_argument("--seed", type=int, default=0, metavar="N")
    places = parser.add_argument_group("where")
    places.add_argument("--output", type=Path, metavar="DIR", help="default: trained/<name of the catalogue>")
    places.add_argument("--replace", action="store_true", help="replace a trained folder that is there")
    places.add_argument(
        "--repository", type=Path, default=TEMPLATE, metavar="DIR", help="whose backbone looks (default: %(default)s)"
    )
    places.add_argument(
        "--cache", type=Path, default=ROOT / ".cache/features", metavar="DIR", help="of features (default: %(default)s)"
    )
    places.add_argument("--json", action="store_true", help="print one JSON object at the end; progress goes to stderr")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Does what the command line says."""
    try:
        import optuna  # noqa: F401
        import sklearn  # noqa: F401
    except ModuleNotFoundError as error:
        raise WrongUsage(f"Training needs {error.name}, which is not installed. Run `make setup`.") from error
    from export.training.catalogue import Reading
    from export.training.pipeline import Settings, train

    settings = Settings(
        catalogue=options.catalogue,
        output=options.output or ROOT / "trained" / options.catalogue.resolve().stem,
        reading=Reading(options.image_column, options.attributes, options.product_column),
        repository=options.repository,
        cache=options.cache,
        views=options.views,
        search_minutes=options.minutes,
        trials=options.trials,
        shares=options.split,
        seed=options.seed,
        replace=options.replace,
    )
    return train(settings, console)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}, expected at least 1")
    return number


def _views(text: str) -> int:
    number = _positive(text)
    if number > 64:
        raise argparse.ArgumentTypeError(f"{number}, expected at most 64")
    return number


def _minutes(text: str) -> float:
    number = float(text)
    if not 0 < number <= 24 * 60:
        raise argparse.ArgumentTypeError(f"{number:g}, expected minutes: more than 0, at most a day")
    return number


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _shares(text: str) -> tuple[float, float, float]:
    shares = tuple(float(part) for part in text.split(","))
    if len(shares) != 3 or any(share < 0 for share in shares) or shares[0] == 0 or abs(sum(shares) - 1) > 1e-6:
        raise argparse.ArgumentTypeError(
            f"{text!r}, expected train, validation and test that sum to 1, as 0.7,0.15,0.15"
        )
    return shares[0], shares[1], shares[2]
