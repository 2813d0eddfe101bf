"""`triptych catalogue`: reads and writes the server's catalogue. Needs the catalogue's key."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from triptych._core.catalogue import CataloguePhoto
from triptych._core.rebuild import RebuildStatus
from triptych._runtime.progress import phase_words
from triptych.cli.catalogue_backup import JOBS, add_backup_calls
from triptych.cli.catalogue_import import add_import_call, check_catalogue, has_bar, import_catalogue
from triptych.cli.connection_options import (
    OpenClient,
    add_catalogue_key_option,
    add_connection_options,
    open_connection,
)
from triptych.cli.exit_codes import EXIT_DONE, EXIT_FAILED
from triptych.cli.filters import add_filter_option, read_filter
from triptych.cli.report import printable
from triptych.client import Client

Call: TypeAlias = Callable[[argparse.Namespace, Client], int]
AddCall: TypeAlias = Callable[[str, Call, str], argparse.ArgumentParser]

_EPILOG = """\
examples:
  triptych catalogue import products.csv --catalogue-key-file .run/catalogue.key
  triptych catalogue import shopify-export.csv --dry-run
  triptych catalogue import products.csv --map id=Artikel --map photo=Bild1+Bild2 --photos photos/ --decimal ,
  triptych catalogue import products.rejects.csv  # the refused rows, once they are mended
  triptych catalogue import photos/
  triptych catalogue import embedded/  # what `triptych bulk-embed` wrote
  triptych catalogue count --filter category=Shoes --filter 'price<50'
  triptych catalogue export --embeddings > catalogue.jsonl
  triptych catalogue duplicates --threshold 0.97
  triptych catalogue rebuild --no-wait && triptych catalogue status
  triptych catalogue verify && triptych catalogue backup catalogue-monday.jsonl
  triptych catalogue restore catalogue-monday.jsonl --force

