"""`triptych search`: the products of the catalogue that are similar to a photo, as a table, JSON or a picture."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from triptych._core.search import Query
from triptych._images.discovery import STDIN, image_of
from triptych._images.photo import read_photo
from triptych.cli.connection_options import OpenClient, add_connection_options, open_connection
from triptych.cli.exit_codes import EXIT_DONE, WrongUsage
from triptych.cli.filters import add_filter_option, read_filter
from triptych.cli.report import printable
from triptych.errors import InvalidInput

if TYPE_CHECKING:
    from triptych.results import Match, SearchResult

_EPILOG = """\
examples:
  triptych search shoe.jpg
  triptych search shoe.jpg --k 5 --filter category=Shoes --filter 'price<50' --json
  triptych search street.jpg --box 40,20,300,280 --sheet out.png --photos photos/

A sheet shows the query and the results with similarities and ids. It reads the photos from the field `photo`, which an
import stores: a path is relative to --photos, a URL is not downloaded.
exit codes: 0 done, also without results; 1 something failed (message on stderr), 2 wrong usage
"""

_EMPTY = "the catalogue is empty; `triptych catalogue import` fills it"


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds the subcommand to those of `commands`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "search",
        help="find products that are similar to a photo",
        description="Find the products of the server's catalogue that are most similar to a photo.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photo", metavar="PHOTO", help="a file, an http(s) URL, or - for standard input")
    parser.add_argument(
        "-k", "--k", type=int, default=10, metavar="K", help="largest number of results (default: %(default)s)"
    )
    parser.add_argument("--min-similarity", type=float, metavar="COSINE", help="smallest similarity of a result")
    parser.add_argument("--all-photos", action="store_true", help="return each photo instead of each product once")
    parser.add_argument(
        "--predicted-filter",
        metavar="FIELD",
        help="return products with the values of FIELD that the server predicts for the photo first, e.g. `category`",
    )
    parser.add_argument("--narrow-by", metavar="FIELD", help=argparse.SUPPRESS)  # deprecated name
    parser.add_argument(
        "--box", metavar="L,T,R,B", help="search with this part of the photo: left,top,right,bottom in pixels"
    )
    add_filter_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per result")
    parser.add_argument("--sheet", metavar="FILE", help="write a picture of the query and the results to FILE (.png)")
    parser.add_argument(
        "--photos", dest="folder", metavar="FOLDER", default=".", help="folder of the catalogue's photos, for --sheet"
    )
    add_connection_options(parser)
    return parser


def run(arguments: argparse.Namespace, open_client: OpenClient) -> int:
    """Searches and prints the results; returns the exit code."""
    if arguments.sheet is not None and not arguments.sheet.lower().endswith(".png"):
        raise WrongUsage(f"--sheet is {arguments.sheet!r}; expected a name that ends in .png.")
    box, conditions = _box(arguments.box), read_filter(arguments.filter)
    try:
        field_name = _predicted_filter(arguments)
        Query(arguments.k, conditions, arguments.min_similarity, predicted_filter=field_name)
        # Read once: standard input can be read only once, and the sheet shows the photo too.
        content = read_photo(image_of(arguments.photo), private_urls=False)
    except InvalidInput as error:
        raise WrongUsage(str(error)) from error
    with open_connection(arguments, open_client) as client:
        try:
            found = client.search(
                content,
                k=arguments.k,
                filter=conditions,
                min_similarity=arguments.min_similarity,
                group_by_product=not arguments.all_photos,
                predicted_filter=field_name,
                box=box,
            )
        except InvalidInput as error:
            # An empty catalogue has no field either, so a filter on any is refused.
            if error.code != "filter_invalid" or client.search(content, k=1).matches:
                raise
            found = None
        if found is None or not (found.matches or client.search(content, k=1).matches):
            print(f"triptych: {_EMPTY}" if arguments.json else f"no results: {_EMPTY}", file=_messages(arguments.json))
            return EXIT_DONE
    _show(found, as_json=arguments.json)
    if arguments.sheet is not None:
        _write_sheet(arguments, read_photo(content, box=box), found)
    return EXIT_DONE


def _messages(as_json: bool) -> TextIO:
    return sys.stderr if as_json else sys.stdout


def _write_sheet(arguments: argparse.Namespace, query: bytes, found: SearchResult) -> None:
    from triptych.cli.contact_sheet import write_sheet

    name = "standard input" if arguments.photo == STDIN else os.path.basename(arguments.photo)
    missing = write_sheet(arguments.sheet, query, name, found.matches, arguments.folder)
    if missing:
        print(
            f"triptych: {missing} of the {len(found.matches)} photos are not below {arguments.folder!r} and are "
            "grey in the sheet. Name the imported folder: --photos FOLDER.",
            file=sys.stderr,
        )


def _show(found: SearchResult, *, as_json: bool) -> None:
    if as_json:
        for match in found.matches:
            print(json.dumps(_told(match)))
    elif not found.matches:
        print("no results")
    else:
        if found.predicted_values:
            print(f"predicted: {printable(', '.join(found.predicted_values))}")
        width = max(10, *(len(printable(match.product_id)) for match in found.matches))
        print(f"{'rank':>4}  {'similarity':>10}  {'product':<{width}}  fields")
        for match in found.matches:
            fields = ", ".join(f"{name}={value}" for name, value in match.fields.items())
            name = printable(match.product_id)
            print(f"{match.rank:>4}  {match.similarity:>10.3f}  {name:<{width}}  {printable(fields)}".rstrip())


def _predicted_filter(arguments: argparse.Namespace) -> str | None:
    """The field of the predicted filter, also where it was passed by the option's deprecated name."""
    field_name: str | None = arguments.predicted_filter
    if arguments.narrow_by is None:
        return field_name
    print("triptych: --narrow-by is deprecated: use --predicted-filter", file=sys.stderr)
    if field_name is not None:
        raise WrongUsage("--predicted-filter and --narrow-by, its deprecated name, were both passed. Pass one of them.")
    return str(arguments.narrow_by)


def _told(match: Match) -> dict[str, Any]:
    return {
        "rank": match.rank,
        "product_id": match.product_id,
        "photo_id": match.photo_id,
        "similarity": match.similarity,
        "fields": dict(match.fields),
    }


def _box(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    try:
        left, top, right, bottom = map(int, text.split(","))
    except ValueError as error:
        raise WrongUsage(f"--box is {text!r}; expected left,top,right,bottom in pixels: 40,20,300,280.") from error
    return left, top, right, bottom
