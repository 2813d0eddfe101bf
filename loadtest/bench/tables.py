"""Reading tables: rows per second and peak memory of the client's reader beside plain readers of the same file."""

from __future__ import annotations

import csv
import json
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.sources.table import open_table

_COLUMNS = ("id", "title", "price", "availability", "brand", "image_link", "color", "size")
_SUFFIXES = (".csv", ".jsonl", ".parquet", ".xml")


@dataclass(frozen=True)
class ReaderSpeed:
    """One reader of one file.

    Attributes:
        reader: "triptych", or the module that reads.
        file: the file's name.
        rows: that it gave.
        rate: rows per second.
        peak_mib: largest resident memory of the process that read, in MiB.
    """

    reader: str
    file: str
    rows: int
    rate: float
    peak_mib: float


def measure_tables(rows: int, folder: Path) -> Iterator[ReaderSpeed]:
    """Writes a table of `rows` products in each format into `folder`, and reads it with each reader.

    Each reader runs in a process of its own, so that its peak memory is its own.
    """
    context = multiprocessing.get_context("spawn")
    for suffix in _SUFFIXES:
        path = folder / f"products{suffix}"
        if not path.exists():
            _WRITERS[suffix](path, rows)
        for reader in ("triptych", *(name for name, suffixes in _PLAIN.items() if suffix in suffixes)):
            with context.Pool(1) as pool:
                yield pool.apply(measure_reader, (reader, path))


def measure_reader(reader: str, path: Path) -> ReaderSpeed:
    """Goes through a file once, in this process."""
    started_s = time.perf_counter()
    read: Callable[[Path], Iterable[Any]] = open_table if reader == "triptych" else _PLAIN[reader][path.suffix]
    rows = sum(1 for _ in read(path))
    taken_s = time.perf_counter() - started_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return ReaderSpeed(reader, path.name, rows, rows / taken_s, peak_mib)


def _product(number: int) -> dict[str, str]:
    return {
        "id": f"SKU-{number}",
        "title": f'Dress no. {number}, "summer"',
        "price": f"{number % 1000}.90 EUR",
        "availability": "in stock",
        "brand": f"Brand {number % 40}",
        "image_link": f"https://shop.example/img/{number}.jpg",
        "color": "grün",
        "size": "M",
    }


def _write_csv(path: Path, rows: int) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(map(_product, range(rows)))


def _write_lines(path: Path, rows: int) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(_product(number)) + "\n" for number in range(rows))


def _write_parquet(path: Path, rows: int) -> None:
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(name, pyarrow.string()) for name in _COLUMNS])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, 100_000):
            products = [_product(number) for number in range(start, min(start + 100_000, rows))]
            writer.write_table(pyarrow.Table.from_pylist(products, schema))


def _write_feed(path: Path, rows: int) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write('<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>\n')
        for product in map(_product, range(rows)):
            file.write("<item>" + "".join(f"<g:{key}>{text}</g:{key}>" for key, text in product.items()) + "</item>\n")
        file.write("</channel></rss>\n")


def _csv_rows(path: Path) -> Iterator[Any]:
    with open(path, newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _json_rows(path: Path) -> Iterator[Any]:
    with open(path, encoding="utf-8") as file:
        yield from map(json.loads, file)


def _arrow_csv_rows(path: Path) -> Iterator[Any]:
    import pyarrow.csv

    for batch in pyarrow.csv.open_csv(path):
        yield from batch.to_pylist()


def _arrow_parquet_rows(path: Path) -> Iterator[Any]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(1024):
            yield from batch.to_pylist()


_WRITERS: dict[str, Callable[[Path, int], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_lines,
    ".parquet": _write_parquet,
    ".xml": _write_feed,
}
_PLAIN: dict[str, dict[str, Callable[[Path], Iterable[Any]]]] = {
    "csv": {".csv": _csv_rows},
    "json": {".jsonl": _json_rows},
    "pyarrow": {".csv": _arrow_csv_rows, ".parquet": _arrow_parquet_rows},
}
