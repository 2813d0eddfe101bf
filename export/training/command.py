"""The command `train`: what it takes and how it is explained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from export.contract import TEMPLATE
from export.errors import WrongUsage
from export.training.split import DEFAULT_SHARES

if TYPE_CHECKING:
    from export.training.tuning import Tuning

ROOT = TEMPLATE.parent

_EPILOG = """\
examples:
  python -m export train ~/shop/photos                         a folder of class folders: photos/dress/*.jpg, ...
  python -m export train products.csv                          columns image, category, brand, colour, product_id
  python -m export train products.csv --attributes brand,colour --image-column file
  python -m export train products.csv --unfreeze 6             tunes the last 6 blocks of the backbone too
  python -m export train new.csv --from trained/products       goes on: keeps the old classes, says what changed
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
    _add_learning(parser)
    _add_tuning(parser)
    _add_going_on(parser)
    _add_places(parser)
    parser.set_defaults(run=run)


def _add_learning(parser: argparse.ArgumentParser) -> None:
    reading = parser.add_argument_group("how the catalogue is read (default: found by the names of the columns)")
    reading.add_argument("--image-column", metavar="NAME")
    reading.add_argument("--attributes", type=_names, default=(), metavar="NAME,...", help="columns of labels")
    reading.add_argument("--product-column", metavar="NAME", help="photos of one product stay on one side of the split")
    learning = parser.add_argument_group("how it learns")
    learning.add_argument(
        "--views", type=_views, default=1, metavar="N", help="of each photo: itself, mirrored, parts (default: 1)"
    )
    learning.add_argument(
        "--minutes", type=_minutes, default=3.0, metavar="M", help="for the search of hyper-parameters (default: 3)"
    )
    learning.add_argument("--trials", type=_positive, default=12, metavar="N", help="at most (default: 12)")
    learning.add_argument(
        "--split", type=_shares, default=DEFAULT_SHARES, metavar="T,V,E", help="shares (default: 0.7,0.15,0.15)"
    )
    learning.add_argument(
        "--precision",
        type=_precision,
        default=0.95,
        metavar="P",
        help="share of the answers above the abstain threshold that has to be right (default: %(default)s)",
    )
    learning.add_argument("--seed", type=int, default=0, metavar="N")


def _add_going_on(parser: argparse.ArgumentParser) -> None:
    going_on = parser.add_argument_group("going on from an earlier training")
    going_on.add_argument(
        "--from", dest="previous", type=Path, metavar="DIR", help="a trained folder: its classes are kept and rehearsed"
    )
    going_on.add_argument(
        "--margin",
        type=_margin,
        default=0.02,
        metavar="A",
        help="accuracy on the old classes that may be lost before it is refused (default: 0.02)",
    )
    going_on.add_argument("--publish-worse", action="store_true", help="write it all the same")


def _add_places(parser: argparse.ArgumentParser) -> None:
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
        target_precision=options.precision,
        tuning=_tuning(options),
        base=(options.model, options.checkpoint),
        previous=options.previous,
        margin=options.margin,
        publish_worse=options.publish_worse,
    )
    return train(settings, console)


def _add_tuning(parser: argparse.ArgumentParser) -> None:
    tuning = parser.add_argument_group("tuning the backbone too (slower; better where a shop's photos differ)")
    tuning.add_argument("--unfreeze", type=_blocks, metavar="N|all", help="tune the last N blocks of the backbone")
    tuning.add_argument("--epochs", type=_positive, default=12, metavar="N", help="at most (default: 12)")
    tuning.add_argument(
        "--tune-minutes", type=_minutes, default=60.0, metavar="M", help="no further epoch after (default: 60)"
    )
    tuning.add_argument(
        "--tune-views", type=_positive, default=5, metavar="N", help="augmented views of a photo (default: 5)"
    )
    tuning.add_argument("--learning-rate", type=_rate, default=3e-4, metavar="R", help="default: %(default)g")
    tuning.add_argument(
        "--mixup", type=_mixing, default=0.2, metavar="A", help="two photos blended; 0 is none (default: 0.2)"
    )
    tuning.add_argument(
        "--cutmix", type=_mixing, default=0.0, metavar="A", help="part of one put into another; 0 is none (default: 0)"
    )
    tuning.add_argument(
        "--mixed-precision",
        action=argparse.BooleanOptionalAction,
        help="products in bfloat16 (default: where there is a GPU)",
    )
    tuning.add_argument(
        "--embedding-loss",
        choices=("supcon", "proxy-anchor"),
        help="also pull photos of one class together, for search",
    )
    tuning.add_argument("--model", metavar="NAME", help="of the placed backbone, where it is not the default")
    tuning.add_argument("--checkpoint", type=Path, metavar="FILE", help="its weights, where they are your own")


def _tuning(options: argparse.Namespace) -> Tuning | None:
    if options.previous is not None and options.unfreeze is not None:
        raise WrongUsage("--from goes on with heads; tuning needs all photos again: leave out --from or --unfreeze.")
    if options.unfreeze is None:
        if options.embedding_loss:
            raise WrongUsage("--embedding-loss tunes the backbone: say how much of it with --unfreeze N, or all.")
        return None
    import torch

    from export.training.tuning import Tuning

    return Tuning(
        unfreeze=options.unfreeze or None,
        epochs=options.epochs,
        views=options.tune_views,
        learning_rate=options.learning_rate,
        mixup=options.mixup,
        cutmix=options.cutmix,
        mixed_precision=torch.cuda.is_available() if options.mixed_precision is None else options.mixed_precision,
        minutes=options.tune_minutes,
        embedding_loss=options.embedding_loss,
        seed=options.seed,
    )


def _blocks(text: str) -> int:
    """0 stands for all."""
    return 0 if text == "all" else _positive(text)


def _rate(text: str) -> float:
    number = float(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{number:g}, expected more than 0 and less than 1, as 3e-4")
    return number


def _precision(text: str) -> float:
    number = float(text)
    if not 0.5 <= number <= 0.999:
        raise argparse.ArgumentTypeError(f"{number:g}, expected 0.5 to 0.999")
    return number


def _margin(text: str) -> float:
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{number:g}, expected 0 to 1, as 0.02")
    return number


def _mixing(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 10:
        raise argparse.ArgumentTypeError(f"{number:g}, expected 0 to 10")
    return number


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
