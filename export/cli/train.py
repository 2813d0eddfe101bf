"""The command `train`: options, help and settings."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console

from export.cli.arguments import (
    FEATURE_CACHE,
    ROOT,
    DeprecatedFlag,
    HelpFormatter,
    add_json_option,
    as_path,
    names,
    positive_integer,
)
from export.cli.execution import set_run
from export.cli.reading import FOLDER_RULES, add_reading_options, dry_run, reading_options
from export.errors import WrongUsage
from export.repository.configs import CHECKOUT_REPOSITORY
from export.training.dataset.split import DEFAULT_SHARES

if TYPE_CHECKING:
    from export.training.tuning.loop import TuningSettings

_EPILOG = f"""\
examples:
  triptych train ~/shop/photos                               a folder of class folders: photos/dress/*.jpg, ...
  triptych train products.csv                                columns image, category, brand, colour, product_id
  triptych train products.csv --attributes brand,colour --image-column file
  triptych train products.csv --unfreeze 6                   also fine-tunes the last 6 blocks of the backbone
  triptych train new.csv --from trained/products             incremental training: keeps the old classes
  triptych build --heads trained/photos --repository served  verify the heads and place them
  triptych serve --repository served                         serve them
  triptych train ~/shop/photos --dry-run                     show classes, splits and counts, and end

The class names of a folder become the categories of the recogniser. Each label column of a table becomes one output:
clients read `brand` as recognition.attributes["brand"]; `category` replaces the ImageNet classes. Paths in a table are
relative to the table.

{FOLDER_RULES}exit codes: 0 done, 1 rows or photos were refused, or nothing was trained (see the output), 2 wrong usage,
130 interrupted
"""


def add_parser(commands: Any) -> None:
    """Adds `train` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="train classification heads on a shop's own photos and labels",
        description="Trains linear heads on a folder of class folders or on a table. The placed backbone extracts the "
        "features of each photo once and caches them; fitting the heads takes minutes. The command measures the heads "
        "on validation and test photos and writes a trained folder, which `build --heads` reads. A second run extracts "
        "features of new photos only.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "catalogue", type=as_path, metavar="CATALOGUE", help="a folder, or a table: .csv, .jsonl, .xlsx or .parquet"
    )
    _add_column_options(parser)
    add_reading_options(parser)
    _add_head_options(parser)
    _add_tuning_options(parser)
    _add_incremental_options(parser)
    _add_path_options(parser)
    set_run(parser, run)


def _add_column_options(parser: argparse.ArgumentParser) -> None:
    columns = parser.add_argument_group("columns of the table (default: found by name)")
    columns.add_argument("--image-column", metavar="NAME", help="paths of the photos")
    columns.add_argument("--attributes", type=names, default=(), metavar="NAME,...", help="label columns")
    columns.add_argument("--product-column", metavar="NAME", help="all photos of one product go into the same split")


def _add_head_options(parser: argparse.ArgumentParser) -> None:
    heads = parser.add_argument_group("training of the heads")
    heads.add_argument(
        "--views",
        type=_views,
        default=1,
        metavar="N",
        help="views of each photo: the photo, mirrored, random crops (default: 1)",
    )
    heads.add_argument(
        "--minutes",
        type=_minutes,
        default=3.0,
        metavar="M",
        help="time limit of the hyperparameter search (default: 3)",
    )
    heads.add_argument(
        "--trials", type=positive_integer, default=12, metavar="N", help="maximum number of search trials (default: 12)"
    )
    heads.add_argument(
        "--split",
        type=_shares,
        default=DEFAULT_SHARES,
        metavar="T,V,E",
        help="shares of training, validation and test photos (default: 0.7,0.15,0.15)",
    )
    heads.add_argument(
        "--precision",
        type=_precision,
        default=0.95,
        metavar="P",
        help="precision that the abstention threshold must reach on validation photos (default: %(default)s)",
    )
    heads.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default: %(default)s)")


def _add_incremental_options(parser: argparse.ArgumentParser) -> None:
    incremental = parser.add_argument_group("incremental training")
    incremental.add_argument(
        "--from",
        dest="previous",
        type=as_path,
        metavar="DIR",
        help="trained folder to start from: its classes are kept, and its photos are used for training again",
    )
    incremental.add_argument(
        "--margin",
        type=_margin,
        default=0.02,
        metavar="A",
        help="accuracy on the old classes that may be lost; beyond it nothing is written (default: 0.02)",
    )
    incremental.add_argument(
        "--allow-regression", action="store_true", help="write the heads even if they lose more than --margin"
    )
    incremental.add_argument(
        "--publish-worse", dest="allow_regression", action=DeprecatedFlag, replacement="--allow-regression"
    )


def _add_path_options(parser: argparse.ArgumentParser) -> None:
    paths = parser.add_argument_group("input and output folders")
    paths.add_argument(
        "--output", type=as_path, metavar="DIR", help="trained folder (default: trained/<name of the catalogue>)"
    )
    paths.add_argument("--replace", action="store_true", help="replace an existing trained folder")
    paths.add_argument(
        "--repository",
        type=as_path,
        default=CHECKOUT_REPOSITORY,
        metavar="DIR",
        help="model repository whose backbone extracts the features (default: %(default)s)",
    )
    paths.add_argument(
        "--cache", type=as_path, default=FEATURE_CACHE, metavar="DIR", help="feature cache (default: %(default)s)"
    )
    add_json_option(parser)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Runs the command."""
    reading = reading_options(options, options.image_column, options.attributes, options.product_column)
    if options.dry_run:
        return dry_run(options, reading, console, min_classes=1 if options.previous else 2, is_for_training=True)
    try:
        import optuna  # noqa: F401
        import sklearn  # noqa: F401
    except ModuleNotFoundError as error:
        raise WrongUsage(f"Training needs {error.name}, which is not installed. Run `make setup`.") from error
    from export.training.pipeline import Settings, train

    settings = Settings(
        catalogue=options.catalogue,
        output=options.output or ROOT / "trained" / options.catalogue.resolve().stem,
        reading=reading,
        repository=options.repository,
        cache=options.cache,
        views=options.views,
        search_minutes=options.minutes,
        trials=options.trials,
        shares=options.split,
        seed=options.seed,
        replace=options.replace,
        target_precision=options.precision,
        tuning=_tuning_settings(options),
        base=(options.model, options.checkpoint),
        previous=options.previous,
        margin=options.margin,
        allow_regression=options.allow_regression,
    )
    return train(settings, console)


def _add_tuning_options(parser: argparse.ArgumentParser) -> None:
    tuning = parser.add_argument_group("fine-tuning of the backbone (slower; helps where a shop's photos are unusual)")
    tuning.add_argument("--unfreeze", type=_blocks, metavar="N|all", help="fine-tune the last N blocks of the backbone")
    tuning.add_argument(
        "--epochs", type=positive_integer, default=12, metavar="N", help="maximum number of epochs (default: 12)"
    )
    tuning.add_argument(
        "--tune-minutes",
        type=_minutes,
        default=60.0,
        metavar="M",
        help="no epoch starts after this time (default: 60)",
    )
    tuning.add_argument(
        "--tune-views", type=positive_integer, default=5, metavar="N", help="augmented views of a photo (default: 5)"
    )
    tuning.add_argument("--learning-rate", type=_rate, default=3e-4, metavar="R", help="default: %(default)g")
    _add_augmentation_options(tuning)
    tuning.add_argument(
        "--mixed-precision",
        action=argparse.BooleanOptionalAction,
        help="multiply in bfloat16 (default: only with a GPU)",
    )
    tuning.add_argument(
        "--embedding-loss",
        choices=("supcon", "proxy-anchor"),
        help="metric-learning loss beside the classification loss, for better search",
    )
    tuning.add_argument("--model", metavar="NAME", help="architecture of the placed backbone, if not the default")
    tuning.add_argument(
        "--checkpoint", type=as_path, metavar="FILE", help="weights of the placed backbone, if your own"
    )


def _add_augmentation_options(tuning: argparse._ArgumentGroup) -> None:
    tuning.add_argument(
        "--mixup",
        type=_mixing_strength,
        default=0.2,
        metavar="A",
        help="strength of mixup; 0 disables it (default: 0.2)",
    )
    tuning.add_argument(
        "--cutmix",
        type=_mixing_strength,
        default=0.0,
        metavar="A",
        help="strength of CutMix; 0 disables it (default: 0)",
    )


def _tuning_settings(options: argparse.Namespace) -> TuningSettings | None:
    if options.previous is not None and options.unfreeze is not None:
        raise WrongUsage(
            "--from trains heads on stored features, --unfreeze needs all photos again: leave out one of the two."
        )
    if options.unfreeze is None:
        if options.embedding_loss:
            raise WrongUsage("--embedding-loss fine-tunes the backbone: add --unfreeze N, or --unfreeze all.")
        return None
    import torch

    from export.training.tuning.loop import TuningSettings

    return TuningSettings(
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
    """0 means all blocks."""
    return 0 if text == "all" else positive_integer(text)


def _rate(text: str) -> float:
    return _number_within(text, lambda number: 0 < number < 1, "more than 0 and less than 1, such as 3e-4")


def _precision(text: str) -> float:
    return _number_within(text, lambda number: 0.5 <= number <= 0.999, "0.5 to 0.999")


def _margin(text: str) -> float:
    return _number_within(text, lambda number: 0 <= number < 1, "0 to 1, such as 0.02")


def _mixing_strength(text: str) -> float:
    return _number_within(text, lambda number: 0 <= number <= 10, "0 to 10")


def _minutes(text: str) -> float:
    return _number_within(text, lambda number: 0 < number <= 24 * 60, "more than 0 and at most 1440 minutes (a day)")


def _number_within(text: str, accepts: Callable[[float], bool], expected: str) -> float:
    number = float(text)
    if not accepts(number):
        raise argparse.ArgumentTypeError(f"{number:g}, expected {expected}")
    return number


def _views(text: str) -> int:
    number = positive_integer(text)
    if number > 64:
        raise argparse.ArgumentTypeError(f"{number}, expected at most 64")
    return number


def _shares(text: str) -> tuple[float, float, float]:
    shares = tuple(float(part) for part in text.split(","))
    if len(shares) != 3 or any(share < 0 for share in shares) or shares[0] == 0 or abs(sum(shares) - 1) > 1e-6:
        raise argparse.ArgumentTypeError(
            f"{text!r}, expected shares of training, validation and test photos that sum to 1, such as 0.7,0.15,0.15"
        )
    return shares[0], shares[1], shares[2]
