"""The command `evaluate`: options, help and settings."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from export.cli.arguments import FEATURE_CACHE, ROOT, HelpFormatter, add_json_option, as_path, names
from export.cli.execution import set_run
from export.cli.reading import add_reading_options, dry_run, reading_options
from export.errors import WrongUsage
from export.repository.configs import CHECKOUT_REPOSITORY

_EPILOG = """\
examples:
  triptych evaluate trained/shop new-photos/              a folder of class folders
  triptych evaluate trained/shop products.csv             the columns of a table, as for `train`
  triptych evaluate trained/shop new.csv --attributes brand --json

Photos that the training used are found by their content and left out, as are near-duplicates of them: on these the
heads look better than they are. The catalogue of the training itself gives the figures of its test photos again.
Labels that the heads do not know are counted and left out. Of a catalogue with splits (a column `split`, or folders
named train, val and test) the test photos are evaluated.
exit codes: 0 done, 1 rows or photos were refused, or nothing can be evaluated (see the output), 2 wrong usage,
130 interrupted
"""


def add_parser(commands: Any) -> None:
    """Adds `evaluate` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "evaluate",
        help="measure trained heads on labelled photos that the training did not use",
        description="Measures the heads of a trained folder on a folder of class folders or on a table. Writes "
        "report.html and evaluation.json, as `train` does, with the temperature and the abstention threshold of the "
        "training.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("trained", type=as_path, metavar="TRAINED", help="folder that `train` wrote")
    parser.add_argument(
        "catalogue",
        type=as_path,
        metavar="CATALOGUE",
        help="a folder, or a table (.csv, .jsonl, .xlsx, .parquet), with labels",
    )
    parser.add_argument("--image-column", metavar="NAME", help="paths of the photos (default: found by name)")
    parser.add_argument(
        "--attributes", type=names, default=(), metavar="NAME,...", help="label columns (default: found by name)"
    )
    add_reading_options(parser)
    parser.add_argument(
        "--output",
        type=as_path,
        metavar="DIR",
        help="folder of the report (default: evaluated/<TRAINED>-on-<CATALOGUE> of the checkout)",
    )
    parser.add_argument("--replace", action="store_true", help="replace an existing report")
    parser.add_argument(
        "--repository",
        type=as_path,
        default=CHECKOUT_REPOSITORY,
        metavar="DIR",
        help="model repository with the backbone of the training (default: %(default)s)",
    )
    parser.add_argument(
        "--cache", type=as_path, default=FEATURE_CACHE, metavar="DIR", help="feature cache (default: %(default)s)"
    )
    add_json_option(parser)
    set_run(parser, run)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Runs the command."""
    reading = reading_options(options, options.image_column, options.attributes)
    if options.dry_run:
        return dry_run(options, reading, console, min_classes=1, is_for_training=False)
    try:
        from export.training.evaluating import Settings, evaluate_trained
    except ModuleNotFoundError as error:
        raise WrongUsage(f"Evaluation needs {error.name}, which is not installed. Run `make setup`.") from error
    name = f"{options.trained.resolve().name}-on-{options.catalogue.resolve().stem}"
    settings = Settings(
        trained=options.trained,
        catalogue=options.catalogue,
        output=options.output or ROOT / "evaluated" / name,
        reading=reading,
        repository=options.repository,
        cache=options.cache,
        replace=options.replace,
    )
    return evaluate_trained(settings, console)
