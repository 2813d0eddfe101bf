"""Turns the rows of a table into items of the catalogue, one for each photo. Sends nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from triptych._core.catalogue import CatalogueItem, check_item
from triptych.errors import InvalidInput
from triptych.sources.columns import ColumnMapping, plain
from triptych.sources.locations import Location, PhotoFolder
from triptych.sources.numbers_text import NO_NAME
from triptych.sources.photo_cells import photos_of, unwrapped
from triptych.sources.rejects import EXTRA, cells_beyond
from triptych.sources.report import SkipCounter
from triptych.sources.rows import RefusedRow, Row
from triptych.sources.table import Table
from triptych.sources.values import ABSENT, ColumnRule, ValueFault

_SHORTENED = re.compile(r"\d[.,]\d+E\+\d+", re.IGNORECASE)
_TWICE = "photo that the same product names before"


class TableReading:
    """Reads the rows of one table in their order.

    Args:
        table: the table.
        mapping: which column is what.
        rules: of the values, by column.
        folder: of the photos.
        ignored: columns that are no fields.
    """

    def __init__(
        self,
        table: Table,
        mapping: ColumnMapping,
        rules: Mapping[str, ColumnRule],
        folder: PhotoFolder,
        ignored: frozenset[str],
    ) -> None:
        self.table = table
        self.notes = SkipCounter()
        self._mapping = mapping
        self._rules = rules
        self._folder = folder
        self._ignored = ignored
        self._product: dict[str, Any] = {}
        self._product_id: str | None = None
        self._named: set[str | bytes] = set()
        self._photos = 0
        by_name = {plain(name): name for name in reversed(table.columns)}
        preset = mapping.preset
        self._titles = tuple(by_name[name] for name in preset.titles if name in by_name) if preset else ()
        self._position = by_name.get(preset.position or "") if preset else None
        self._kind = by_name.get(preset.kind_column or "") if preset else None
        self._scope = by_name.get(preset.scope_column or "") if preset else None
        self.origin = Row(0, None, {})

    def items(self, row: Row, skips: SkipCounter) -> Iterator[CatalogueItem | RefusedRow]:
        """The items of one row, each with one photo; or the refused row or photos.

        A row gives at least one of both, or is counted in `skips`.
        """
        values = {name: value for name, value in row.values.items() if value is not None and value != ""}
        product_id = self._id_of(values, self._mapping.product_id)
        is_continued = self._continues(values, product_id)
        if is_continued:
            values = {**self._inherited(values), **values}
        else:
            self._product, self._product_id = values, product_id
            self._named, self._photos = set(), 0
        self.origin = replace(row, values=values)
        if not values:
            skips.add("empty row", f"row {row.number}")
            return
        fault = self._fault(values, product_id)
        if fault is not None or product_id is None:
            yield self._refused(product_id, fault or "it has no product_id.")
            return
        try:
            self._note_wrapped(row, values)
            places = [
                (place, index == 0)
                for index, name in enumerate(self._mapping.photos)
                for place in photos_of(_cell(values.get(name)))
            ]
            if not places:
                yield from self._without_photo(row, values, product_id, is_continued, skips)
                return
            fields = self._fields(values)
            photo_id = self._id_of(values, (self._mapping.photo_id,)) if self._mapping.photo_id else None
        except (InvalidInput, ValueFault) as error:
            yield self._refused(product_id, error)
            return
        for place, is_first_column in places:
            yield from self._item(product_id, (photo_id, is_first_column), place, fields, skips)

    def _note_wrapped(self, row: Row, values: Mapping[str, Any]) -> None:
        for name in self._mapping.photos:
            cell = values.get(name)
            if isinstance(cell, str) and unwrapped(cell):
                self.notes.add("cells with a formula, HTML or other text around the photos", f"row {row.number}")

    def _fault(self, values: Mapping[str, Any], product_id: str | None) -> str | None:
        """Why a row as a whole cannot be used, or None."""
        beyond = cells_beyond(values) if self._ignored else None
        if beyond is not None:
            advice = f"Move them into their columns, and clear the cell {EXTRA[3]}."
            return f"it has cells beyond the header: {beyond}. {advice}"
        if product_id is not None:
            return None
        columns = self._mapping.product_id
        damaged = next((values[name] for name in columns if _is_shortened(values.get(name))), None)
        if damaged is not None:
            why = f"its product_id is {damaged!r}: a spreadsheet has shortened it, and its digits are lost."
            return f"{why} Export the table again, with this column as text."
        told = next((repr(values[name]) for name in columns if name in values), "empty")
        if any(isinstance(values.get(name), (bool, Mapping, list, bytes)) for name in columns):
            return f"its product_id is {told[:120]}; expected a text or a number in the column {' or '.join(columns)}."
        return f"it has no product_id: {told}. Fill the column {' or '.join(columns)}."

    def named(self, refused: RefusedRow) -> RefusedRow:
        """A row that the table's reader refused, with the product and the photo that it names."""
        values = refused.values or {}
        photo = next((values[name] for name in self._mapping.photos if isinstance(values.get(name), str)), None)
        return replace(refused, product_id=self._id_of(values, self._mapping.product_id), photo=refused.photo or photo)

    def _item(
        self,
        product_id: str,
        named_by: tuple[str | None, bool],
        place: str | bytes | tuple[str, bytes],
        fields: dict[str, Any],
        skips: SkipCounter,
    ) -> Iterator[CatalogueItem | RefusedRow]:
        named = place if isinstance(place, str) else place[0] if isinstance(place, tuple) else None
        number = self.origin.number
        try:
            location = self._locate(place)
        except InvalidInput as error:
            self._photo_id(product_id, *named_by)
            yield self._refused(product_id, error, named)
            return
        if isinstance(location.image, str):
            if location.image in self._named:
                skips.add(_TWICE, f"row {number}")
                return
            self._named.add(location.image)
        kept = dict(fields)
        if location.named is not None:
            kept.setdefault("photo", location.named)
        item = CatalogueItem(product_id, location.image, kept, self._photo_id(product_id, *named_by))
        try:
            check_item(item)
        except InvalidInput as error:
            yield self._refused(product_id, error, named)
            return
        if location.note is not None:
            self.notes.add(location.note, f"row {number}: {named}")
        yield item

    def _photo_id(self, product_id: str, photo_id: str | None, is_first_column: bool) -> str | None:
        """The id of the next photo: the given one or the product's, from the second on with its position."""
        self._photos += 1
        position = str(self._photos)
        if self._position is not None:
            told = str(self.origin.values.get(self._position, "")).strip()
            if not is_first_column:  # positions number the photos of the first column
                position = f"v{position}"
            elif told.isdecimal():
                position = str(int(told))
        return photo_id if position == "1" else f"{photo_id or product_id}-{position}"

    def _locate(self, place: str | bytes | tuple[str, bytes]) -> Location:
        if isinstance(place, bytes):
            return Location(place, None)
        return Location(place[1], place[0]) if isinstance(place, tuple) else self._folder.locate(place)

    def _without_photo(
        self, row: Row, values: Mapping[str, Any], product_id: str, is_continued: bool, skips: SkipCounter
    ) -> Iterator[RefusedRow]:
        preset = self._mapping.preset
        kind = str(values.get(self._kind, "")).casefold() if self._kind is not None else ""
        reason = None
        if is_continued:
            reason = "row of a variant without a photo of its own"
        elif preset is not None and self._scope is not None and self._scope in values:
            reason = "row of a store view without a photo of its own"
        elif preset is not None:
            reason = next((told for word, told in preset.optional_kinds.items() if word in kind), None)
        if reason is None:
            yield self._refused(product_id, f"it names no photo. Fill the column {' or '.join(self._mapping.photos)}.")
        else:
            skips.add(reason, f"row {row.number}")

    def _continues(self, values: Mapping[str, Any], product_id: str | None) -> bool:
        preset = self._mapping.preset
        if preset is None or not preset.inherits or product_id is None or product_id != self._product_id:
            return False
        return not any(name in values for name in self._titles)

    def _inherited(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the product's first row that hold for a further row."""
        preset = self._mapping.preset
        kept = {name: value for name, value in self._product.items() if name not in self._mapping.photos}
        if preset is None:
            return kept
        is_variant = any(plain(name).startswith(preset.variant) for name in values)
        left_out = (*preset.own, *preset.variant) if is_variant else preset.own
        return {name: value for name, value in kept.items() if not plain(name).startswith(left_out)}

    def _fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        own: dict[str, Any] = {}
        nested = values.get("fields")
        for name, value in values.items():
            if (
                name in self._mapping.used
                or name in self._ignored
                or (name == "fields" and isinstance(nested, Mapping))
            ):
                continue
            rule = self._rules.get(name)
            kept = value if rule is None else rule.value_of(value)
            if kept is not ABSENT:
                own[name] = kept
        return {**own, **nested} if isinstance(nested, Mapping) else own

    def _id_of(self, values: Mapping[str, Any], columns: tuple[str, ...]) -> str | None:
        for name in columns:
            value = values.get(name)
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            is_id = isinstance(value, (str, int, float)) and not isinstance(value, bool) and value == value
            text = str(value).strip() if is_id else ""
            if text.casefold() not in NO_NAME and not _is_shortened(value):
                return text
        return None

    def _refused(self, product_id: str | None, error: Exception | str, photo: str | None = None) -> RefusedRow:
        return RefusedRow(
            self.origin.number,
            product_id,
            photo,
            str(error),
            passing=False,
            line=self.origin.line,
            column=error.column if isinstance(error, ValueFault) else None,
            value=error.value if isinstance(error, ValueFault) else photo,
            values=self.origin.values,
        )


def _is_shortened(value: Any) -> bool:
    """Whether a spreadsheet has written a long number in scientific notation."""
    return isinstance(value, str) and _SHORTENED.fullmatch(value.strip()) is not None


def _cell(value: Any) -> Any:
    """A photo cell without a word that says that there is none."""
    return None if isinstance(value, str) and value.strip().casefold() in (NO_NAME | {"no_selection"}) else value
