"""Photos, filters and networks for tests of the embedded and the distributed catalogue."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from triptych_models.catalogue.records import Item

OLD, NEW = "0" * 16, "1" * 16
DIMENSION = 32
CATEGORIES = ["Shoes", "Hats", "Bags"]

# Fingerprint of a network (and where to find the cluster) -> a store of its photos.
StoreOf = Callable[..., Any]


def directions(count: int, seed: int = 8) -> Any:
    """float32[count,DIMENSION], L2 norm 1."""
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_items(count: int) -> list[Item]:
    """Two photos a product, with fields of every kind."""
    chance = random.Random(8)
    items = []
    for number in range(count):
        fields: dict[str, Any] = {"category": chance.choice(CATEGORIES)}
        if chance.random() < 0.7:
            fields["price"] = chance.choice([9.5, 20, 20.0, 55, 120])
        if chance.random() < 0.4:
            fields["colours"] = chance.sample(["red", "blue", "green"], 2)
        if chance.random() < 0.3:
            fields["new"] = chance.random() < 0.5
        items.append(Item(f"sku-{number // 2}", f"photo-{number}", fields, phash=f"{number:016x}"))
    return items


def random_filter(chance: random.Random) -> dict[str, Any]:
    """Up to three conditions; every operator occurs."""
    conditions = {
        "category": chance.choice(["Shoes", ["Hats", "Bags"], {"ne": "Shoes"}, "none", {"gte": "Hats"}]),
        "price": chance.choice([20, {"gte": 10, "lt": 60}, {"gt": 55}, {"lte": 9.5}, {"exists": False}]),
        "colours": chance.choice(["red", {"ne": "red"}, {"exists": True}, ["green", "blue"]]),
        "new": chance.choice([True, False, {"exists": False}, {"gte": 1}]),
    }
    return {name: conditions[name] for name in chance.sample(sorted(conditions), chance.randint(0, 3))}
