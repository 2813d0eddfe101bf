"""`triptych loadtest search`: search over the size of the catalogue."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtest.cli.options import (
    HelpFormatter,
    add_catalogue_key,
    add_metrics,
    add_photo_folder,
    add_pid,
    add_target,
    output_file,
    read_catalogue_key,
)
from loadtest.files import ROOT, write_json
from loadtest.reports.environment import describe_environment
from loadtest.traffic.photos import read_photos, unique_photos


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "search",
        help="search over the size of the catalogue",
        description="Compares search and upsert by photo with recognize and embed. Then embeds crops, mirror images "
        "and colour changes of the photos in the folders (kept in .cache, resumes after interruption), fills the "
        "server's empty catalogue with the embeddings, and measures recall, latency and memory at each size.",
        epilog="example:\n  triptych run -- triptych loadtest search ~/clothing ~/grocery --sizes 10000 100000",
        formatter_class=HelpFormatter,
    )
    command.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="photos to embed")
    command.add_argument(
        "--sizes", type=int, nargs="+", default=[10_000, 20_000, 50_000, 100_000], metavar="N", help="10000 ... 100000"
    )
    add_target(command)
    add_photo_folder(command)
    add_pid(command)
    add_metrics(command)
    add_catalogue_key(command, required=True, help_text="the server's key file")
    command.add_argument("--json", type=output_file, metavar="FILE", help="write all figures as JSON")
    command.add_argument("--chart", type=output_file, metavar="FILE", help="write a PNG")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Exit code: 0 done."""
    # The load-test image has this module but not the serving package.
    from loadtest.search import search_speed
    from loadtest.search.augmented_embeddings import embed_augmented, find_photos
    from triptych_models.placed_files import PlacedFiles

    sizes = sorted(set(options.sizes))
    key = read_catalogue_key(options.catalogue_key_file)
    report = describe_environment()
    # Before the catalogue is filled, so that search and recognize do the same work.
    photos = unique_photos(read_photos(options.photos, 640, 480))
    report["photos"] = search_speed.compare_photos(options.target, key, photos, 200, console)
    vectors = embed_augmented(
        find_photos(options.folders),
        sizes[-1] + search_speed.QUERIES,
        PlacedFiles(ROOT / "model_repository/models").embedder,
        ROOT / ".cache/augmented.f32",
        console,
    )
    measured = search_speed.measure(options.target, key, options.metrics, options.pid, vectors, sizes, console)
    report["sizes"] = [asdict(size) for size in measured]
    write_json(report, options.json)
    if options.chart:
        search_speed.draw_search(measured, options.chart)
    return 0
