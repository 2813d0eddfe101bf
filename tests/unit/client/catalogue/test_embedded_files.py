from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from triptych.catalogue.embedded_files import EmbeddedLoading, find_embedded, write_embedded
from triptych.catalogue.importing import ImportReport, Journal

DIMENSION = 4


def embedded(number: int) -> dict[str, object]:
    return {
        "product_id": f"sku-{number}", "photo_id": "front", "fields": json.dumps({"price": number}),
        "embedding": np.eye(DIMENSION, dtype=np.float32)[number % DIMENSION], "image_digest": f"{number:064d}",
        "phash": f"{number:016x}", "fingerprint": "of the network",
    }  # fmt: skip


def refused(number: int) -> dict[str, object]:
    return {"product_id": f"sku-{number}", "photo_id": f"{number}.jpg", "error": "it is no photo"}


def load(folder: Path, *, batches: int) -> ImportReport:
    """An import that ends as by a kill once it has sent so many batches."""
    journal = Journal(str(folder / "journal"), "here")
    loading = EmbeddedLoading(find_embedded(folder), journal)
    try:
        for sent, _ in enumerate(loading.batches(), start=1):
            if sent > batches:
                break
    finally:
        journal.close(is_complete=False)
    return loading.report()


def test_rows_that_were_refused_are_reported_again_when_an_import_goes_on(tmp_path: Path) -> None:
    for part, rows in enumerate(([embedded(0), refused(1), embedded(2)], [refused(3), embedded(4)])):
        with (tmp_path / f"part-{part}.parquet").open("wb") as file:
            write_embedded(file, rows)
    first = load(tmp_path, batches=1)
    assert (first.upserted, first.skipped) == (2, 0)
    whole = load(tmp_path, batches=9)
    assert (whole.upserted, whole.skipped) == (1, 2)
    assert [(row.product_id, row.reason, row.code) for row in whole.refused] == [
        ("sku-1", "it is no photo", None),
        ("sku-3", "it is no photo", None),
    ]
