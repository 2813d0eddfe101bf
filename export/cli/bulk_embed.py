"""The command `bulk-embed`: options, help and settings."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from rich.console import Console

from export.cli.arguments import HelpFormatter, add_json_option, as_path, positive_integer
from export.cli.execution import set_run
from export.errors import WrongUsage

_EPILOG = """\
examples:
  triptych bulk-embed products.csv --output embedded/
  triptych bulk-embed s3-mount/products.parquet --output s3-mount/embedded --address ray://head:10001 \\
      --target triton.shop:8001 --workers 16
  triptych catalogue import embedded/  # add them to the catalogue that search uses

CATALOGUE has the format of `triptych catalogue import`: a .csv, .jsonl or .parquet file with the columns product_id and
photo, or a folder of photos. The command writes Parquet files (product_id, photo_id, fields, embedding, image_digest,
phash, fingerprint, error) into DIR, and refused.csv if photos were refused. The same command resumes after an
interruption; after a change of the catalogue it embeds the changed parts only.
exit codes: 0 done, 1 photos were refused or an error occurred (see stderr), 2 wrong usage, 130 interrupted
"""


def add_parser(commands: Any) -> None:
    """Adds `bulk-embed` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bulk-embed",
        help="embed a large catalogue with Ray, on this machine or a cluster, for `catalogue import`",
        description="Sends the photos of a catalogue to a served `recognizer` and writes their embeddings to Parquet "
        "files.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("catalogue", type=as_path, metavar="CATALOGUE", help="a table, or a folder of photos")
    parser.add_argument(
        "--output",
        type=as_path,
        required=True,
        metavar="DIR",
        help="folder to write; on a cluster: one that all nodes share",
    )
    _add_run_options(parser)
    add_json_option(parser)
    set_run(parser, run)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    target = os.environ.get("TRIPTYCH_TARGET", "127.0.0.1:8001")
    parser.add_argument(
        "--target", default=target, help="gRPC address of the server (default: $TRIPTYCH_TARGET, else %(default)s)"
    )
    parser.add_argument(
        "--catalogue-key-file",
        type=as_path,
        default=os.environ.get("TRIPTYCH_CATALOGUE_KEY_FILE"),
        metavar="FILE",
        help="file with the catalogue key of the server (default: $TRIPTYCH_CATALOGUE_KEY_FILE)",
    )
    parser.add_argument("--address", metavar="RAY", help="address of a Ray cluster (default: run on this machine)")
    parser.add_argument(
        "--workers",
        type=positive_integer,
        metavar="N",
        help="worker processes that call the server (default: one per node)",
    )
    parser.add_argument(
        "--in-flight",
        type=positive_integer,
        default=16,
        metavar="N",
        help="concurrent photos of each worker (default: %(default)s)",
    )
    parser.add_argument(
        "--retry-refused",
        action="store_true",
        help="embed again the parts in which a photo was refused",
    )


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Runs the command."""
    try:
        from export.bulk_embedding.ray_job import Settings, embed_catalogue
    except ModuleNotFoundError as error:
        raise WrongUsage(
            f"bulk-embed needs {error.name}, which is not installed. Install the dependency group `bulk` of "
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
        f"{report['embedded']} photos embedded ({report['embedded_before']} in earlier runs), "
        f"{report['refused']} refused; output in {report['output']}."
    )
    if report["refused"]:
        console.print(f"{report['output']}/refused.csv lists the refused photos and the reasons.")
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
