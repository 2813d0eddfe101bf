"""`triptych catalogue import`: options, and the report of what was read, added, skipped and refused."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from triptych._images.discovery import find_photos
from triptych._optional import require
from triptych.catalogue.embedded_files import COLUMNS
from triptych.catalogue.files import ImportOptions, read_catalogue
from triptych.catalogue.importing import ImportReport
from triptych.catalogue.loading import check_rows
from triptych.cli.exit_codes import EXIT_DONE, EXIT_FAILED, WrongUsage
from triptych.cli.report import printable
from triptych.client import Client
from triptych.errors import InvalidInput
from triptych.sources.rows import RefusedRow

_SHOWN = 20


def add_import_call(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds `import` with its options."""
    loading = add(
        "import",
        import_catalogue,
        "add products to the catalogue: a table, a folder of photos, or bulk embeddings",
    )
    loading.add_argument(
        "file",
        metavar="FILE",
        help="a table (CSV, TSV, JSON, JSON lines, Excel, Parquet, XML feed), a folder of photos, or the folder that "
        "`triptych bulk-embed` wrote",
    )
    loading.add_argument("--dry-run", action="store_true", help="read and check everything, and send nothing")
    _add_table_options(loading)
    loading.add_argument(
        "--rejects",
        metavar="FILE",
        help="file for the refused rows, to be mended and imported: .csv, or JSON lines (default: beside FILE)",
    )
    loading.add_argument("--journal", metavar="FILE", help="file that records the progress (default: beside FILE)")
    loading.add_argument("--json", action="store_true", help="print the report as a JSON object with the refused rows")


def _add_table_options(loading: argparse.ArgumentParser) -> None:
    loading.add_argument(
        "--map",
        action="append",
        metavar="ROLE=COLUMN",
        help="column of a role (id, photo, photo_id): --map id=SKU,photo='Image Src'; several photos: photo=front+back",
    )
    loading.add_argument(
        "--photos", metavar="DIR", help="folder that relative paths of photos start from (default: that of FILE)"
    )
    loading.add_argument(
        "--text", action="append", default=[], metavar="COLUMN", help="keep a column as text; may be repeated"
    )
    loading.add_argument(
        "--decimal", choices=(",", "."), metavar="MARK", help="decimal mark of the numbers: , or . (default: found out)"
    )
    loading.add_argument("--encoding", metavar="NAME", help="of a text file, cp1252 for example (default: found out)")
    loading.add_argument("--delimiter", metavar="SIGN", help="of a CSV file, or `tab` (default: found out)")
    loading.add_argument("--sheet", metavar="NAME", help="of an Excel file (default: the first visible one)")


def import_catalogue(arguments: argparse.Namespace, client: Client) -> int:
    """Performs the import; returns the exit code."""
    try:
        if _has_embeddings(Path(arguments.file)):
            report = client.catalogue.import_embeddings(arguments.file, journal=arguments.journal)
        else:
            report = client.catalogue.import_file(
                arguments.file,
                options=_options(arguments),
                rejects=arguments.rejects,
                journal=arguments.journal,
                progress=has_bar(),
            )
    except (ModuleNotFoundError, InvalidInput) as error:
        raise WrongUsage(str(error)) from error
    return _report(report, arguments)


def check_catalogue(arguments: argparse.Namespace) -> int:
    """Performs a dry run, which needs no server; returns the exit code."""
    try:
        if _has_embeddings(Path(arguments.file)):
            raise WrongUsage("--dry-run checks tables and folders of photos, not embeddings. Leave it out.")
        rows = read_catalogue(arguments.file, _options(arguments), progress=has_bar())
        report = check_rows(rows, arguments.rejects)
    except (ModuleNotFoundError, InvalidInput) as error:
        raise WrongUsage(str(error)) from error
    return _report(report, arguments)


