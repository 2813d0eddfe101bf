"""Command line of the load tests: `python -m loadtest bench`."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

import tritonclient.grpc as triton
from rich.console import Console

from loadtest import bench
from loadtest.ceiling import InProcess
from triptych import Client, TriptychError

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 a check failed, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        return _bench(options, console)
    except TriptychError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _bench(options: argparse.Namespace, console: Console) -> int:
    photos = [photo.read_bytes() for photo in sorted(options.photos.glob("*.jpg"))]
    if not photos:
        print(f"error: no *.jpg in {options.photos}. Fetch the samples with `make photos`.", file=sys.stderr)
        return 1
    with Client(options.target) as client, triton.InferenceServerClient(options.target) as channel:
        client.recognize(photos[0])
        threads = bench.served_threads(channel)
        contestants = [
            bench.Contestant(f"in one process, {threads} thread(s)", InProcess(options.repository, threads).recognize),
            bench.Contestant("gRPC, raw tritonclient", bench.raw_grpc(channel)),
            bench.Contestant("gRPC, triptych client", bench.through_client(client)),
        ]
        if bench.is_cached(contestants[1].recognize, photos[-1]):
            print(
                "error: the server answers repeated photos from its cache. Start it with --cache-mb 0.", file=sys.stderr
            )
            return 1
        bench.measure(contestants, photos, options.rounds, console)
    console.print(f"{_where()}; {len(photos)} photos x {options.rounds} rounds")
    bench.report(contestants, console)
    return 0


def _where() -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, commit {commit or '-'}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest", description="Load tests of a running Triptych server.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "bench",
        help="latency of serving over the same work in one process",
        description="Recognises photos one at a time in this process, through raw tritonclient and through the client, "
        "in interleaved turns, and prints the ratios. The server must run without cache: `make bench` does all.",
    )
    command.add_argument("--photos", type=Path, default=ROOT / ".cache/photos", help="folder of *.jpg (%(default)s)")
    command.add_argument(
        "--repository", type=Path, default=ROOT / "model_repository", help="the one being served (%(default)s)"
    )
    command.add_argument(
        "--target",
        default=os.environ.get("TRIPTYCH_TARGET", "127.0.0.1:8001"),
        help="gRPC address of the server (%(default)s, or $TRIPTYCH_TARGET)",
    )
    command.add_argument("--rounds", type=int, default=10, help="turns of each contestant (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
