"""The distributed engine: a Weaviate cluster holds photos and vectors, for every server that names it.

Each network has a collection of its own, `Triptych_<number>_<fingerprint>`; the alias `Triptych` points to the active
one. A server reads and writes the collection of the network that it serves, so that fingerprints never mix: while a new
network's collection is filled the servers of the old one go on, and until the alias moves to it the new ones refuse.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import numpy.typing as npt
import weaviate
from weaviate.classes.aggregate import GroupByAggregate
from weaviate.classes.config import Configure, DataType, Property, VectorDistances
from weaviate.classes.data import DataObject
from weaviate.classes.init import AdditionalConfig, Auth, Timeout
from weaviate.classes.query import Filter, MetadataQuery
from weaviate.exceptions import UnexpectedStatusCodeError, WeaviateBaseError

from triptych_models.catalogue.filters import Condition, attributes_of, check_fields, meets
from triptych_models.catalogue.records import Item, Photo
from triptych_models.catalogue.settings import WEAVIATE_VARIABLE
from triptych_models.errors import EngineUnavailable, IncompatibleIndex, InvalidRequest, StoreFault
from triptych_models.search.backend import Hit, mean_direction
from triptych_models.search.query import SearchQuery
from triptych_models.search.weaviate_rows import (
    ALIAS,
    KEPT,
    NAME,
    choose,
    exact,
    is_left_to_us,
    number_of,
    properties_of,
    property_of,
    read_fields,
    read_hit,
    read_photo,
    server_side,
    uuid_of,
)

KEY_VARIABLE = "TRIPTYCH_CATALOGUE_WEAVIATE_KEY_FILE"
GRPC_VARIABLE = "TRIPTYCH_CATALOGUE_WEAVIATE_GRPC"
REPLICAS_VARIABLE = "TRIPTYCH_CATALOGUE_WEAVIATE_REPLICAS"

# Weaviate's own default of QUERY_MAXIMUM_RESULTS.
_MOST_RESULTS = 10_000
_MANY = 1_000_000_000
# How long it is believed which collection is active; another server may have changed it.
_BELIEVED_S = 1.0
_TIMEOUT_S = 10

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class WeaviateStore:
    """One connection, made when it is first needed: a server starts while the cluster is away, and answers UNAVAILABLE.

    Writes of several photos are not one: when the cluster fails in between, some are in; doing it again mends it.

    Args:
        url: of Weaviate's HTTP API, as `http://weaviate:8080`.
        grpc_port: of its gRPC API, on the same host.
        fingerprint: of the network that is served.
        key_file: holds the API key; None where it asks for none.
        replicas: of each new collection, on nodes of the cluster.
    """

    def __init__(
        self, url: str, fingerprint: str, grpc_port: int = 50051, key_file: Path | None = None, replicas: int = 1
    ) -> None:
        place = urlsplit(url)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise StoreFault(
                f"{WEAVIATE_VARIABLE} is {url!r}, expected the address of Weaviate, http://weaviate:8080 say."
            )
        self._place = place
        self._grpc_port = grpc_port
        self._key_file = key_file
        self._replicas = replicas
        self._fingerprint = fingerprint
        self._lock = threading.Lock()
        self._client: weaviate.WeaviateClient | None = None
        self._seen_s = -_BELIEVED_S
        self._names: list[str] = []
        self._own: str | None = None
        self._active: str | None = None
        self._fields: list[str] = []

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    # What searches ask; see `search.backend.SearchBackend`.

    def view(self) -> nullcontext[None]:
        """Weaviate has no snapshots: what is written between two questions of one search the second may see."""
        return nullcontext()

    def refuse_other_network(self) -> None:
        """See `SearchBackend`."""
        with self._explained():
            self._look()
            if self._active is not None and self._active != self._own:
                self._forget()  # it may have become active just now
                self._look()
        if self._active is None or self._active == self._own:
            return
        if self._own is None or number_of(self._own) > number_of(self._active):
            advice = (
                "Put the catalogue in again through this server and then call `activate`, or serve the network it was "
                "made with."
            )
            raise IncompatibleIndex("the active catalogue", NAME.fullmatch(self._active)[2], self._fingerprint, advice)  # type: ignore[index]

    def nearest(self, direction: Floats, k: int, query: SearchQuery, without: Collection[str] = ()) -> list[Hit]:
        """See `SearchBackend`. `exact` is not Weaviate's to promise: its graph answers."""
        with self._explained():
            self._look()
            if any(condition.field not in self._fields for condition in query.conditions):
                check_fields(query.conditions, self.field_names())
            if self._own is None:
                return []
            ask, filters = self._collection().query.near_vector, server_side(query.conditions)
            told = {"include_vector": True, "return_metadata": MetadataQuery(distance=True)}
            limit = min(_MOST_RESULTS, 2 * k + len(without))
            while True:
                found = ask(direction.tolist(), limit=limit, filters=filters, **told).objects
                hits = choose([read_hit(one) for one in found], k, query, set(without))
                is_past = bool(found) and 1 - (found[-1].metadata.distance or 0) < query.min_similarity
                if len(hits) == k or len(found) < limit or limit == _MOST_RESULTS or is_past:
                    return hits
                limit = min(_MOST_RESULTS, 4 * limit)

    def direction_of(self, product_id: str) -> Floats | None:
        """See `SearchBackend`."""
        photos = self.get(product_id)
        return mean_direction([photo.embedding for photo in photos]) if photos else None

    def count_photos(self) -> float:
        """See `SearchBackend`; NaN while the cluster is away: no reason not to start, or to log every second."""
        try:
            with self._explained():
                self._look()
                if self._own is None:
                    return 0
                return int(self._collection().aggregate.over_all(total_count=True).total_count or 0)
        except EngineUnavailable:
            return math.nan

    def count_unindexed(self) -> int:
        """See `SearchBackend`: Weaviate indexes as it takes in."""
        return 0

    # What `catalogue` asks; as `CatalogueStore` has it.

    def upsert(self, items: Sequence[Item], embeddings: Floats, fingerprint: str) -> int:
        """Writes photos under ids made of theirs, so that the same photo is replaced."""
        with self._explained():
            self._make_own()
            self._know_fields({name for item in items for name, value in attributes_of(item.fields)})
            objects = [
                DataObject(uuid=uuid_of(item), properties=properties_of(item), vector=embedding.tolist())
                for item, embedding in zip(items, embeddings, strict=True)
            ]
            done = self._collection().data.insert_many(objects)
            if done.has_errors:
                first = next(iter(done.errors.values()))
                raise EngineUnavailable(
                    f"Weaviate took {len(items) - len(done.errors)} of {len(items)} ({first.message}). Try again."
                )
        return 0

    def delete(self, product_ids: Sequence[str]) -> int:
        with self._explained():
            self._look()
            there = [one for one in dict.fromkeys(product_ids) if self._own and self._exists(one)]
            for start in range(0, len(there), 100):
                part = there[start : start + 100]
                self._collection().data.delete_many(where=Filter.by_property("product_id").contains_any(part))
        return len(there)

    def get(self, product_id: str) -> list[Photo]:
        with self._explained():
            self._look()
            if self._own is None:
                return []
            found = self._collection().query.fetch_objects(
                filters=Filter.by_property("product_id").equal(product_id), limit=_MOST_RESULTS, include_vector=True
            )
            photos = [read_photo(one) for one in found.objects]
        return sorted(photos, key=lambda photo: photo.photo_id)

    def count(self, conditions: Sequence[Condition] = ()) -> tuple[int, int]:
        with self._explained():
            self._look()
            if self._own is None:
                return 0, 0
            if any(is_left_to_us(condition) for condition in conditions):
                rows = [one for one in self._all(with_vectors=False) if meets(conditions, one.fields)]
                return len(rows), len({one.product_id for one in rows})
            filters, aggregate = server_side(conditions), self._collection().aggregate
            photos = aggregate.over_all(filters=filters, total_count=True).total_count
            groups = aggregate.over_all(
                filters=filters, group_by=GroupByAggregate(prop="product_id", limit=_MANY), total_count=True
            ).groups
        return int(photos or 0), len(groups)

    def export(self, after: Any, limit: int) -> list[Photo]:
        with self._explained():
            self._look()
            if self._own is None:
                return []
            found = self._collection().query.fetch_objects(limit=limit, after=after or None, include_vector=True)
            return [read_photo(one) for one in found.objects]

    def field_names(self) -> list[str]:
        with self._explained():
            self._forget()  # another server may have added one just now
            self._look()
            return list(self._fields)

    def meta(self, key: str) -> str:
        """What is written here is always of the network that is served."""
        return self._fingerprint if key == "fingerprint" else ""

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """For `duplicates`, which reads everything once."""
        with self._explained():
            self._look()
            self._read = list(self._all(with_vectors=True)) if self._own else []
            yield

    def added_after(self, photo: int, limit: int) -> tuple[Ids, Ids, Floats]:
        rows = self._read[:limit]
        keys = {name: key for key, name in self.product_ids().items()}
        matrix = np.stack([row.embedding for row in rows]) if rows else np.empty((0, 0), np.float32)
        return np.arange(len(rows)), np.array([keys[row.product_id] for row in rows], np.int64), matrix

    def product_ids(self) -> dict[int, str]:
        return dict(enumerate(dict.fromkeys(row.product_id for row in self._read)))

    def activate(self) -> dict[str, Any]:
        """Lets everybody search what this network's servers have put in; those of the network before go on with theirs.

        Raises:
            InvalidRequest: nothing was put in yet.
        """
        with self._explained():
            self._look()
            if self._own is None:
                raise InvalidRequest(
                    f"Nothing was put in with the network {self._fingerprint!r} yet. Import the catalogue first."
                )
            self._connected().alias.update(alias_name=ALIAS, new_target_collection=self._own)
            self._forget()
        return {"active": self._own, "before": self._active}

    def about(self) -> dict[str, Any]:
        with self._explained():
            self._look()
            return {"engine": "weaviate", "collection": self._own, "active": self._active}

    # How the cluster is reached.

    def _connected(self) -> weaviate.WeaviateClient:
        with self._lock:
            if self._client is None:
                key = self._key_file.read_text(encoding="utf-8").strip() if self._key_file is not None else None
                is_secure, host = self._place.scheme == "https", str(self._place.hostname)
                client = weaviate.connect_to_custom(
                    http_host=host,
                    http_port=self._place.port or (443 if is_secure else 8080),
                    http_secure=is_secure,
                    grpc_host=host,
                    grpc_port=self._grpc_port,
                    grpc_secure=is_secure,
                    auth_credentials=Auth.api_key(key) if key else None,
                    additional_config=AdditionalConfig(timeout=Timeout(init=_TIMEOUT_S, query=_TIMEOUT_S, insert=60)),
                    skip_init_checks=True,  # they would also ask a package registry for a newer client
                )
                self._client = client
            return self._client

    def _collection(self) -> Any:
        return self._connected().collections.get(str(self._own))

    def _look(self) -> None:
        """Which collections there are, which is active, and which fields ours has."""
        if self._own is not None and time.monotonic() - self._seen_s < _BELIEVED_S:
            return
        client = self._connected()
        self._names = [name for name in client.collections.list_all(simple=True) if NAME.fullmatch(name)]
        self._own = next((name for name in self._names if name.endswith(f"_{self._fingerprint}")), None)
        alias = client.alias.get(alias_name=ALIAS)
        self._active = None if alias is None else alias.collection
        self._fields = read_fields(self._collection().config.get()) if self._own else []
        self._seen_s = time.monotonic()

    def _forget(self) -> None:
        self._seen_s = -_BELIEVED_S

    def _make_own(self) -> None:
        self._look()
        if self._own is not None:
            return
        client = self._connected()
        name = f"{ALIAS}_{max([0, *map(number_of, self._names)]) + 1}_{self._fingerprint}"
        client.collections.create(
            name,
            vector_config=Configure.Vectors.self_provided(
                vector_index_config=Configure.VectorIndex.hnsw(distance_metric=VectorDistances.COSINE)
            ),
            properties=[exact("product_id"), exact("photo_id"), exact("attributes", DataType.TEXT_ARRAY), *KEPT],
            replication_config=Configure.replication(factor=self._replicas),
        )
        if self._active is None:
            client.alias.create(alias_name=ALIAS, target_collection=name)
        self._forget()
        self._look()

    def _know_fields(self, names: set[str]) -> None:
        """A number property for each field, which also keeps the field's name."""
        for name in sorted(names - set(self._fields)):
            self._collection().config.add_property(Property(name=property_of(name), data_type=DataType.NUMBER_ARRAY))
            self._forget()
        self._look()

    def _exists(self, product_id: str) -> bool:
        own = Filter.by_property("product_id").equal(product_id)
        return bool(self._collection().query.fetch_objects(filters=own, limit=1).objects)

    def _all(self, with_vectors: bool) -> Iterator[Photo]:
        yield from map(read_photo, self._collection().iterator(include_vector=with_vectors))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except UnexpectedStatusCodeError as error:
            if error.status_code in (401, 403):
                raise StoreFault(
                    f"Weaviate at {self._place.netloc} refuses the key in the file that {KEY_VARIABLE} names."
                ) from error
            if error.status_code < 500:
                raise StoreFault(
                    f"Weaviate at {self._place.netloc} refuses what it was asked: {_shorten(error)}"
                ) from error
            raise self._away(error) from error
        except (WeaviateBaseError, httpx.HTTPError, OSError) as error:
            raise self._away(error) from error

    def _away(self, error: Exception) -> EngineUnavailable:
        self._forget()
        with self._lock:  # the next call connects anew
            if self._client is not None:
                self._client.close()
            self._client = None
        return EngineUnavailable(
            f"The catalogue's engine at {self._place.netloc} does not answer ({_shorten(error)}). Try again."
        )


def open_named(fingerprint: str) -> WeaviateStore:
    """The store that the environment names.

    Raises:
        StoreFault: the environment says something that is no address.
    """
    key_file = os.environ.get(KEY_VARIABLE)
    return WeaviateStore(
        os.environ[WEAVIATE_VARIABLE],
        fingerprint,
        int(os.environ.get(GRPC_VARIABLE, "50051")),
        Path(key_file) if key_file else None,
        int(os.environ.get(REPLICAS_VARIABLE, "1")),
    )


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
