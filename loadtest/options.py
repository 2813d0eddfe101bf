"""Options that several commands have, and where their reports go."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

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


def write_report(report: dict[str, Any], file: Path | None) -> None:
    """As JSON, where a file was asked for."""
    if file is not None:
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def add_photos(command: argparse.ArgumentParser) -> None:
    """`--photos`, a folder."""
    command.add_argument("--photos", type=Path, default=ROOT / ".cache/photos", help="folder of *.jpg (%(default)s)")
