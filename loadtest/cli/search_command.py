"""`triptych loadtest search`: search over the size of the catalogue."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from rich.console import Console

from loadtest import arguments
from loadtest.arguments import as_path
from loadtest.files import ROOT
from loadtest.reports.environment import describe_environment
from loadtest.traffic.corpus import read_photos, unique_photos


def add(commands: Any) -> None:
    command = arguments.add_command(
        commands,
        "search",
        run,
        summary="search over the size of the catalogue",
        description="Compares search and upsert by photo with recognize and embed. Then embeds crops, mirror images "
        "and colour changes of the photos in the folders (kept in .cache, resumes after interruption), fills the "
        "server's empty catalogue with the embeddings, and measures recall, latency and memory at each size.",
        epilog="example:\n  triptych run -- triptych loadtest search ~/clothing ~/grocery --sizes 10000 100000",
    )
    option = command.add_argument
    option("folders", type=as_path, nargs="+", metavar="FOLDER", help="photos to embed")
    option(
        "--sizes", type=int, nargs="+", default=[10_000, 20_000, 50_000, 100_000], metavar="N", help="10000 ... 100000"
    )
    arguments.add_server(command, "--target", "--metrics", "--pid", "--catalogue-key-file")
    arguments.add_photo_folder(command)
    option("--chart", action=arguments.Deprecated, dest="ignored")
    arguments.add_outputs(command, report=False)


def run(options: argparse.Namespace, console: Console) -> int:
    # The load-test image has this module but not the serving package.
    from loadtest.search import search_speed
    from loadtest.search.augmented_embeddings import embed_augmented, find_photos
    from triptych_models.placed_files import PlacedFiles

    sizes = sorted(set(options.sizes))
    key = arguments.read_catalogue_key(options.catalogue_key_file)
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
    arguments.write_outputs(options, report)
    return 0
