"""Parquet: values of each type, rows that hold what no row can have, damaged files."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from triptych.sources.rows import RefusedRow, Row
from triptych.sources.table import open_table

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NOON = datetime.datetime(2026, 1, 2, 12, 0, 0, 500_000)


def values_of(tmp_path: Path, columns: dict[str, Any]) -> list[Any]:
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    return [row.values if isinstance(row, Row) else row for row in open_table(tmp_path / "t.parquet")]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (lambda: pa.array([Decimal("59.90")], pa.decimal128(10, 2)), 59.9),
        (lambda: pa.array([Decimal("5.00")], pa.decimal128(10, 2)), 5.0),
        (lambda: pa.array([Decimal("12345678901234567890.12")], pa.decimal128(30, 2)), "12345678901234567890.12"),
        (lambda: pa.array([Decimal("7")], pa.decimal128(20, 0)), 7),
        (lambda: pa.array([datetime.date(2026, 1, 2)]), "2026-01-02"),
        (lambda: pa.array([NOON], pa.timestamp("us")), "2026-01-02T12:00:00.500000"),
        (lambda: pa.array([NOON], pa.timestamp("ms", "UTC")), "2026-01-02T12:00:00.500000+00:00"),
        (lambda: pa.array([datetime.time(1, 2, 3)]), "01:02:03"),
        (lambda: pa.array([datetime.timedelta(minutes=1)]), 60.0),
        (lambda: pa.array([float("nan")]), None),
        (lambda: pa.array([None], pa.string()), None),
        (lambda: pa.array([""]), None),
        (lambda: pa.array([True]), True),
        (lambda: pa.array([["a", None]]), ["a", None]),
        (lambda: pa.array([{"x": Decimal("1.5"), "y": [datetime.date(2026, 1, 2)]}]), {"x": 1.5, "y": ["2026-01-02"]}),
        (lambda: pa.array([{"bytes": b"\xff\xd8", "path": None}]), {"bytes": b"\xff\xd8", "path": None}),
        (lambda: pa.array([b"\xff\xd8"]), b"\xff\xd8"),
        (lambda: pa.array(["ü"], pa.large_string()), "ü"),
        (lambda: pa.array(["x"]).dictionary_encode(), "x"),
        (lambda: pa.array([2**63 - 1]), 2**63 - 1),
        (lambda: pa.array([1.5], pa.float32()), 1.5),
    ],
)
def test_parquet_gives_plain_values_when_types_differ(column: Any, expected: Any, tmp_path: Path) -> None:
    (values,) = values_of(tmp_path, {"id": ["P1"], "x": column()})
    assert values == ({"id": "P1"} if expected is None else {"id": "P1", "x": expected})
    assert expected is None or type(values["x"]) is type(expected)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (lambda: pa.array([1.0, float("inf"), 2.0]), "an infinite number"),
        (lambda: pa.array([1, 2**64 - 1, 2], pa.uint64()), "beyond 64 bits"),
        (lambda: pa.array([1, 9 * 10**14, 2], pa.timestamp("s")), "cannot be read"),
        (lambda: pa.array([[1.0], [float("inf")], []]), "an infinite number"),
    ],
)
def test_parquet_row_alone_is_refused_when_a_value_cannot_be_held(column: Any, said: str, tmp_path: Path) -> None:
    first, refused, last = values_of(tmp_path, {"id": ["P1", "P2", "P3"], "x": column()})
    assert (first["id"], last["id"]) == ("P1", "P3")
    assert isinstance(refused, RefusedRow)
    assert (refused.row, refused.column) == (2, "x")
    assert said in refused.reason
    assert refused.values is not None
    assert refused.values["id"] == "P2"


def test_parquet_rows_of_a_damaged_part_are_refused_and_the_others_read(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": [f"P{n}" for n in range(9)]}), path, row_group_size=3)
    content = bytearray(path.read_bytes())
    part = pq.ParquetFile(path).metadata.row_group(1).column(0)
    start = part.dictionary_page_offset or part.data_page_offset
    content[start : start + 20] = bytes(20)
    path.write_bytes(bytes(content))
    rows = list(open_table(path))
    assert [type(row) for row in rows] == [*[Row] * 3, *[RefusedRow] * 3, *[Row] * 3]
    assert [row.row if isinstance(row, RefusedRow) else row.number for row in rows] == list(range(1, 10))


def test_parquet_says_that_the_index_of_pandas_is_left_out(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["P1"], "__index_level_0__": [7]}), tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    assert table.columns == ("id",)
    assert "__index_level_0__" in table.understood[0]
    assert [row.values for row in table] == [{"id": "P1"}]
