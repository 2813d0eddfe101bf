"""Reads catalogues from CSV, JSON lines, Parquet, or a folder of photos -> items and refused rows. Sends nothing."""

from __future__ import annotations

import csv
import difflib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych._core.catalogue import CatalogueItem, check_item
from triptych._core.optional import require
from triptych._images.discovery import SUFFIXES, Missing, find_photos
from triptych.errors import InvalidInput

_PHOTO_COLUMNS = ("photo", "image", "path", "url")
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)\.\d+")
_URL = re.compile("https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was not added to the catalogue.

    Attributes:
        row: its number in the file or iterable, from 1; header lines do not count.
        product_id: the row's product id, if it has one.
        photo: the photo that the row names.
        reason: the error and the next step.
        passing: whether another import may succeed.
        code: of the error, see `TriptychError`; None where a file of embeddings has no code.
    """

    row: int
    product_id: str | None
    photo: str | None
    reason: str
    passing: bool = False
    code: str | None = InvalidInput.code

    def __str__(self) -> str:
        named = ", ".join(each for each in (self.product_id, self.photo) if each)
        return f"row {self.row}{f' ({named})' if named else ''}: {self.reason}"


def read_catalogue(path: str | os.PathLike[str]) -> Iterator[CatalogueItem | RefusedRow]:
    """The rows of a catalogue in their order.

    Raises:
        InvalidInput: the file does not exist, has another format, or has no columns for ids and photos.
        ModuleNotFoundError: a Parquet file, and the extra `parquet` is not installed.
    """
    place = Path(path)
    if place.is_dir():
        return _from_folder(place)
    suffix = place.suffix.lower()
    if suffix not in _READERS:
        raise InvalidInput(
            f"{os.fspath(path)!r} is no catalogue; expected a folder of photos, or a file that ends in "
            f"{', '.join(_READERS)}."
        )
    if not place.is_file():
        raise InvalidInput(f"There is no file {os.fspath(path)!r}. Check the path.")
    return _from_rows(place, _READERS[suffix](place))


def _from_folder(folder: Path) -> Iterator[CatalogueItem | RefusedRow]:
    for number, found in enumerate(find_photos([str(folder)]), start=1):
        if isinstance(found, Missing):
            if found.place == str(folder):
                raise InvalidInput(f"The folder {str(folder)!r} holds no photo; expected files {' '.join(SUFFIXES)}.")
            yield RefusedRow(number, None, found.place, str(found.error), passing=True, code=found.error.code)
            continue
        inside = Path(os.path.relpath(found, folder))
        if os.path.islink(found):  # links to folders are not followed
            try:
                _inside(folder, str(inside))
            except InvalidInput as error:
                yield RefusedRow(number, None, inside.as_posix(), str(error))
                continue
        fields = {"photo": inside.as_posix()}
        if inside.parent != Path():
            fields["folder"] = inside.parent.as_posix()
        try:
            item = CatalogueItem(inside.with_suffix("").as_posix(), found, fields)
            item.product_id.encode()
        except UnicodeEncodeError:
            yield RefusedRow(number, None, repr(found), "its name is not valid UTF-8. Rename the file.")
        else:
            yield item


def _from_rows(path: Path, rows: Iterator[Mapping[str, Any] | str]) -> Iterator[CatalogueItem | RefusedRow]:
    for number, row in enumerate(rows, start=1):
        if isinstance(row, str):
            yield RefusedRow(number, None, None, row)
            continue
        yield _item_of(path.parent, number, row)


def _item_of(folder: Path, number: int, row: Mapping[str, Any]) -> CatalogueItem | RefusedRow:
    given = {name: value for name, value in row.items() if value is not None and value != ""}
    product_id, photo_id = given.pop("product_id", None), given.pop("photo_id", None)
    column = next((name for name in _PHOTO_COLUMNS if name in given), None)
    photo = given.pop(column) if column is not None else None
    named = photo if isinstance(photo, str) else None
    ids = [None if each is None else str(each) for each in (product_id, photo_id)]
    if ids[0] is None:
        return RefusedRow(number, None, named, "it has no product_id.")
    if photo is None:
        return RefusedRow(number, ids[0], None, "it names no photo. Fill the column photo.")
    fields = given.pop("fields", {}) if isinstance(given.get("fields"), Mapping) else {}
    try:
        image = photo if isinstance(photo, bytes) else _inside(folder, str(photo))
        kept = {**given, **fields}
        if named is not None:
            kept.setdefault("photo", named)
        item = CatalogueItem(ids[0], image, kept, ids[1])
        check_item(item)
    except InvalidInput as error:
        return RefusedRow(number, ids[0], named, str(error))
    return item


def _inside(folder: Path, photo: str) -> str:
    """The location of a row's photo: a URL, or a path below the catalogue's folder."""
    if _URL.match(photo):
        return photo
    try:
        place = (folder / photo).resolve()
        is_inside = place.is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidInput(f"{photo!r} cannot be a path ({error}).") from error
    if not is_inside:
        raise InvalidInput(
            f"{photo!r} leads out of the catalogue's folder {str(folder)!r}. Put the photo below it, or name it by URL."
        )
    if not place.is_file():
        raise InvalidInput(
            f"there is no photo {photo!r} below {str(folder)!r}. Paths are relative to the catalogue's folder."
        )
    return str(folder / photo)


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any] | str]:
    try:
        # The byte order mark of spreadsheets is no part of the first column's name.
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(path, [name.strip() for name in reader.fieldnames or ()])
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            for row in reader:
                if None in row or None in row.values():
                    expected = len(reader.fieldnames)
                    yield f"it has another number of columns than the header's {expected}. Quote values with commas."
                else:
                    yield {name: value if name in _TEXT else _value(value) for name, value in row.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{str(path)!r} is not CSV in UTF-8 ({error}). Save it as UTF-8.") from error


_TEXT = ("product_id", "photo_id", *_PHOTO_COLUMNS)


def _value(text: str) -> Any:
    """Converts the text of a number to a number, so that filters can compare it; "007" stays text."""
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def _json_rows(path: Path) -> Iterator[Mapping[str, Any] | str]:
    with open(path, "rb") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                yield f"it is no JSON ({error})."
                continue
            yield row if isinstance(row, dict) else 'it is no JSON object; expected {"product_id": ..., "photo": ...}.'


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any] | str]:
    arrow = require("pyarrow", extra="parquet", wanted_by=f"Reading {path}")
    parquet = require("pyarrow.parquet", extra="parquet", wanted_by=f"Reading {path}")
    try:
        file = parquet.ParquetFile(path)
        _check_columns(path, file.schema_arrow.names)
        for batch in file.iter_batches(256):
            yield from batch.to_pylist()
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise InvalidInput(f"{str(path)!r} is no Parquet file ({error}).") from error


_READERS: dict[str, Callable[[Path], Iterator[Mapping[str, Any] | str]]] = {
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
    ".parquet": _parquet_rows,
}


def _check_columns(path: Path, columns: list[str]) -> None:
    for wanted, accepted in (("product_id", ("product_id",)), ("photo", _PHOTO_COLUMNS)):
        if not set(accepted) & set(columns):
            near = difflib.get_close_matches(wanted, columns, 1, 0.5)
            advice = f"Rename {near[0]!r}" if near else f"Add {wanted!r}"
            raise InvalidInput(
                f"{str(path)!r} has no column {wanted!r}; it has {', '.join(columns) or 'none'}. {advice}; further "
                "columns become fields."
            )
