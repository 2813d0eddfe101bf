"""The benchmark of readers: each reads all rows of the file that was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.bench.tables import measure_tables


def test_each_reader_counts_all_rows_when_a_small_table_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    speeds = list(measure_tables(500, tmp_path))
    assert {(speed.reader, speed.file) for speed in speeds} == {
        ("triptych", "products.csv"),
        ("csv", "products.csv"),
        ("pyarrow", "products.csv"),
        ("triptych", "products.jsonl"),
        ("json", "products.jsonl"),
        ("triptych", "products.parquet"),
        ("pyarrow", "products.parquet"),
        ("triptych", "products.xml"),
    }
    assert {speed.rows for speed in speeds} == {500}
    assert all(speed.rate > 0 and speed.peak_mib > 5 for speed in speeds)
