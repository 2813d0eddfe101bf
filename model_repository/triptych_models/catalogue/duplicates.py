"""Duplicate products: single-linkage clusters of photos above a similarity threshold. Compares every pair of photos."""

from __future__ import annotations

import numpy as np

from triptych_models.catalogue.store import CatalogueStore
from triptych_models.errors import InvalidRequest

# All pairs of this many photos take minutes on two cores; model `catalogue` answers no other call meanwhile.
MAX_PHOTOS = 50_000
_BLOCK_ROWS = 2048


def find_clusters(store: CatalogueStore, threshold: float) -> list[list[str]]:
    """Clusters of two or more product ids, the largest clusters first.

    Raises:
        InvalidRequest: the catalogue has more than `MAX_PHOTOS` photos.
    """
    with store.snapshot():
        photos = store.count()[0]
        if photos > MAX_PHOTOS:
            raise InvalidRequest(
                f"The catalogue has {photos} photos; `duplicates` compares all pairs of at most {MAX_PHOTOS} photos."
            )
        ids, products, matrix = store.added_after(0, MAX_PHOTOS)
        names = store.product_ids()
    parents = {int(product): int(product) for product in products}
    for start in range(0, len(ids), _BLOCK_ROWS):
        block = matrix[start : start + _BLOCK_ROWS]
        lefts, rights = np.nonzero(block @ matrix[start:].T >= threshold)
        for left, right in zip(products[start + lefts].tolist(), products[start + rights].tolist(), strict=True):
            if left != right:
                parents[_root(parents, left)] = _root(parents, right)
    clusters: dict[int, list[str]] = {}
    for product in parents:
        clusters.setdefault(_root(parents, product), []).append(names[product])
    return sorted((sorted(one) for one in clusters.values() if len(one) > 1), key=lambda one: (-len(one), one))


def _root(parents: dict[int, int], product: int) -> int:
    while parents[product] != product:
        parents[product] = parents[parents[product]]
        product = parents[product]
    return product
