"""`triptych explain`: a picture of the regions of a photo that are evidence for a label."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from triptych._core.explanation import draw_heat_map
from triptych._images.discovery import image_of
from triptych._images.photo import read_photo
from triptych.cli.connection_options import OpenClient, add_connection_options, open_connection
from triptych.cli.contact_sheet import load_font
from triptych.cli.exit_codes import EXIT_DONE, CommandFailed, WrongUsage
from triptych.cli.report import printable
from triptych.errors import InvalidInput

if TYPE_CHECKING:
    from triptych.results import Explanation

_CAPTION_PX = 28
_EPILOG = """\
examples:
  triptych explain shoe.jpg -o out.png
  triptych explain shoe.jpg --label 770 -o out.png  # evidence for another class than the best
  triptych explain shoe.jpg --attribute brand -o out.png

The picture shows the photo in grey and the evidence for the label in yellow to red, strongest in red; the border that
the network did not receive is darker. The heat map has 7 x 7 cells, drawn smoothly: it marks regions, not outlines.
exit codes: 0 done, 1 something failed (message on stderr), 2 wrong usage
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds the subcommand to those of `commands`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "explain",
        help="draw the regions of a photo that are evidence for a label",
        description="Draw the regions of a photo that are evidence for a label.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photo", metavar="PHOTO", help="a file, an http(s) URL, or - for standard input")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the picture to FILE (.png)")
    parser.add_argument("--attribute", default="category", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--label", type=int, metavar="INDEX", help="class to explain (default: the best one)")
    parser.add_argument("--json", action="store_true", help="print label, score and heat map as a JSON object")
    add_connection_options(parser)
    return parser


def run(arguments: argparse.Namespace, open_client: OpenClient) -> int:
    """Explains and draws; returns the exit code."""
    if arguments.output is None and not arguments.json:
        raise WrongUsage("No output was named. Add -o out.png for a picture, or --json for the numbers.")
    if arguments.output is not None and not arguments.output.lower().endswith(".png"):
        raise WrongUsage(f"-o is {arguments.output!r}; expected a name that ends in .png.")
    try:
        content = read_photo(image_of(arguments.photo), private_urls=False)
    except InvalidInput as error:
        raise WrongUsage(str(error)) from error
    with open_connection(arguments, open_client) as client:
        explanation = client.explain(content, attribute=arguments.attribute, label=arguments.label)
    if arguments.output is not None:
        _write(arguments.output, content, explanation)
    if arguments.json:
        print(json.dumps(_told(explanation)))
    else:
        print(f"{printable(_caption(explanation))}: {arguments.output} shows the evidence")
    return EXIT_DONE


def _write(path: str, photo: bytes, explanation: Explanation) -> None:
    from PIL import Image, ImageDraw

    drawn = draw_heat_map(photo, explanation)
    sheet = Image.new("RGB", (drawn.width, drawn.height + _CAPTION_PX), "white")
    sheet.paste(drawn, (0, 0))
    at = (8, drawn.height + _CAPTION_PX // 2)
    ImageDraw.Draw(sheet).text(at, printable(_caption(explanation)), fill=(24, 24, 27), font=load_font(16), anchor="lm")
    try:
        sheet.save(path, "PNG")
    except OSError as error:
        raise CommandFailed(f"{path!r} cannot be written ({error.strerror or error}).") from error


def _caption(explanation: Explanation) -> str:
    return f"{explanation.label} {explanation.label.score:.1%}"


def _told(explanation: Explanation) -> dict[str, Any]:
    return {
        "attribute": explanation.attribute,
        "label": str(explanation.label),
        "index": explanation.label.index,
        "score": explanation.label.score,
        "crop_ratio": explanation.crop_ratio,
        "heat_map": explanation.heat_map.tolist(),
    }
