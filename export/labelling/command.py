"""The commands `suggest-labels`, `auto-label`, `find-label-errors`, `few-shot`: what they take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from export.contract import TEMPLATE
from export.errors import WrongUsage

_EPILOG = """\
examples:
  python -m export suggest-labels trained/shop photos/ --count 50 --output to-label
  python -m export auto-label trained/shop photos/ --output photos/sure.csv
  python -m export find-label-errors shop/products.csv --attribute brand
  python -m export few-shot shop/ --shots 1 5 20
"""
_CATEGORY = "category"


def add_parser(commands: Any) -> None:
    """Adds the four."""
    suggest = _add(commands, "suggest-labels", _suggest, "which photos to label next: uncertain, and unlike each other")
    _add_trained(suggest)
    suggest.add_argument("--count", type=_count, default=50, metavar="N", help="photos (default: %(default)s)")
    suggest.add_argument("--output", type=Path, default=Path("to-label"), metavar="DIR", help="default: %(default)s")
    auto = _add(
        commands, "auto-label", _auto, "label photos by machine where it is sure enough; says how many are wrong"
    )
    _add_trained(auto)
    auto.add_argument("--threshold", type=float, metavar="S", help="default: what training chose for its --precision")
    auto.add_argument("--output", type=Path, default=Path("labelled.csv"), metavar="FILE", help="default: %(default)s")
    errors = _add(commands, "find-label-errors", _errors, "labels of a catalogue that are probably wrong")
    _add_catalogue(errors)
    errors.add_argument("--output", type=Path, default=Path("doubtful"), metavar="DIR", help="default: %(default)s")
    few = _add(commands, "few-shot", _few, "how right it would be with a few photos a class")
    _add_catalogue(few)
    few.add_argument("--shots", type=_count, nargs="+", default=[5], metavar="N", help="photos a class (default: 5)")
    few.add_argument("--draws", type=_count, default=20, metavar="N", help="of those photos (default: %(default)s)")


def _add(commands: Any, name: str, run: Callable[..., dict[str, Any]], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cache = TEMPLATE.parent / ".cache/features"
    parser.add_argument("--repository", type=Path, default=TEMPLATE, metavar="DIR", help="whose backbone looks")
    parser.add_argument("--cache", type=Path, default=cache, metavar="DIR", help="of features")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end; progress goes to stderr")
    parser.set_defaults(run=lambda options, console: _run(run, options, console))
    return parser


def _add_trained(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trained", type=Path, metavar="TRAINED", help="folder that `train` made")
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of photos without labels")
    parser.add_argument("--attribute", default=_CATEGORY, metavar="NAME", help="default: %(default)s")


def _add_catalogue(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("catalogue", type=Path, metavar="CATALOGUE", help="as `train` takes it")
    parser.add_argument("--attribute", metavar="NAME", help="default: the first")


def _run(run: Callable[..., dict[str, Any]], options: argparse.Namespace, console: Console) -> dict[str, Any]:
    try:
        from export.labelling.tools import Place
    except ModuleNotFoundError as error:
        raise WrongUsage(f"Labelling needs {error.name}, which is not installed. Run `make setup`.") from error
    return run(options, Place(options.repository, options.cache), console)


def _suggest(options: argparse.Namespace, place: Any, console: Console) -> dict[str, Any]:
    from export.labelling.tools import suggest_labels

    asked = (options.trained, options.photos, options.attribute, options.count, options.output)
    return suggest_labels(*asked, place, console)


def _auto(options: argparse.Namespace, place: Any, console: Console) -> dict[str, Any]:
    from export.labelling.tools import auto_label

    if options.threshold is not None and not 0 < options.threshold < 1:
        raise WrongUsage(f"--threshold is {options.threshold:g}; expected a score above 0 and below 1, as 0.9.")
    asked = (options.trained, options.photos, options.attribute, options.threshold, options.output)
    return auto_label(*asked, place, console)


def _errors(options: argparse.Namespace, place: Any, console: Console) -> dict[str, Any]:
    from export.labelling.tools import find_label_errors

    return find_label_errors(options.catalogue, options.attribute, options.output, place, console)


def _few(options: argparse.Namespace, place: Any, console: Console) -> dict[str, Any]:
    from export.labelling.tools import few_shot

    return few_shot(options.catalogue, options.attribute, options.shots, options.draws, place, console)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number from 1")
    return int(text)
