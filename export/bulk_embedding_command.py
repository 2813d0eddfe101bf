"""The command `embed-catalogue`: what it takes and how it is explained."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from rich.console import Console

from export.errors import WrongUsage

_EPILOG = """\
examples:
  python -m export embed-catalogue products.csv --output embedded/
  python -m export embed-catalogue s3-mount/products.parquet --output s3-mount/embedded --address ray://head:10001 \\
      --target triton.shop:8001 --workers 16
  triptych catalogue import-embeddings embedded/         # into the catalogue that is searched

CATALOGUE is what `triptych catalogue import` takes: a .csv, .jsonl or .parquet file with product_id and photo, or a
folder of photos. DIR gets Parquet files (product_id, photo_id, fields, embedding, image_digest, phash, fingerprint,
error) and refused.csv where a photo was refused. Killed or interrupted, the same command goes on where it was; once the
catalogue has changed, only the parts that changed are embedded again.
exit codes: 0 done, 1 photos were refused or something failed (said on stderr), 2 wrong usage, 130 interrupted
"""


def add_parser(commands: Any) -> None:
    """Adds `embed-catalogue` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "embed-catalogue",
        help="embed a large catalogue through a server, on Ray: this machine or a cluster",
        description="Streams the photos of a catalogue through a served `recognizer` and writes their embeddings.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("catalogue", type=Path, metavar="CATALOGUE", help="a file or a folder of photos")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="a folder; on a cluster one that all nodes have"
    )
    target = os.environ.get("TRIPTYCH_TARGET", "127.0.0.1:8001")
    parser.add_argument("--target", default=target, help="gRPC address (%(default)s, $TRIPTYCH_TARGET)")
    parser.add_argument(
        "--catalogue-key-file",
        type=Path,
        default=os.environ.get("TRIPTYCH_CATALOGUE_KEY_FILE"),
        metavar="FILE",
        help="of the server ($TRIPTYCH_CATALOGUE_KEY_FILE)",
    )
    parser.add_argument("--address", metavar="RAY", help="of a Ray cluster (default: this machine alone)")
    parser.add_argument("--workers", type=_count, metavar="N", help="callers of the server (default: one a node)")
    parser.add_argument(
        "--in-flight", type=_count, default=16, metavar="N", help="photos of a worker at once (default: %(default)s)"
    )
    parser.add_argument(
        "--retry-refused",
        action="store_true",
        help="embed parts again in which a photo was refused",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end; progress goes to stderr")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Does what the command line says."""
    try:
        from export.bulk_embedding import Settings, embed_catalogue
    except ModuleNotFoundError as error:
        raise WrongUsage(
            f"embed-catalogue needs {error.name}, which is not installed. Install the dependency group `bulk` of "
            "pyproject.toml and the client: pip install --group bulk -e client."
        ) from error
    settings = Settings(
        options.catalogue,
        options.output,
        options.target,
        _read_key(options.catalogue_key_file),
        options.workers,
        options.in_flight,
        options.address,
        options.retry_refused,
    )
    report = embed_catalogue(settings, console)
    console.print(
        f"{report['embedded']} photos embedded ({report['embedded_before']} of them before), "
        f"{report['refused']} refused; {report['output']} has them."
    )
    if report["refused"]:
        console.print(f"{report['output']}/refused.csv says why.")
    return {**report, "exit_code": 1 if report["refused"] else 0}


def _read_key(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise WrongUsage(
            f"The key file {file} cannot be read ({error.strerror}). Check --catalogue-key-file."
        ) from error


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count; expected a whole number from 1")
    return int(text)
