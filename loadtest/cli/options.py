"""Options that several commands share, and the files that these options name."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

from loadtest.errors import LoadTestError
from loadtest.files import PHOTOS, SLO_FILE, write_json
from loadtest.traffic.corpus import SIZES_PX


def add_target(command: argparse.ArgumentParser) -> None:
    """`--target`, the server's gRPC address."""
    default = os.environ.get("TRIPTYCH_TARGET", "127.0.0.1:8001")
    command.add_argument("--target", default=default, help="gRPC address (%(default)s, $TRIPTYCH_TARGET)")


def add_http(command: argparse.ArgumentParser) -> None:
    """`--http`, the server's HTTP address."""
    default = os.environ.get("TRIPTYCH_HTTP_URL", "http://127.0.0.1:8000")
    command.add_argument("--http", default=default, help="HTTP address (%(default)s, $TRIPTYCH_HTTP_URL)")


def add_metrics(command: argparse.ArgumentParser) -> None:
    """`--metrics`, the URL of Triton's metrics."""
    default = os.environ.get("TRIPTYCH_METRICS_URL", "http://127.0.0.1:8002/metrics")
    command.add_argument(
        "--metrics",
        default=default,
        metavar="URL",
        help="Triton's metrics, read from all addresses of the host (%(default)s, $TRIPTYCH_METRICS_URL)",
    )


def add_server(command: argparse.ArgumentParser) -> None:
    """`--target`, `--http`, `--metrics`."""
    add_target(command)
    add_http(command)
    add_metrics(command)


def add_pid(command: argparse.ArgumentParser) -> None:
    """`--pid`, the server's process."""
    pid = os.environ.get("TRIPTYCH_SERVER_PID")
    command.add_argument(
        "--pid",
        type=int,
        default=pid,
        required=pid is None,
        help="process id of tritonserver ($TRIPTYCH_SERVER_PID)",
    )


def add_catalogue_key(command: argparse.ArgumentParser, required: bool, help_text: str) -> None:
    """`--catalogue-key-file`."""
    file = os.environ.get("TRIPTYCH_CATALOGUE_KEY_FILE")
    command.add_argument(
        "--catalogue-key-file",
        type=Path,
        default=file,
        required=required and file is None,
        metavar="FILE",
        help=f"{help_text} ($TRIPTYCH_CATALOGUE_KEY_FILE)",
    )


def read_catalogue_key(file: Path | str) -> str:
    """The key in the file of `--catalogue-key-file`.

    Raises:
        LoadTestError: the file cannot be read.
    """
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise LoadTestError(
            f"Cannot read the catalogue's key in {file} ({error.strerror}). Pass the server's key file with "
            "--catalogue-key-file."
        ) from error


def add_objective(command: argparse.ArgumentParser) -> None:
    """`--slo` and `--profile`."""
    command.add_argument("--slo", type=Path, default=SLO_FILE, metavar="FILE", help="objectives (%(default)s)")
    command.add_argument(
        "--profile",
        default=os.environ.get("TRIPTYCH_PROFILE", "cpu"),
        help="the server's hardware profile, which selects the latency bound (%(default)s, $TRIPTYCH_PROFILE)",
    )


def add_photo_folder(command: argparse.ArgumentParser) -> None:
    """`--photos`."""
    command.add_argument("--photos", type=Path, default=PHOTOS, help="folder of *.jpg (%(default)s)")


def add_photos(command: argparse.ArgumentParser) -> None:
    """`--photos` and `--sizes`."""
    add_photo_folder(command)
    command.add_argument(
        "--sizes",
        action=_Sizes,
        default="shop",
        metavar="shop|WxH",
        help="shop: 400x400 to 4000x3000 as in a shop's traffic; or one size (%(default)s)",
    )
    command.set_defaults(sizes_px=SIZES_PX, sizes_name="shop")


class _Sizes(argparse.Action):
    """`shop`, or one size such as `640x480`."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, _: Any = None
    ) -> None:
        sides = value.split("x")
        if value == "shop":
            namespace.sizes_px = SIZES_PX
        elif len(sides) == 2 and all(side.isdigit() and 16 <= int(side) <= 8000 for side in sides):
            namespace.sizes_px = {(int(sides[0]), int(sides[1])): 1}
        else:
            parser.error(f"--sizes is {value!r}; expected shop, or a width and a height from 16 to 8000 as in 640x480.")
        namespace.sizes_name = value


def add_outputs(command: argparse.ArgumentParser) -> None:
    """`--json` and `--report`."""
    command.add_argument("--json", type=output_file, metavar="FILE", help="write all figures as JSON")
    command.add_argument("--report", type=output_file, metavar="FILE", help="write an HTML report with charts")


def write_outputs(options: argparse.Namespace, report: dict[str, Any]) -> None:
    """Writes the files of `add_outputs`."""
    write_json(report, options.json)
    if options.report is not None:
        # matplotlib is slow to import.
        from loadtest.reports.html_report import write_html_report

        write_html_report(options.report, [report])


def output_file(word: str) -> Path:
    """A file in an existing folder, checked before the run."""
    file = Path(word)
    if file.is_dir() or not file.parent.is_dir():
        raise argparse.ArgumentTypeError(f"cannot write {word}: expected a file in a folder that exists")
    return file


def positive(kind: type, or_zero: bool = False) -> Any:
    """A parser of numbers above 0, or from 0 on."""

    def parse(word: str) -> Any:
        try:
            value = kind(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{word!r} is not a number of type {kind.__name__}") from None
        if value != value or value == float("inf") or value < 0 or (value == 0 and not or_zero):
            raise argparse.ArgumentTypeError(f"got {word}, expected {'0 or more' if or_zero else 'more than 0'}")
        return value

    return parse


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wraps a description of one line, and keeps the lines of examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return super()._fill_text(text, width, indent) if "\n" in text else textwrap.fill(text, width)


class Deprecated(argparse.Action):
    """A hidden option of the release before, which warns on stderr; with `const` the name of its replacement."""

    def __init__(self, option_strings: Any, dest: str, const: Any = None, nargs: Any = None, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs=nargs, const=const, default=argparse.SUPPRESS)
        self.help = argparse.SUPPRESS

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, option: str | None = None
    ) -> None:
        advice = f"use {self.const}" if self.const else "it has no effect"
        print(f"warning: {option} is deprecated and will be removed: {advice}", file=sys.stderr)
        if self.const:
            setattr(namespace, self.dest, value)
