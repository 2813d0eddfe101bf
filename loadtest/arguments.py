"""Options that several commands share, and the files that these options name. Must not import Locust or matplotlib."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import textwrap
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from loadtest.errors import LoadTestError
from loadtest.files import PHOTOS, SLO_FILE, write_json
from loadtest.traffic.corpus import SIZES_PX
from triptych import TriptychError

Run = Callable[[argparse.Namespace, Console], int]
# Option -> the variable that `triptych run` sets, the default without it (None: required), metavar, type, help.
_SERVER: dict[str, tuple[str, str | None, str, Callable[[str], Any], str]] = {
    "--target": ("TRIPTYCH_TARGET", "127.0.0.1:8001", "HOST:PORT", str, "gRPC address"),
    "--http": ("TRIPTYCH_HTTP_URL", "http://127.0.0.1:8000", "URL", str, "HTTP address"),
    "--metrics": (
        "TRIPTYCH_METRICS_URL", "http://127.0.0.1:8002/metrics", "URL", str,
        "Triton's metrics, read from all addresses of the host",
    ),
    "--pid": ("TRIPTYCH_SERVER_PID", None, "PID", int, "process id of tritonserver"),
    "--catalogue-key-file": ("TRIPTYCH_CATALOGUE_KEY_FILE", None, "FILE", Path, "the server's key file"),
}  # fmt: skip


def as_path(text: str) -> Path:
    """Type of an option that names a file or a folder; "" would mean the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no path; expected the name of a file or a folder")
    return Path(text)


def add_command(
    commands: Any, name: str, run: Run, *, summary: str, description: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Adds a command whose parsed options hold `run`: call `options.run(options)`, which returns the exit code.

    `options.run` prints the errors of `run` to stderr and returns 1; `summary` is its line in the list of commands.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=description, epilog=epilog, formatter_class=_HelpFormatter
    )
    parser.set_defaults(run=functools.partial(_run, run))
    return parser


def _run(run: Run, options: argparse.Namespace) -> int:
    # Outside of a terminal a table has its full width.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    try:
        return run(options, console)
    except (LoadTestError, TriptychError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wraps a description of one line, and keeps the lines of examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return super()._fill_text(text, width, indent) if "\n" in text else textwrap.fill(text, width)


def add_server(command: Any, *options: str, required: bool = True) -> None:
    """Addresses, process and key of the server under test."""
    for option in options:
        variable, default, metavar, kind, text = _SERVER[option]
        value = os.environ.get(variable, default)
        help_text = f"{text} ({f'%(default)s, ${variable}' if default else f'${variable}'})"
        is_required = required and value is None
        command.add_argument(option, metavar=metavar, type=kind, default=value, required=is_required, help=help_text)


def read_catalogue_key(file: Path) -> str:
    """The key in the file of `--catalogue-key-file`.

    Raises:
        LoadTestError: the file cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise LoadTestError(
            f"Cannot read the catalogue's key in {file} ({error.strerror}). Pass the server's key file with "
            "--catalogue-key-file."
        ) from error


def add_objective(command: argparse.ArgumentParser) -> None:
    command.add_argument("--slo", type=as_path, default=SLO_FILE, metavar="FILE", help="objectives (%(default)s)")
    command.add_argument(
        "--profile",
        default=os.environ.get("TRIPTYCH_PROFILE", "cpu"),
        help="the server's hardware profile, which selects the latency bound (%(default)s, $TRIPTYCH_PROFILE)",
    )


def add_photo_folder(command: Any) -> None:
    command.add_argument("--photos", type=as_path, default=PHOTOS, metavar="FOLDER", help="of *.jpg (%(default)s)")


class Sizes(NamedTuple):
    """The word of `--sizes`, and width and height in pixels -> weight."""

    name: str
    weights: Mapping[tuple[int, int], int]


def add_photos(command: argparse.ArgumentParser) -> None:
    """`--photos`, and `--sizes` as `Sizes`."""
    add_photo_folder(command)
    help_text = "shop: 400x400 to 4000x3000 as in a shop's traffic; or one size (%(default)s)"
    command.add_argument("--sizes", type=_sizes, default="shop", metavar="shop|WxH", help=help_text)


def _sizes(word: str) -> Sizes:
    if word == "shop":
        return Sizes(word, SIZES_PX)
    sides = word.split("x")
    if len(sides) != 2 or not all(side.isdigit() and 16 <= int(side) <= 8000 for side in sides):
        raise argparse.ArgumentTypeError(
            f"got {word!r}, expected shop, or a width and a height from 16 to 8000 as in 640x480"
        )
    return Sizes(word, {(int(sides[0]), int(sides[1])): 1})


def add_outputs(command: argparse.ArgumentParser, *, report: bool = True) -> None:
    """`--json`, and `--report` for the commands that an HTML report knows."""
    command.add_argument("--json", type=output_file, metavar="FILE", help="write all figures as JSON")
    if report:
        command.add_argument("--report", type=output_file, metavar="FILE", help="write an HTML report with charts")


def write_outputs(options: argparse.Namespace, report: dict[str, Any]) -> None:
    """Writes the files of `add_outputs`."""
    if options.json is not None:
        write_json(report, options.json)
    if getattr(options, "report", None) is not None:
        # matplotlib is slow to import.
        from loadtest.reports.html_report import write_html_report

        write_html_report(options.report, [report])


def output_file(word: str) -> Path:
    """A file in an existing folder, checked before the run."""
    file = Path(word)
    if file.is_dir() or not file.parent.is_dir():
        raise argparse.ArgumentTypeError(f"cannot write {word}: expected a file in a folder that exists")
    return file


def positive(kind: type, or_zero: bool = False, most: float = sys.float_info.max) -> Callable[[str], Any]:
    """A parser of numbers above 0, or from 0 on, up to `most`."""
    expected = ("0 or more" if or_zero else "more than 0") + (f", at most {most:g}" if most < 1e9 else "")

    def parse(word: str) -> Any:
        try:
            value = kind(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{word!r} is not a number of type {kind.__name__}") from None
        if not (0 < value <= most or (value == 0 and or_zero)):
            raise argparse.ArgumentTypeError(f"got {word}, expected {expected}")
        return value

    return parse


def one_of(thing: str, names: Collection[str]) -> Callable[[str], str]:
    """A parser of names; argparse's `choices` refuses an empty list of arguments."""

    def parse(name: str) -> str:
        if name not in names:
            raise argparse.ArgumentTypeError(f"unknown {thing} {name!r}; expected one of {', '.join(names)}")
        return name

    return parse


class Deprecated(argparse.Action):
    """A hidden option of the release before, which warns on stderr; with `const` the name of its replacement."""

    def __init__(self, option_strings: Any, dest: str, const: Any = None, nargs: Any = None, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs=nargs, const=const, default=argparse.SUPPRESS)
        self.help = argparse.SUPPRESS

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, option: str | None = None
    ) -> None:
        advice = f"use {self.const}" if self.const else "it has no effect"
        print(f"warning: {option} is deprecated and will be removed in the next release: {advice}", file=sys.stderr)
        if self.const:
            setattr(namespace, self.dest, value)
