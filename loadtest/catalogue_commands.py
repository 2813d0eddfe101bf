"""The commands about the catalogue: `quality`, `recommend-eval`, `search`, `catalogue-start`."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtest.errors import LoadTestError
from loadtest.options import ROOT, add_photo_folder, add_pid, add_target, write_report


def add(commands: Any) -> None:
    """Adds them to those of `commands`."""
    _add_quality(commands)
    _add_recommend_eval(commands)
    _add_search(commands)
    _add_catalogue_start(commands)


def _add_quality(commands: Any) -> None:
    command = commands.add_parser(
        "quality",
        help="how well embeddings find photos of the same class",
        description="Recall@1, recall@10 and mAP of labelled photos, embedded through the server: plain, with mirrored "
        "and cropped views, and whitened on the gallery. A label is the name of the folder a photo lies in.",
        epilog="example:\n  python -m ops run -- python -m loadtest quality clothing/train clothing/validation",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("gallery", type=Path, help="folder of what is found")
    command.add_argument("queries", type=Path, help="folder of what is searched with")
    add_target(command)
    command.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    command.set_defaults(run=_quality)


def _quality(options: argparse.Namespace, console: Console) -> None:
    from loadtest.quality import compare
    from loadtest.report import describe_run

    report = describe_run(ROOT)
    report["quality"] = compare(options.target, options.gallery, options.queries, ROOT / ".cache", console)
    write_report(report, options.json)


def _add_recommend_eval(commands: Any) -> None:
    command = commands.add_parser(
        "recommend-eval",
        help="recommendations against what is popular and against chance, in a simulated shop",
        description="Simulates shoppers over labelled photos (the assumptions stand in loadtest/recommend_eval.py), "
        "hides their last 6 days, and asks for recommendations from the 24 before: recall@k and NDCG of what they "
        "turned to. A label is the name of the folder a photo lies in. The server's catalogue must be empty; it is "
        "filled.",
        epilog="example:\n  python -m ops run -- python -m loadtest recommend-eval ~/clothing/train --chart recall.png",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="of folders of photos, one a class")
    command.add_argument("--products", type=int, default=600, metavar="N", help="photos drawn from it (%(default)s)")
    command.add_argument("--shoppers", type=int, default=300, metavar="N", help="(%(default)s)")
    command.add_argument("--seed", type=int, default=8, help="(%(default)s)")
    add_target(command)
    _add_catalogue_key(command)
    command.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    command.add_argument("--chart", type=Path, metavar="FILE", help="write a PNG")
    command.set_defaults(run=_recommend_eval)


def _recommend_eval(options: argparse.Namespace, console: Console) -> None:
    from loadtest import recommend_eval
    from loadtest.report import describe_run

    report = describe_run(ROOT)
    key = _read_key(options)
    scores = recommend_eval.evaluate(
        options.target, key, options.folder, options.products, options.shoppers, options.seed, console
    )
    recommend_eval.show(scores, console)
    report["recommend"] = recommend_eval.as_report(scores)
    write_report(report, options.json)
    if options.chart:
        recommend_eval.draw(scores, options.chart)


def _add_search(commands: Any) -> None:
    command = commands.add_parser(
        "search",
        help="what searching costs over the same library in process, as the catalogue grows",
        description="Search and upsert by photo first. Then embeds photos of the folders, cropped, mirrored and "
        "coloured anew until there are enough (kept in .cache, goes on after a stop); fills the server's empty "
        "catalogue with them; measures recall, times and memory at each size.",
        epilog="example:\n  python -m ops run -- python -m loadtest search ~/clothing ~/grocery --sizes 10000 100000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="photos to make embeddings of")
    command.add_argument(
        "--sizes", type=int, nargs="+", default=[10_000, 20_000, 50_000, 100_000], metavar="N", help="10000 ... 100000"
    )
    add_target(command)
    add_photo_folder(command)
    add_pid(command)
    command.add_argument(
        "--metrics", default=os.environ.get("TRIPTYCH_METRICS_URL", "http://127.0.0.1:8002/metrics"), metavar="URL"
    )
    _add_catalogue_key(command)
    command.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    command.add_argument("--chart", type=Path, metavar="FILE", help="write a PNG")
    command.set_defaults(run=_search)


def _search(options: argparse.Namespace, console: Console) -> None:
    from loadtest import search_speed
    from loadtest.embeddings import embed_augmented, find_photos
    from loadtest.photos import never_alike, read_photos
    from loadtest.report import describe_run
    from triptych_models.placed_files import PlacedFiles

    sizes = sorted(set(options.sizes))
    key = _read_key(options)
    report = describe_run(ROOT)
    # By photo first: with nothing else in the catalogue both ways do the same work.
    photos = never_alike(read_photos(options.photos, 640, 480))
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
    write_report(report, options.json)
    if options.chart:
        search_speed.draw(measured, options.chart)


def _add_catalogue_start(commands: Any) -> None:
    command = commands.add_parser(
        "catalogue-start",
        help="how long a large catalogue takes to open",
        description="Fills a folder with a catalogue (13 kB a photo; goes on after a stop) and opens it in processes "
        "of its own: seconds until it can be searched, first search, later ones. Needs no server.",
        epilog="example:\n  python -m loadtest catalogue-start /var/tmp/million --photos 1000000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="of the catalogue; made where it is not there")
    command.add_argument("--photos", type=int, default=1_000_000, metavar="N", help="(%(default)s)")
    command.add_argument("--starts", type=int, default=5, metavar="N", help="(%(default)s)")
    command.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    command.set_defaults(run=_catalogue_start)


def _catalogue_start(options: argparse.Namespace, console: Console) -> None:
    from loadtest import start_time
    from loadtest.report import describe_run

    start_time.fill(options.folder, options.photos, console)
    starts = start_time.measure(options.folder, options.starts)
    table = Table("photos", "open s", "first search ms", "later ms", box=None)
    for start in starts:
        searches = (f"{1000 * start.first_search_s:.1f}", f"{1000 * start.later_search_s:.1f}")
        table.add_row(str(start.photos), f"{start.opened_s:.2f}", *searches)
    console.print(table)
    write_report(describe_run(ROOT) | {"starts": [asdict(start) for start in starts]}, options.json)


def _add_catalogue_key(command: argparse.ArgumentParser) -> None:
    key_file = os.environ.get("TRIPTYCH_CATALOGUE_KEY_FILE")
    command.add_argument(
        "--catalogue-key-file",
        type=Path,
        default=key_file,
        required=key_file is None,
        help="of the server ($TRIPTYCH_CATALOGUE_KEY_FILE)",
    )


def _read_key(options: argparse.Namespace) -> str:
    try:
        return Path(options.catalogue_key_file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise LoadTestError(
            f"The catalogue's key in {options.catalogue_key_file} cannot be read ({error.strerror}). Pass the server's "
            "with --catalogue-key-file."
        ) from error
