"""Photos as Weaviate objects: names of properties, filters, and both directions of the conversion. Sends nothing."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from weaviate.classes.config import DataType, Property, Tokenization
from weaviate.classes.query import Filter

from triptych_models.catalogue.filters import Condition, attributes_of
from triptych_models.catalogue.records import Item, Photo

# Weaviate restricts the names of properties: a field's number property is `n_` and the field's name in hex.
_NUMBERS = "n_"
_NAMESPACE = uuid.UUID("9d1c0b0e-5f0c-4d0e-9a68-3f5a8d1a1c11")


def _exact(name: str, data_type: DataType = DataType.TEXT) -> Property:
    """A text property that filters compare as a whole, not word by word."""
    return Property(name=name, data_type=data_type, tokenization=Tokenization.FIELD, index_searchable=False)


def _stored(name: str) -> Property:
    """A text property that is returned and never compared."""
    return Property(name=name, data_type=DataType.TEXT, index_filterable=False, index_searchable=False)


# Properties of a new collection. `attributes` has a token for each field and for each value of a field.
PROPERTIES = [
    _exact("product_id"),
    _exact("photo_id"),
    _exact("attributes", DataType.TEXT_ARRAY),
    *map(_stored, ("fields", "image_digest", "phash")),
]


def number_property(field: str) -> str:
    """The property with the numbers of a field."""
    return _NUMBERS + field.encode().hex()


def read_fields(config: Any) -> list[str]:
    """Names of the fields that a collection's configuration has a number property for, sorted."""
    names = [one.name for one in config.properties if one.name.startswith(_NUMBERS)]
    return sorted(bytes.fromhex(name.removeprefix(_NUMBERS)).decode() for name in names)


def uuid_of(item: Item) -> uuid.UUID:
    """The object's id: the same for the same photo of a product, so that an upsert replaces it."""
    return uuid.uuid5(_NAMESPACE, json.dumps([item.product_id, item.photo_id]))


def properties_of(item: Item) -> dict[str, Any]:
    """The properties of a photo's object."""
    attributes = list(attributes_of(item.fields))
    numbers: dict[str, list[float]] = {}
    for field, value in attributes:
        if not isinstance(value, str):
            numbers.setdefault(number_property(field), []).append(float(value))
    tokens = {_token(field, value) for field, value in attributes} | {_field_token(field) for field, _ in attributes}
    stored = {"fields": json.dumps(item.fields), "image_digest": item.image_digest, "phash": item.phash}
    return {
        "product_id": item.product_id,
        "photo_id": item.photo_id,
        "attributes": sorted(tokens),
        **{name: value for name, value in stored.items() if value is not None},
        **numbers,
    }


def read_photo(found: Any) -> Photo:
    """The photo of an object that Weaviate returned; its `id` is the cursor of an export."""
    properties = found.properties
    vector = found.vector.get("default") if isinstance(found.vector, dict) else None
    return Photo(
        id=str(found.uuid),
        product_id=properties["product_id"],
        photo_id=properties["photo_id"],
        fields=json.loads(properties["fields"]),
        image_digest=properties.get("image_digest"),
        phash=properties.get("phash"),
        embedding=np.asarray(vector if vector is not None else [], np.float32),
    )


def is_unsupported(condition: Condition) -> bool:
    """Whether Weaviate's filters cannot express the condition: a negation, or an order of texts."""
    if condition.operator == "exists":
        return not condition.values[0]
    return condition.operator == "ne" or (condition.operator != "in" and isinstance(condition.values[0], str))


def weaviate_filter(conditions: Sequence[Condition]) -> Any:
    """The filter of all conditions that Weaviate supports; None where there is none."""
    parts = [_filter_of(condition) for condition in conditions if not is_unsupported(condition)]
    return Filter.all_of(parts) if parts else None


def having_field(field: str) -> Any:
    """The filter of photos that have the field."""
    return Filter.by_property("attributes").contains_any([_field_token(field)])


def having_number(field: str) -> Any:
    """The filter of photos whose field holds a number."""
    return Filter.by_property(number_property(field)).greater_or_equal(-sys.float_info.max)


def _filter_of(condition: Condition) -> Any:
    if condition.operator == "exists":
        return having_field(condition.field)
    if condition.operator == "in":
        tokens = [_token(condition.field, value) for value in condition.values]
        return Filter.by_property("attributes").contains_any(tokens)
    number = Filter.by_property(number_property(condition.field))
    compare = {
        "gte": number.greater_or_equal,
        "gt": number.greater_than,
        "lte": number.less_or_equal,
        "lt": number.less_than,
    }
    return compare[condition.operator](float(condition.values[0]))


def _token(field: str, value: str | float) -> str:
    """The token of a field's value in `attributes`; 1 and 1.0 are the same number."""
    return f"t\x1f{field}\x1f{value}" if isinstance(value, str) else f"n\x1f{field}\x1f{float(value)!r}"


def _field_token(field: str) -> str:
    """The token of a field that the photo has, whatever its value."""
    return f"f\x1f{field}"
