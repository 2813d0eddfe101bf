"""The distributed catalogue store: a Weaviate cluster stores the photos of every server that names the cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from weaviate.classes.aggregate import GroupByAggregate
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter, MetadataQuery

from triptych_models.catalogue.field_kinds import Holding, check_filter
from triptych_models.catalogue.filters import Condition, attributes_of, meets
from triptych_models.catalogue.records import Floats, Ids, Item, Photo
from triptych_models.catalogue.settings import WEAVIATE_VARIABLE
from triptych_models.catalogue.weaviate_collection import NetworkCollection
from triptych_models.catalogue.weaviate_connection import KEY_VARIABLE, WeaviateConnection
from triptych_models.catalogue.weaviate_rows import (
    having_field,
    having_number,
    is_unsupported,
    properties_of,
    read_photo,
    uuid_of,
    weaviate_filter,
)
from triptych_models.errors import EngineUnavailable

GRPC_VARIABLE = "TRIPTYCH_CATALOGUE_WEAVIATE_GRPC"
REPLICAS_VARIABLE = "TRIPTYCH_CATALOGUE_WEAVIATE_REPLICAS"

# Weaviate's default of QUERY_MAXIMUM_RESULTS.
MAX_RESULTS = 10_000
_ALL_GROUPS = 1_000_000_000
_DELETE_PRODUCTS = 100
# Photos that are read for an example of a field's values.
_SAMPLES = 20
# A kind of value that a field held is looked for again after this time: a search need not ask for it each time.
KIND_TTL_S = 60.0


class WeaviateCatalogueStore:
    """A `CatalogueStore` in Weaviate, and the reads that `search.weaviate_backend` needs.

    An upsert of several photos is not atomic: when the cluster fails, some may be written; the same upsert again
    completes it.

    Args:
        url: URL of Weaviate's HTTP API, `http://weaviate:8080` for example.
        fingerprint: fingerprint of the network that is served.
        grpc_port: port of Weaviate's gRPC API on the same host.
        key_file: file with the API key; None where the cluster requires no key.
        replicas: replicas of a new collection.

    Raises:
        StoreFault: `url` is not an HTTP URL.
    """

    def __init__(
        self, url: str, fingerprint: str, grpc_port: int = 50051, key_file: Path | None = None, replicas: int = 1
    ) -> None:
        self._fingerprint = fingerprint
        self._connection = WeaviateConnection(url, grpc_port, key_file)
        self._collection = NetworkCollection(self._connection, fingerprint, replicas)
        self._snapshot: list[Photo] = []
        self._seen_at_s: dict[tuple[str, bool], float] = {}

    def close(self) -> None:
        self._connection.close()

    def upsert(self, items: Sequence[Item], embeddings: Floats, fingerprint: str) -> int:
        """See `CatalogueStore`; returns 0.

        Raises:
            EngineUnavailable: the cluster did not write all photos.
        """
        with self._collection.session():
            self._collection.create()
            self._collection.add_fields({name for item in items for name, _ in attributes_of(item.fields)})
            objects = [
                DataObject(uuid=uuid_of(item), properties=properties_of(item), vector=embedding.tolist())
                for item, embedding in zip(items, embeddings, strict=True)
            ]
            result = self._collection.handle().data.insert_many(objects)
            if result.has_errors:
                first = next(iter(result.errors.values()))
                written = len(items) - len(result.errors)
                raise EngineUnavailable(
                    f"Weaviate wrote {written} of {len(items)} photos ({first.message}). Send the same upsert again."
                )
        return 0

    def delete(self, product_ids: Sequence[str]) -> int:
        """See `CatalogueStore`."""
        with self._collection.session():
            existing = [one for one in dict.fromkeys(product_ids) if self._collection.name and self._exists(one)]
            for start in range(0, len(existing), _DELETE_PRODUCTS):
                part = existing[start : start + _DELETE_PRODUCTS]
                products = Filter.by_property("product_id").contains_any(part)
                self._collection.handle().data.delete_many(where=products)
        return len(existing)

    def get(self, product_id: str) -> list[Photo]:
        """See `CatalogueStore`."""
        with self._collection.session():
            if self._collection.name is None:
                return []
            found = self._collection.handle().query.fetch_objects(
                filters=Filter.by_property("product_id").equal(product_id), limit=MAX_RESULTS, include_vector=True
            )
            photos = [read_photo(one) for one in found.objects]
        return sorted(photos, key=lambda photo: photo.photo_id)

    def count(self, conditions: Sequence[Condition] = ()) -> tuple[int, int]:
        """See `CatalogueStore`."""
        with self._collection.session():
            if self._collection.name is None:
                return 0, 0
            if any(is_unsupported(condition) for condition in conditions):
                rows = [one for one in self._read_all(with_vectors=False) if meets(conditions, one.fields)]
                return len(rows), len({one.product_id for one in rows})
            filters, aggregate = weaviate_filter(conditions), self._collection.handle().aggregate
            photos = aggregate.over_all(filters=filters, total_count=True).total_count
            by_product = GroupByAggregate(prop="product_id", limit=_ALL_GROUPS)
            products = aggregate.over_all(filters=filters, group_by=by_product, total_count=True).groups
        return int(photos or 0), len(products)

    def count_photos(self) -> int:
        """The number of photos of the network that is served; cheaper than `count`."""
        with self._collection.session():
            if self._collection.name is None:
                return 0
            return int(self._collection.handle().aggregate.over_all(total_count=True).total_count or 0)

    def export(self, after: Any, limit: int) -> list[Photo]:
        """See `CatalogueStore`."""
        with self._collection.session():
            if self._collection.name is None:
                return []
            query = self._collection.handle().query
            found = query.fetch_objects(limit=limit, after=after or None, include_vector=True)
            return [read_photo(one) for one in found.objects]

    def read_nearest(self, direction: Floats, limit: int, conditions: Sequence[Condition]) -> list[tuple[Photo, float]]:
        """Photos and their cosine similarity to a direction, the nearest first.

        Photos may fail the conditions that Weaviate's filters cannot express (see `weaviate_rows.is_unsupported`).

        Args:
            direction: float32[D], L2 norm 1.
            limit: the most photos, up to `MAX_RESULTS`.
            conditions: conditions on the photos' fields.

        Raises:
            InvalidFilter: a condition names a field that no product has.
        """
        with self._collection.session():
            check_filter(conditions, self)
            if self._collection.name is None:
                return []
            found = self._collection.handle().query.near_vector(
                direction.tolist(),
                limit=limit,
                filters=weaviate_filter(conditions),
                include_vector=True,
                return_metadata=MetadataQuery(distance=True),
            )
            return [(read_photo(one), 1 - float(one.metadata.distance or 0)) for one in found.objects]

    def field_names(self) -> list[str]:
        """See `CatalogueStore`."""
        with self._connection.translated_errors():
            self._collection.reread()  # another server may have added a field just now
            return list(self._collection.fields)

    def has_field(self, field: str) -> bool:
        """See `FieldReader`."""
        with self._collection.session():
            return field in self._collection.fields

    def has_photos(self) -> bool:
        """See `FieldReader`."""
        return self.count_photos() > 0

    def read_kind(self, field: str, *, is_text: bool, limit: int) -> Holding:
        """See `FieldReader`. A field's texts are counted as what its numbers leave; see `weaviate_rows`."""
        with self._collection.session():
            if self._collection.name is None:
                return Holding(0, None)
            kind, now_s = (field, is_text), time.monotonic()
            if limit == 1 and now_s - self._seen_at_s.get(kind, -KIND_TTL_S) < KIND_TTL_S:
                return Holding(1, None)
            handle = self._collection.handle()
            counts = [
                int(handle.aggregate.over_all(filters=filters, total_count=True).total_count or 0)
                for filters in (having_field(field), having_number(field))
            ]
            photos = counts[0] - counts[1] if is_text else counts[1]
            if photos:
                self._seen_at_s[kind] = now_s
            found = handle.query.fetch_objects(filters=having_field(field), limit=_SAMPLES).objects if photos else []
            values = [value for one in found for name, value in attributes_of(read_photo(one).fields) if name == field]
        example = next((value for value in values if isinstance(value, str) == is_text), None)
        return Holding(min(photos, limit), example)

    def meta(self, key: str) -> str:
        """See `CatalogueStore`: the collection only has embeddings of the network that is served."""
        return self._fingerprint if key == "fingerprint" else ""

    def unreplaced_network(self) -> str | None:
        """Fingerprint of the active network while the network that is served has never been active; None otherwise."""
        with self._collection.session():
            if self._collection.unreplaced_network() is not None:
                self._collection.reread()  # another server may have activated the collection meanwhile
            return self._collection.unreplaced_network()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """See `CatalogueStore`; reads all photos into memory."""
        with self._collection.session():
            self._snapshot = list(self._read_all(with_vectors=True)) if self._collection.name else []
        yield

    def added_after(self, photo: int, limit: int) -> tuple[Ids, Ids, Floats]:
        """See `CatalogueStore`; `photo` is always 0 here."""
        rows = self._snapshot[:limit]
        keys = {name: key for key, name in self.product_ids().items()}
        matrix = np.stack([row.embedding for row in rows]) if rows else np.empty((0, 0), np.float32)
        return np.arange(len(rows)), np.array([keys[row.product_id] for row in rows], np.int64), matrix

    def product_ids(self) -> dict[int, str]:
        """See `CatalogueStore`."""
        return dict(enumerate(dict.fromkeys(row.product_id for row in self._snapshot)))

    def activate(self) -> dict[str, Any]:
        """See `CatalogueStore`; servers of the network that was active before still search their own collection.

        Raises:
            InvalidRequest: nothing was written for this network yet.
        """
        with self._collection.session():
            return self._collection.activate()

    def about(self) -> dict[str, Any]:
        """See `CatalogueStore`."""
        with self._collection.session():
            return {"engine": "weaviate", "collection": self._collection.name, "active": self._collection.active}

    def _exists(self, product_id: str) -> bool:
        own = Filter.by_property("product_id").equal(product_id)
        return bool(self._collection.handle().query.fetch_objects(filters=own, limit=1).objects)

    def _read_all(self, with_vectors: bool) -> Iterator[Photo]:
        yield from map(read_photo, self._collection.handle().iterator(include_vector=with_vectors))


def open_store(fingerprint: str) -> WeaviateCatalogueStore:
    """The store of the cluster that the environment names.

    Raises:
        StoreFault: TRIPTYCH_CATALOGUE_WEAVIATE is not an HTTP URL.
    """
    key_file = os.environ.get(KEY_VARIABLE)
    return WeaviateCatalogueStore(
        os.environ[WEAVIATE_VARIABLE],
        fingerprint,
        int(os.environ.get(GRPC_VARIABLE, "50051")),
        Path(key_file) if key_file else None,
        int(os.environ.get(REPLICAS_VARIABLE, "1")),
    )
