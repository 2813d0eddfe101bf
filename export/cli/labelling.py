"""The group `label`: `suggest`, `auto`, `check` and `estimate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from export.cli.arguments import FEATURE_CACHE, HelpFormatter, add_json_option, as_path, positive_integer
from export.cli.execution import set_run
from export.cli.reading import add_dry_run, add_reading_options, dry_run, reading_options
from export.errors import WrongUsage
from export.repository.configs import CATEGORY, CHECKOUT_REPOSITORY

_EPILOG = """\
examples:
  triptych label estimate shop/ --shots 1 5 20
  triptych label auto trained/shop photos/ --output photos/confident.csv
  triptych label suggest trained/shop photos/ --count 50 --output to-label
  triptych label check shop/products.csv --attribute brand
"""


def add_parser(commands: Any) -> None:
    """Adds the group with its four commands to the command line."""
    group: argparse.ArgumentParser = commands.add_parser(
        "label",
        help="label photos with less work: suggest, auto, check, estimate",
        description="Label photos with less work: select the photos that are worth a label, label the easy ones, find "
        "wrong labels, and estimate how many labels are needed.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    verbs = group.add_subparsers(required=True, metavar="COMMAND")
    _add_suggest(verbs)
    _add_auto(verbs)
    _add_check(verbs)
    _add_estimate(verbs)


def _add_suggest(commands: Any) -> None:
    suggest = _add_command(
        commands, "suggest", _suggest, "select the photos to label next: uncertain and diverse (active learning)"
    )
    _add_trained_arguments(suggest)
    suggest.add_argument(
        "--count", type=positive_integer, default=50, metavar="N", help="number of photos (default: %(default)s)"
    )
    suggest.add_argument(
        "--output", type=as_path, default=Path("to-label"), metavar="DIR", help="folder to write (default: %(default)s)"
    )


def _add_auto(commands: Any) -> None:
    auto = _add_command(
        commands, "auto", _auto, "label photos whose score reaches a threshold; report the expected error"
    )
    _add_trained_arguments(auto)
    auto.add_argument(
        "--threshold", type=float, metavar="S", help="least score (default: the one that `train --precision` chose)"
    )
    auto.add_argument(
        "--output",
        type=as_path,
        default=Path("labelled.csv"),
        metavar="FILE",
        help="table to write (default: %(default)s)",
    )


def _add_check(commands: Any) -> None:
    check = _add_command(commands, "check", _check, "list labels of a catalogue that are probably wrong")
    _add_catalogue_arguments(check)
    check.add_argument(
        "--output",
        type=as_path,
        default=Path("label-errors"),
        metavar="DIR",
        help="folder to write (default: %(default)s)",
    )


def _add_estimate(commands: Any) -> None:
    estimate = _add_command(commands, "estimate", _estimate, "estimate the accuracy with few labelled photos per class")
    _add_catalogue_arguments(estimate)
    estimate.add_argument(
        "--shots", type=positive_integer, nargs="+", default=[5], metavar="N", help="photos per class (default: 5)"
    )
    estimate.add_argument(
        "--draws",
        type=positive_integer,
        default=20,
        metavar="N",
        help="random draws of the photos (default: %(default)s)",
    )


def _add_command(commands: Any, name: str, run: Callable[..., dict[str, Any]], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=_EPILOG, formatter_class=HelpFormatter
    )
    parser.add_argument(
        "--repository",
        type=as_path,
        default=CHECKOUT_REPOSITORY,
        metavar="DIR",
        help="model repository whose backbone extracts the features (default: %(default)s)",
    )
    parser.add_argument(
        "--cache", type=as_path, default=FEATURE_CACHE, metavar="DIR", help="feature cache (default: %(default)s)"
    )
    add_json_option(parser)
    set_run(parser, lambda options, console: _run(run, options, console))
    return parser


def _add_trained_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trained", type=as_path, metavar="TRAINED", help="folder that `train` wrote")
    parser.add_argument("photos", type=as_path, metavar="PHOTOS", help="folder of photos without labels")
    parser.add_argument("--attribute", default=CATEGORY, metavar="NAME", help="attribute (default: %(default)s)")
    add_dry_run(parser)


def _add_catalogue_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("catalogue", type=as_path, metavar="CATALOGUE", help="folder or table, as for `train`")
    parser.add_argument("--attribute", metavar="NAME", help="attribute (default: the first of the catalogue)")
    add_reading_options(parser)


def _run(run: Callable[..., dict[str, Any]], options: argparse.Namespace, console: Console) -> dict[str, Any]:
    if options.dry_run:
        return _dry_run(options, console)
    try:
        from export.labelling.workflows import FeatureSource
    except ModuleNotFoundError as error:
        raise WrongUsage(f"Labelling needs {error.name}, which is not installed. Run `make setup`.") from error
    return run(options, FeatureSource(options.repository, options.cache), console)


def _dry_run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    if "catalogue" in options:
        return dry_run(options, reading_options(options), console, min_classes=2, is_for_training=False)
    from export.labelling.unlabelled import show_unlabelled

    return show_unlabelled(options.photos, console)


def _suggest(options: argparse.Namespace, source: Any, console: Console) -> dict[str, Any]:
    from export.labelling.workflows import suggest_labels

    asked = (options.trained, options.photos, options.attribute, options.count, options.output)
    return suggest_labels(*asked, source, console)


def _auto(options: argparse.Namespace, source: Any, console: Console) -> dict[str, Any]:
    from export.labelling.workflows import auto_label

    if options.threshold is not None and not 0 < options.threshold < 1:
        raise WrongUsage(f"--threshold is {options.threshold:g}; expected a score above 0 and below 1, such as 0.9.")
    asked = (options.trained, options.photos, options.attribute, options.threshold, options.output)
    return auto_label(*asked, source, console)


def _check(options: argparse.Namespace, source: Any, console: Console) -> dict[str, Any]:
    from export.labelling.workflows import find_label_errors

    asked = (options.catalogue, options.attribute, options.output)
    return find_label_errors(*asked, source, console, reading_options(options))


def _estimate(options: argparse.Namespace, source: Any, console: Console) -> dict[str, Any]:
    from export.labelling.workflows import few_shot

    asked = (options.catalogue, options.attribute, options.shots, options.draws)
    return few_shot(*asked, source, console, reading_options(options))
