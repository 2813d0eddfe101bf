"""How photos lie in Weaviate: names of collections and properties, filters, objects there and back. Asks nothing."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from weaviate.classes.config import DataType, Property, Tokenization
from weaviate.classes.query import Filter

from triptych_models.catalogue.filters import Condition, attributes_of, meets
from triptych_models.catalogue.records import Item, Photo
from triptych_models.search.backend import Hit
from triptych_models.search.query import SearchQuery

ALIAS = "Triptych"
# Number and fingerprint.
NAME = re.compile(rf"{ALIAS}_(\d+)_([0-9a-f]+)")
# Weaviate takes only some names for properties: a field's number property is `n_` and the name in hex.
_NUMBERS = "n_"
_NAMESPACE = uuid.UUID("9d1c0b0e-5f0c-4d0e-9a68-3f5a8d1a1c11")


def exact(name: str, data_type: DataType = DataType.TEXT) -> Property:
    """A text that is compared as a whole."""
    return Property(name=name, data_type=data_type, tokenization=Tokenization.FIELD, index_searchable=False)


KEPT = [
    Property(name=name, data_type=DataType.TEXT, index_filterable=False, index_searchable=False)
    for name in ("fields", "image_digest", "phash")
]


def number_of(collection: str) -> int:
    found = NAME.fullmatch(collection)
    return int(found[1]) if found else 0


def property_of(field: str) -> str:
    return _NUMBERS + field.encode().hex()


def read_fields(config: Any) -> list[str]:
    names = [one.name for one in config.properties if one.name.startswith(_NUMBERS)]
    return sorted(bytes.fromhex(name.removeprefix(_NUMBERS)).decode() for name in names)


def uuid_of(item: Item) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, json.dumps([item.product_id, item.photo_id]))


def _token(field: str, value: str | float) -> str:
    """What `attributes` has of a field's value; 1 and 1.0 are the same number."""
    return f"t\x1f{field}\x1f{value}" if isinstance(value, str) else f"n\x1f{field}\x1f{float(value)!r}"


def properties_of(item: Item) -> dict[str, Any]:
    attributes = list(attributes_of(item.fields))
    numbers: dict[str, list[float]] = {}
    for field, value in attributes:
        if not isinstance(value, str):
            numbers.setdefault(property_of(field), []).append(float(value))
    tokens = {_token(field, value) for field, value in attributes} | {f"f\x1f{field}" for field, _ in attributes}
    kept = {"fields": json.dumps(item.fields), "image_digest": item.image_digest, "phash": item.phash}
    return {
        "product_id": item.product_id,
        "photo_id": item.photo_id,
        "attributes": sorted(tokens),
        **{name: value for name, value in kept.items() if value is not None},
        **numbers,
    }


def is_left_to_us(condition: Condition) -> bool:
    """What Weaviate's filters cannot say: that something is not so, and an order of texts."""
    if condition.operator == "exists":
        return not condition.values[0]
    return condition.operator == "ne" or (condition.operator != "in" and isinstance(condition.values[0], str))


def server_side(conditions: Sequence[Condition]) -> Any:
    """Weaviate's filter; None where nothing is left for it."""
    parts = []
    for condition in conditions:
        if is_left_to_us(condition):
            continue
        if condition.operator == "exists":
            parts.append(Filter.by_property("attributes").contains_any([f"f\x1f{condition.field}"]))
        elif condition.operator == "in":
            tokens = [_token(condition.field, value) for value in condition.values]
            parts.append(Filter.by_property("attributes").contains_any(tokens))
        else:
            number = Filter.by_property(property_of(condition.field))
            compare = {
                "gte": number.greater_or_equal,
                "gt": number.greater_than,
                "lte": number.less_or_equal,
                "lt": number.less_than,
            }
            parts.append(compare[condition.operator](float(condition.values[0])))
    return Filter.all_of(parts) if parts else None


def read_photo(found: Any) -> Photo:
    said = found.properties
    vector = found.vector.get("default") if isinstance(found.vector, dict) else None
    return Photo(
        id=str(found.uuid),  # type: ignore[arg-type]  # the cursor of an export
        product_id=said["product_id"],
        photo_id=said["photo_id"],
        fields=json.loads(said["fields"]),
        image_digest=said.get("image_digest"),
        phash=said.get("phash"),
        embedding=np.asarray(vector if vector is not None else [], np.float32),
    )


def read_hit(found: Any) -> Hit:
    photo = read_photo(found)
    similarity = 1 - float(found.metadata.distance or 0)
    return Hit(
        photo.product_id,
        photo.photo_id,
        photo.fields,
        photo.image_digest,
        photo.phash,
        min(1.0, similarity),
        photo.embedding,
    )


def choose(hits: list[Hit], k: int, query: SearchQuery, without: set[str]) -> list[Hit]:
    chosen: list[Hit] = []
    products: set[str] = set(without)
    for hit in hits:
        if (
            hit.similarity < query.min_similarity
            or hit.product_id in products
            or not meets(query.conditions, hit.fields)
        ):
            continue
        chosen.append(hit)
        if query.group_by_product:
            products.add(hit.product_id)
        if len(chosen) == k:
            break
    return chosen
