"""Command line of the export room: `python -m export COMMAND`; each command's module brings its own parser."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from loky import cpu_count
from rich.console import Console

from export import difference, inspection, publish, release, verify
from export.errors import ExportError
from export.place import Settings, place
from export.profiles import size_for

ROOT = Path(__file__).resolve().parents[1]

_EPILOG = """\
examples:
  python -m export place                      the default weights, sized for this machine
  python -m export place --cores 8            sized for a server with 8 cores
  python -m export place --photos ~/shop      verified on your own photos
"""


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 a check failed, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    # With --json the one object is all there is on stdout.
    console = Console(highlight=False, soft_wrap=True, stderr=options.json)
    try:
        report: dict[str, Any] = options.run(options, console)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps(report))
    return int(report.get("exit_code", 0))


def _place(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    place(Settings(options.repository, options.photos, size_for(options.cores), options.force), console)
    return {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Weights -> verified ONNX files in the model repository.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "place",
        help="export the default weights and place them in the model repository",
        description="Export EfficientNet-Lite0 (ImageNet-1k), verify it against torch on real photos, and place it. "
        "Doing it again with nothing changed takes a second and changes nothing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--repository", type=Path, default=ROOT / "model_repository", help="folder of models (default: %(default)s)"
    )
    command.add_argument(
        "--photos",
        type=Path,
        default=ROOT / ".cache/photos",
        help="folder of *.jpg to verify on (default: %(default)s)",
    )
    command.add_argument(
        "--cores",
        type=_positive,
        default=cpu_count(),
        help="cores of the serving machine (default: those seen, %(default)s)",
    )
    command.add_argument("--force", action="store_true", help="export again even where nothing has changed")
    command.set_defaults(run=_place, json=False)
    release.add_parser(commands)
    verify.add_parser(commands)
    publish.add_parser(commands)
    inspection.add_parser(commands)
    difference.add_parser(commands)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} cores, expected at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
