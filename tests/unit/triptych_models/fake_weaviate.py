"""An in-memory Weaviate client: the calls that `triptych_models` makes, with Weaviate's own filter objects evaluated.

It has no HNSW index (searches are exact) and no network. A test makes it fail through `failure`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "Equal": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanEqual": operator.ge,
    "LessThan": operator.lt,
    "LessThanEqual": operator.le,
}


class FakeWeaviate:
    """The cluster, and the client of it: collections, the alias, and objects with a vector.

    Attributes:
        failure: raised by every request while it is set.
        limits: the `limit` of each vector search.
        connects: how many clients were opened.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.limits: list[int] = []
        self.connects = 0
        self._collections: dict[str, FakeCollection] = {}
        self._alias: str | None = None
        self.collections = SimpleNamespace(list_all=self._list_all, get=self._get, create=self._create)
        self.alias = SimpleNamespace(get=self._get_alias, create=self._create_alias, update=self._update_alias)

    def connect(self, **_: Any) -> FakeWeaviate:
        """In place of `weaviate.connect_to_custom`."""
        self.connects += 1
        return self

    def close(self) -> None:
        pass

    def request(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _list_all(self, simple: bool) -> dict[str, Any]:
        self.request()
        return dict(self._collections)

    def _get(self, name: str) -> FakeCollection:
        return self._collections[name]

    def _create(self, name: str, properties: Any, **_: Any) -> None:
        self.request()
        self._collections[name] = FakeCollection(self, list(properties))

    def _get_alias(self, alias_name: str) -> Any:
        self.request()
        return None if self._alias is None else SimpleNamespace(collection=self._alias)

    def _create_alias(self, alias_name: str, target_collection: str) -> None:
        self._alias = target_collection

    def _update_alias(self, alias_name: str, new_target_collection: str) -> None:
        self._alias = new_target_collection


class FakeCollection:
    """Objects by their id; each namespace of the client's collection has only the calls in use."""

    def __init__(self, cluster: FakeWeaviate, properties: list[Any]) -> None:
        self._cluster = cluster
        self._properties = properties
        self._objects: dict[str, Any] = {}
        self.config = SimpleNamespace(get=self._config, add_property=properties.append)
        self.data = SimpleNamespace(insert_many=self._insert, delete_many=self._delete)
        self.query = SimpleNamespace(fetch_objects=self._fetch, near_vector=self._near)
        self.aggregate = SimpleNamespace(over_all=self._aggregate)

    def iterator(self, include_vector: bool) -> Iterator[Any]:
        yield from self._fetch(limit=len(self._objects)).objects

    def _config(self) -> Any:
        self._cluster.request()
        return SimpleNamespace(properties=self._properties)

    def _insert(self, objects: list[Any]) -> Any:
        self._cluster.request()
        for one in objects:
            known = {declared.name for declared in self._properties}
            assert set(one.properties) <= known, "a property that the collection does not declare"
            self._objects[str(one.uuid)] = one
        return SimpleNamespace(has_errors=False, errors={})

    def _delete(self, where: Any) -> None:
        self._cluster.request()
        self._objects = {key: one for key, one in self._objects.items() if not _matches(where, one.properties)}

    def _fetch(self, limit: int, filters: Any = None, after: str | None = None, include_vector: bool = True) -> Any:
        self._cluster.request()
        found = [self._objects[key] for key in sorted(self._objects) if after is None or key > after]
        matching = [one for one in found if _matches(filters, one.properties)]
        return SimpleNamespace(objects=[_returned(one, None) for one in matching[:limit]])

    def _near(self, vector: list[float], limit: int, filters: Any, **_: Any) -> Any:
        self._cluster.request()
        self._cluster.limits.append(limit)
        matching = [one for one in self._objects.values() if _matches(filters, one.properties)]
        found = [_returned(one, 1 - float(np.dot(vector, one.vector))) for one in matching]
        return SimpleNamespace(objects=sorted(found, key=lambda one: one.metadata.distance)[:limit])

    def _aggregate(self, total_count: bool, filters: Any = None, group_by: Any = None) -> Any:
        self._cluster.request()
        matching = [one.properties for one in self._objects.values() if _matches(filters, one.properties)]
        groups = {properties[group_by.prop] for properties in matching} if group_by is not None else set()
        return SimpleNamespace(total_count=len(matching), groups=sorted(groups))


def _returned(one: Any, distance: float | None) -> Any:
    return SimpleNamespace(
        uuid=one.uuid,
        properties=one.properties,
        vector={"default": one.vector},
        metadata=SimpleNamespace(distance=distance),
    )


def _matches(filters: Any, properties: dict[str, Any]) -> bool:
    if filters is None:
        return True
    if hasattr(filters, "filters"):  # Filter.all_of
        return all(_matches(one, properties) for one in filters.filters)
    value = properties.get(filters.target, [])
    values = value if isinstance(value, list) else [value]
    if filters.operator.value == "ContainsAny":
        return any(one in filters.value for one in values)
    return any(_COMPARE[filters.operator.value](one, filters.value) for one in values)
