"""The file of refused rows: the rows as they stand in their table, and why. It can be mended and imported again.

Five columns are added. `reason_cells` has the cells of a row that are beyond the header, or the text of a damaged row:
the row is refused again until they are in their columns. `reason_rules` keeps how the table was understood (columns,
decimal mark, kinds), since the few rows of this file could be understood in another way.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import re
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from triptych.sources.rows import RefusedRow

EXTRA = ("reason", "reason_row", "reason_column", "reason_cells", "reason_rules")
_PREFIX = "import_"  # of the added columns where the table has a column "reason"
# Rows whose photos may still be in flight: the photos of a row are refused at different times.
_RECENT = 1024
_RULES_ROWS = 20  # the first rows that keep the rules: some of them will be deleted rather than mended
_NUMBERED = re.compile(r"(.*)\.rejects(?:-(\d+))?")


def is_extra(columns: Sequence[str]) -> tuple[str, ...]:
    """The added columns if the table is a file of refused rows, otherwise none."""
    for names in (tuple(_PREFIX + name for name in EXTRA), EXTRA):
        if set(names[:2]) <= set(columns):
            return tuple(name for name in names if name in columns)
    return ()


def read_rules(values: Mapping[str, Any], extra: Sequence[str]) -> dict[str, Any]:
    """The rules that a row of such a file keeps; empty where it keeps none."""
    told = next((values.get(name) for name in extra if name.endswith(EXTRA[4])), None)
    try:
        found = json.loads(told) if isinstance(told, str) else told
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def rejects_path(source: Path, is_delimited: bool) -> Path:
    """The path beside a table; that of a file of refused rows has the next number."""
    name = source.name
    for suffix in (".gz", *(source.suffixes[-2:-1] if name.endswith(".gz") else source.suffixes[-1:])):
        name = name.removesuffix(suffix)
    found = _NUMBERED.fullmatch(name)
    name = f"{name}.rejects" if found is None else f"{found[1]}.rejects-{int(found[2] or 1) + 1}"
    return source.with_name(name + (".csv" if is_delimited else ".jsonl"))


def cells_beyond(values: Mapping[str, Any]) -> str | None:
    """The cells of such a row that are in no column yet."""
    told = values.get(EXTRA[3]) or values.get(_PREFIX + EXTRA[3])
    return str(told) if told else None


class RejectsFile:
    """Writes refused rows as they come; the file appears when it is closed, and only if a row was refused.

    A file of this name that an earlier import wrote is kept as `<name>.old`, since it may have been mended.

    Args:
        path: ends in .csv, or else JSON lines are written.
        columns: of the table.
        rules: see `read_rules`.
    """

    def __init__(self, path: Path, columns: Sequence[str], rules: Mapping[str, Any]) -> None:
        self.path = path
        self.rows = 0
        self.error: str | None = None
        known = is_extra(columns)
        self._columns = tuple(name for name in columns if name not in known)
        prefix = _PREFIX if any(name in self._columns for name in EXTRA) else ""
        self._extra = tuple(prefix + name for name in EXTRA)
        self._rules = json.dumps(rules, ensure_ascii=False)
        self._is_csv = path.suffix.lower() == ".csv"
        self._file: TextIO | None = None
        self._written: deque[int] = deque(maxlen=_RECENT)

    @property
    def draft(self) -> Path:
        """The file during the import."""
        return self.path.with_name(self.path.name + ".tmp")

    def add(self, refused: RefusedRow) -> None:
        """Writes a row once, also when several of its photos are refused."""
        if refused.row in self._written or self.error is not None:
            return
        self._written.append(refused.row)
        values = refused.values or {}
        rules = self._rules if self.rows < _RULES_ROWS else ""
        known = {*self._columns, *self._extra}
        beyond = [value for name, value in values.items() if name not in known] if self._columns else []
        cells = json.dumps(beyond, ensure_ascii=False, default=_json) if beyond and self._is_csv else ""
        if refused.is_damaged or (not values and refused.column is None):
            cells = refused.value or ""  # the text of a damaged row that could not be told apart into columns
        reasons = (refused.reason, refused.row, refused.column or "", cells, rules)
        try:
            if self._file is None:
                self._file = self._open()
            if self._is_csv:
                csv.writer(self._file).writerow([*(_cell(values.get(name)) for name in self._columns), *reasons])
            else:
                row = {name: value for name, value in values.items() if name not in self._extra}
                told = {**row, **dict(zip(self._extra, reasons, strict=True))}
                self._file.write(json.dumps(told, ensure_ascii=False, default=_json) + "\n")
            self.rows += 1
        except OSError as error:
            self.error = f"{str(self.path)!r} cannot be written ({error.strerror or error})"

    def close(self) -> None:
        """Gives the file its name."""
        if self._file is None:
            return
        try:
            self._file.close()
            if self.path.exists():
                os.replace(self.path, self.path.with_name(self.path.name + ".old"))
            os.replace(self.draft, self.path)
        except OSError as error:
            self.error = f"{str(self.path)!r} cannot be written ({error.strerror or error})"
        self._file = None

    def __enter__(self) -> RejectsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> TextIO:
        # The byte order mark tells spreadsheets that this is UTF-8; half an emoji becomes "?".
        is_csv = self._is_csv
        encoding = "utf-8-sig" if is_csv else "utf-8"
        newline = "" if is_csv else None
        file = open(self.draft, "w", encoding=encoding, errors="replace", newline=newline)  # noqa: SIM115 (see close)
        if is_csv:
            csv.writer(file).writerow([*self._columns, *self._extra])
        return file


def _cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return str(value) if isinstance(value, (int, float)) else json.dumps(value, ensure_ascii=False, default=_json)


def _json(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"data:;base64,{base64.b64encode(bytes(value)).decode('ascii')}"
    return str(value)
