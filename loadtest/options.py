"""Options that commands share: where the server is, what it must hold, which photos it gets, where reports go."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from loadtest.corpus import SIZES_PX
from loadtest.objectives import SLO_FILE

ROOT = Path(__file__).resolve().parents[1]


def add_target(command: argparse.ArgumentParser) -> None:
    """`--target`, the server's gRPC address."""
    default = os.environ.get("TRIPTYCH_TARGET", "127.0.0.1:8001")
    command.add_argument("--target", default=default, help="gRPC address (%(default)s, $TRIPTYCH_TARGET)")


def add_pid(command: argparse.ArgumentParser) -> None:
    """`--pid`, the server's process."""
    pid = os.environ.get("TRIPTYCH_SERVER_PID")
    command.add_argument(
        "--pid", type=int, default=pid, required=pid is None, help="of tritonserver ($TRIPTYCH_SERVER_PID)"
    )


def add_server(command: argparse.ArgumentParser) -> None:
    """gRPC, HTTP, metrics."""
    add_target(command)
    command.add_argument(
        "--http",
        default=os.environ.get("TRIPTYCH_HTTP_URL", "http://127.0.0.1:8000"),
        help="HTTP (%(default)s, $TRIPTYCH_HTTP_URL)",
    )
    command.add_argument(
        "--metrics",
        default=os.environ.get("TRIPTYCH_METRICS_URL", "http://127.0.0.1:8002/metrics"),
        metavar="URL",
        help="Triton's; all replicas behind the name are asked (%(default)s, $TRIPTYCH_METRICS_URL)",
    )


def add_objective(command: argparse.ArgumentParser) -> None:
    """The file, and which of its bounds."""
    command.add_argument("--slo", type=Path, default=SLO_FILE, metavar="FILE", help="objectives (%(default)s)")
    command.add_argument(
        "--profile",
        default=os.environ.get("TRIPTYCH_PROFILE", "cpu"),
        help="hardware profile of the server, whose latency bound counts (%(default)s, $TRIPTYCH_PROFILE)",
    )


def add_photo_folder(command: argparse.ArgumentParser) -> None:
    """`--photos`."""
    command.add_argument("--photos", type=Path, default=ROOT / ".cache/photos", help="folder of *.jpg (%(default)s)")


def add_photos(command: argparse.ArgumentParser) -> None:
    """Folder and sizes."""
    add_photo_folder(command)
    command.add_argument(
        "--sizes", action=_Sizes, default="shop", metavar="shop|WxH", help="400x400 to 4000x3000, or one (%(default)s)"
    )
    command.set_defaults(sizes_px=SIZES_PX, sizes_name="shop")


class _Sizes(argparse.Action):
    """`shop`, or `640x480`."""

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
    """Figures, and a page of them."""
    command.add_argument("--json", type=output, metavar="FILE", help="write all figures")
    command.add_argument("--report", type=output, metavar="FILE", help="write one HTML page with charts")


def write_outputs(options: argparse.Namespace, report: dict[str, Any]) -> None:
    """What `add_outputs` offered."""
    write_report(report, options.json)
    if options.report is not None:
        # matplotlib is slow to import.
        from loadtest.page import write_page

        write_page(options.report, [report])


def write_report(report: dict[str, Any], file: Path | None) -> None:
    """As JSON, where a file was asked for."""
    if file is not None:
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def output(word: str) -> Path:
    """A file that can be written: better said before a run than after it."""
    file = Path(word)
    if file.is_dir() or not file.parent.is_dir():
        raise argparse.ArgumentTypeError(f"cannot write {word}: expected a file in a folder that exists")
    return file


def positive(kind: type, or_zero: bool = False) -> Any:
    """A reader of numbers above 0, or from 0 on."""

    def read(word: str) -> Any:
        try:
            value = kind(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{word!r} is no number of kind {kind.__name__}") from None
        if value != value or value == float("inf") or value < 0 or (value == 0 and not or_zero):
            raise argparse.ArgumentTypeError(f"{word} is no use; expected {'0 or more' if or_zero else 'more than 0'}")
        return value

    return read
