"""Products whose photos look alike: clusters by single linkage over a similarity threshold, every pair compared."""

from __future__ import annotations

import numpy as np

from triptych_models.catalogue.store import CatalogueStore
from triptych_models.errors import InvalidRequest

# All pairs of so many photos take minutes on two cores, in which the catalogue answers nobody else.
MAX_PHOTOS = 50_000
_BLOCK_ROWS = 2048


def find_clusters(store: CatalogueStore, threshold: float) -> list[list[str]]:
    """Product ids, two or more a cluster, the largest clusters first.

    Raises:
        InvalidRequest: there are more photos than can be compared pair by pair.
    """
    with store.snapshot():
        photos = store.count()[0]
        if photos > MAX_PHOTOS:
            raise InvalidRequest(f"`duplicates` compares all pairs of up to {MAX_PHOTOS} photos; there are {photos}.")
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