def _options(arguments: argparse.Namespace) -> ImportOptions:
    return ImportOptions(
        arguments.map,
        arguments.text,
        arguments.decimal,
        arguments.photos,
        arguments.encoding,
        arguments.delimiter,
        arguments.sheet,
    )


def _has_embeddings(place: Path) -> bool:
    """Whether a Parquet file, or the first one of a folder, has the columns that `triptych bulk-embed` writes.

    Raises:
        InvalidInput: a folder has such files and photos: one of both would be left out.
        ModuleNotFoundError: the extra `parquet` is not installed.
    """
    first = min(place.glob("*.parquet"), default=place) if place.is_dir() else place
    if first.suffix.lower() != ".parquet" or not first.is_file():
        return False
    has_photos = place.is_dir() and isinstance(next(find_photos([str(place)])), str)
    parquet = require("pyarrow.parquet", extra="parquet", wanted_by=f"Reading {first}")
    try:
        names = set(parquet.read_schema(first).names)
    except (OSError, ValueError):  # the reader of the whole file says why
        return place.is_dir() and not has_photos
    if not names.issuperset(COLUMNS):
        return False
    if has_photos:
        raise InvalidInput(
            f"{str(place)!r} contains photos and Parquet files of embeddings. Move them into two folders, and import "
            "one after the other."
        )
    return True


def _report(report: ImportReport, arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(json.dumps(_as_json(report, arguments.dry_run)))
    else:
        verb = "would be added" if arguments.dry_run else "added"
        earlier = f", {report.skipped} added by an earlier run" if report.skipped else ""
        print(f"{report.upserted} photos {verb} to the catalogue{earlier}", flush=True)
        for line in _details(report, arguments):
            print(printable(line), file=sys.stderr)
    for row in report.refused[:_SHOWN]:
        print(f"triptych: refused {printable(str(row))}", file=sys.stderr)
    if report.refused_count > _SHOWN:
        where = report.rejects or "--rejects FILE"
        print(f"triptych: ... and {report.refused_count - _SHOWN} more refused; all: {where}", file=sys.stderr)
    if report.rejects is not None:
        told = "has the refused rows with the reasons: mend it, and import it as it is"
        print(f"triptych: {printable(report.rejects)} {told}", file=sys.stderr)
    return EXIT_FAILED if report.refused_count else EXIT_DONE


def _details(report: ImportReport, arguments: argparse.Namespace) -> Iterator[str]:
    if report.understanding is None:
        return
    first, *lines = report.understanding.lines()
    yield f"{arguments.file}: {first}"
    yield from (f"  {line}" for line in lines)
    photos = f" ({report.refused_count} photos)" if report.refused_rows < report.refused_count else ""
    yield f"  {report.rows} rows read, {report.refused_rows} refused{photos}"
    yield from (f"  {skipped}" for skipped in report.passed_over)
    yield from (f"  {found.count} {found.reason} ({', '.join(found.examples)})" for found in report.found)


def _as_json(report: ImportReport, is_dry_run: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"upserted": report.upserted, "skipped": report.skipped}
    told["refused"] = [_refused(row) for row in report.refused]
    told |= {
        "refused_count": report.refused_count,
        "refused_rows": report.refused_rows,
        "rejects": report.rejects,
        "dry_run": is_dry_run,
    }
    if report.understanding is not None:
        told |= {
            "rows": report.rows,
            "passed_over": [each.as_json() for each in report.passed_over],
            "found": [each.as_json() for each in report.found],
            "understood": report.understanding.as_json(),
        }
    return told


def _refused(row: RefusedRow) -> dict[str, Any]:
    told = ("row", "line", "product_id", "photo", "column", "value", "code", "reason")
    return {name: getattr(row, name) for name in told}


def has_bar() -> bool:
    """Whether a progress bar can be shown."""
    if not sys.stderr.isatty():
        return False
    try:
        require("tqdm", extra="cli", wanted_by="A progress bar")
    except ModuleNotFoundError:
        return False
    return True