A table has a column of product ids and one or several of photos (paths below the file's folder, or URLs), which are
found by name or named with --map; all other columns become fields. Exports of Shopify, WooCommerce, Google Merchant and
Magento are recognised. In a folder each photo is a product. Parquet files that `triptych bulk-embed` wrote are
recognised: their photos are added with the embeddings. The same import resumes after an interruption. An import adds
and updates; it never removes.
exit codes: 0 done, 1 some rows were refused or something failed (message on stderr; `status`: the last rebuild
failed; `verify`: something is damaged), 2 wrong usage, 130 interrupted
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds the subcommand, with its own, to those of `commands`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "catalogue",
        help="read and write the catalogue that search uses: import, export, count, delete, backup, ...",
        description="Read and write the catalogue that `triptych search` uses.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    calls = parser.add_subparsers(metavar="CALL", required=True)

    def add(name: str, call: Call, text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = calls.add_parser(name, help=text, description=text)
        made.set_defaults(call=call, call_parser=made)
        return made

    add_import_call(add)
    _add_photo_calls(add)
    _add_index_calls(add)
    add_backup_calls(add)
    for made in calls.choices.values():
        add_catalogue_key_option(made)
        add_connection_options(made)
    return parser


def _add_photo_calls(add: AddCall) -> None:
    add_filter_option(add("count", _count, "count photos and products"))
    add("get", _get, "show a product").add_argument("product", metavar="ID")
    add("delete", _delete, "delete products").add_argument("products", nargs="+", metavar="ID")
    add("export", _export, "write all photos as JSON lines").add_argument("--embeddings", action="store_true")
    alike = add("duplicates", _duplicates, "list products with similar photos, one group per line")
    alike.add_argument("--threshold", type=float, default=0.95, metavar="COSINE", help="default: %(default)s")
    alike.add_argument(
        "--limit", type=int, default=1000, metavar="N", help="largest number of groups (default: %(default)s)"
    )


def _add_index_calls(add: AddCall) -> None:
    rebuild = add("rebuild", _rebuild, "build the index again from the stored photos; searches and writes continue")
    rebuild.add_argument("--no-wait", action="store_true", help="return at once; `status` shows the progress")
    status = add("status", _status, "show whether a rebuild runs, and the result of the last one")
    status.add_argument("--json", action="store_true", help="print the server's answer as a JSON object")
    add("info", _info, "show the server's information about its catalogue")
    add("activate", _activate, "let all searches use the photos that were added for a new network (distributed engine)")


def run(arguments: argparse.Namespace, open_client: OpenClient) -> int:
    """Performs the call; returns the exit code."""
    if arguments.call is import_catalogue and arguments.dry_run:
        return check_catalogue(arguments)
    with open_connection(arguments, open_client, is_job=arguments.call in (import_catalogue, *JOBS)) as client:
        call: Call = arguments.call
        return call(arguments, client)


def _rebuild(arguments: argparse.Namespace, client: Client) -> int:
    wait = not arguments.no_wait
    photos = client.catalogue.rebuild(wait=wait, progress=wait and has_bar())
    if wait:
        print(f"index rebuilt: {photos} photos")
    else:
        print(f"rebuild of {photos} photos started; `triptych catalogue status` shows the progress")
    return EXIT_DONE


def _status(arguments: argparse.Namespace, client: Client) -> int:
    status = client.catalogue.status()
    if arguments.json:
        print(json.dumps(dict(status.details)))
    else:
        print(_describe(status))
        if status.last is not None:
            outcome = status.last.error or f"{status.last.photos} photos"
            print(f"last rebuild: {printable(outcome)} ({status.last.seconds:.1f} s, ended {status.last.ended_at})")
    return EXIT_FAILED if status.state == "failed" else EXIT_DONE


def _describe(status: RebuildStatus) -> str:
    since = f"{status.seconds:.1f} s since the request"
    if status.state == "running":
        share = f"{status.done} of {status.total} photos, {status.progress:.0%} of the work"
        return f"rebuild running: {phase_words(status)}, {share}, {since}"
    if status.state == "waiting":
        return f"rebuild waits for model index, which is {'' if status.index_loaded else 'not '}loaded: {since}"
    if status.state == "failed":
        return f"rebuild failed, next try in {status.retry_in_s or 0:.0f} s: {since}"
    return "no rebuild runs"


def _activate(_: argparse.Namespace, client: Client) -> int:
    print(f"all searches use {client.catalogue.activate()} now")
    return EXIT_DONE


def _count(arguments: argparse.Namespace, client: Client) -> int:
    found = client.catalogue.count(read_filter(arguments.filter))
    print(f"{found.photos} photos of {found.products} products")
    return EXIT_DONE


def _get(arguments: argparse.Namespace, client: Client) -> int:
    product = client.catalogue.get(arguments.product)
    if product is None:
        print(f"triptych: the catalogue has no product {printable(arguments.product)}", file=sys.stderr)
        return EXIT_FAILED
    for photo in product.photos:
        print(_line(photo))
    return EXIT_DONE


def _delete(arguments: argparse.Namespace, client: Client) -> int:
    deleted = client.catalogue.delete(arguments.products)
    print(f"{deleted} of {len(set(arguments.products))} products deleted")
    return EXIT_DONE


def _export(arguments: argparse.Namespace, client: Client) -> int:
    for photo in client.catalogue.export(embeddings=arguments.embeddings):
        print(_line(photo))
    return EXIT_DONE


def _duplicates(arguments: argparse.Namespace, client: Client) -> int:
    for cluster in client.catalogue.duplicates(arguments.threshold, limit=arguments.limit):
        print("\t".join(map(printable, cluster)))
    return EXIT_DONE


def _info(_: argparse.Namespace, client: Client) -> int:
    print(json.dumps(dict(client.catalogue.info().details), indent=2))
    return EXIT_DONE


def _line(photo: CataloguePhoto) -> str:
    told: dict[str, Any] = {
        "product_id": photo.product_id,
        "photo_id": photo.photo_id,
        "fields": dict(photo.fields),
        "image_digest": photo.image_digest,
        "phash": photo.phash,
    }
    if photo.embedding is not None:
        told["embedding"] = base64.b64encode(photo.embedding.astype("<f4").tobytes()).decode("ascii")
    return json.dumps(told)
