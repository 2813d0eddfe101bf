"""`triptych search`: the products of the catalogue that look like a photo, as a table, JSON or one picture."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from triptych.command.connecting import OpenClient, add_connection_options, open_connection
from triptych.command.exits import EXIT_DONE, WrongUsage
from triptych.command.filters import add_filter_option, read_filter
from triptych.command.report import printable
from triptych.errors import InvalidInput
from triptych.photo import read_photo
from triptych.photo_places import STDIN, image_of
from triptych.searching import Query

if TYPE_CHECKING:
    from triptych.results import Match, SearchResult

_EPILOG = """\
examples:
  triptych search shoe.jpg
  triptych search shoe.jpg --k 5 --filter category=Shoes --filter 'price<50' --json
  triptych search street.jpg --box 40,20,300,280 --sheet out.png --photos photos/

A sheet shows the query and what was found, with similarity and ids. It finds the photos by the field `photo` that an
import leaves with each: a URL is not fetched, a path begins at --photos.
exit codes: 0 done, also where nothing was found; 1 something failed (said on stderr), 2 wrong usage
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds the subcommand to those of `commands`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "search",
        help="find products that look like a photo",
        description="Find the products of the server's catalogue that look most like a photo.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photo", metavar="PHOTO", help="a file, an http(s) URL, or - for standard input")
    parser.add_argument("-k", "--k", type=int, default=10, metavar="K", help="results at most (default: %(default)s)")
    parser.add_argument("--min-similarity", type=float, metavar="COSINE", help="leave out what is less alike")
    parser.add_argument("--all-photos", action="store_true", help="each photo, not each product once")
    parser.add_argument(
        "--narrow-by", metavar="FIELD", help="search the likeliest values of FIELD first, `category` for example"
    )
    parser.add_argument("--box", metavar="L,T,R,B", help="search with this part alone: left,top,right,bottom in pixels")
    add_filter_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a result")
    parser.add_argument("--sheet", metavar="FILE", help="write a picture of query and results to FILE (.png)")
    parser.add_argument(
        "--photos", dest="folder", metavar="FOLDER", default=".", help="where the catalogue's photos are, for --sheet"
    )
    add_connection_options(parser)
    return parser


def run(arguments: argparse.Namespace, open_client: OpenClient) -> int:
    """Searches and shows; returns the exit code."""
    if arguments.sheet is not None and not arguments.sheet.lower().endswith(".png"):
        raise WrongUsage(f"--sheet is {arguments.sheet!r}; expected a name that ends in .png.")
    box, conditions = _box(arguments.box), read_filter(arguments.filter)
    try:
        Query(arguments.k, conditions, arguments.min_similarity, narrow_by=arguments.narrow_by)
        # Read once: standard input has it once, and the sheet shows it too.
        content = read_photo(image_of(arguments.photo), private_urls=False)
    except InvalidInput as error:
        raise WrongUsage(str(error)) from error
    with open_connection(arguments, open_client) as client:
        found = client.search(
            content,
            k=arguments.k,
            filter=conditions,
            min_similarity=arguments.min_similarity,
            group_by_product=not arguments.all_photos,
            narrow_by=arguments.narrow_by,
            box=box,
        )
    _show(found, as_json=arguments.json)
    if arguments.sheet is not None:
        from triptych.command.sheet import write_sheet

        name = "standard input" if arguments.photo == STDIN else os.path.basename(arguments.photo)
        missing = write_sheet(arguments.sheet, read_photo(content, box=box), name, found.matches, arguments.folder)
        if missing:
            print(
                f"triptych: {missing} of the {len(found.matches)} photos found are not below {arguments.folder!r} and "
                "are grey in the sheet. Name the folder that was imported: --photos FOLDER.",
                file=sys.stderr,
            )
    return EXIT_DONE


def _show(found: SearchResult, *, as_json: bool) -> None:
    if as_json:
        for match in found.matches:
            print(json.dumps(_told(match)))
    elif not found.matches:
        print("nothing in the catalogue passes")
    else:
        if found.narrowed_to:
            print(f"searched first: {printable(', '.join(found.narrowed_to))}")
        width = max(10, *(len(printable(match.product_id)) for match in found.matches))
        print(f"{'rank':>4}  {'similarity':>10}  {'product':<{width}}  fields")
        for match in found.matches:
            fields = ", ".join(f"{name}={value}" for name, value in match.fields.items())
            name = printable(match.product_id)
            print(f"{match.rank:>4}  {match.similarity:>10.3f}  {name:<{width}}  {printable(fields)}".rstrip())


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
