"""Call `backup`: the photos of one moment, in pages, while others write.

Rows never change and ids rise, so the pages that were sent, less the rows that were removed since, are the state of the
moment of the last page. Each page lists the rows removed since the page before it.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from triptych_models.catalogue.files.checksums import TEXT_COLUMNS, embedding_checksum, text_checksum
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore

Answer = dict[str, Any]


def read_page(store: SqliteCatalogueStore, after: int, removed_after: int | None, limit: int) -> Answer:
    """One page.

    Args:
        store: store of model `catalogue`.
        after: id of the last row that was sent.
        removed_after: position of the last removal that was sent; None begins a backup.
        limit: the most rows.

    Raises:
        StoreFault: a row is damaged; it is not sent.
    """
    with store.snapshot():
        tip = store.tip()
        rows = _rows(store, after, limit)
        last = rows[-1]["id"] if rows else after
        removed = [] if removed_after is None else store.removed_after(removed_after).tolist()
        is_complete = len(rows) < limit
        page: Answer = {
            "rows": rows,
            "removed": [id_ for id_ in removed if id_ <= after],
            "next": {"after": last, "removed_after": tip.removal},
            "complete": is_complete,
        }
        if is_complete:
            photos, products = store.count()
            page |= {
                "photos": photos,
                "products": products,
                "sequence": tip.sequence,
                "identity": store.meta("identity"),
            }
            page |= {"fingerprint": store.meta("fingerprint"), "dimension": int(store.meta("dimension") or 0)}
    return page


def _rows(store: SqliteCatalogueStore, after: int, limit: int) -> list[Answer]:
    found = []
    for id_, embedding, stated, stated_texts, *texts in store.read(
        f"SELECT id, photos.embedding, checksums.embedding, texts, {TEXT_COLUMNS} FROM photos "
        "JOIN products ON key = product LEFT JOIN checksums ON photo = id WHERE id > ? ORDER BY id LIMIT ?",
        (after, limit),
    ):
        checksums = (embedding_checksum(embedding), text_checksum(texts))
        if stated is not None and (stated, stated_texts) != checksums:
            raise store.fault(id_)
        product_id, photo_id, fields, digest, phash = texts
        row = {"id": id_, "product_id": product_id, "photo_id": photo_id, "fields": json.loads(fields)}
        row |= {"image_digest": digest, "phash": phash, "checksums": checksums}
        found.append({**row, "embedding": base64.b64encode(embedding).decode()})
    return found
