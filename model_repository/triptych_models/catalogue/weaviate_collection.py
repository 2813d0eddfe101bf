"""The Weaviate collection of one network: its name, its fields, and whether it is the active one.

Each network has a collection `Triptych_<number>_<fingerprint>`; the alias `Triptych` points to the active collection.
A server reads and writes the collection of the network that it serves, so embeddings of two networks never mix. While
the collection of a new network is filled, servers of the old network answer as before; servers of the new network
refuse searches until the alias points to the new collection.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import weaviate
from weaviate.classes.config import Configure, DataType, Property, VectorDistances

from triptych_models.catalogue.weaviate_connection import WeaviateConnection
from triptych_models.catalogue.weaviate_rows import PROPERTIES, number_property, read_fields
from triptych_models.errors import InvalidRequest

ALIAS = "Triptych"
_NAME = re.compile(rf"{ALIAS}_(\d+)_([0-9a-f]+)")
# The state read from the cluster is used for this long; another server may change it meanwhile.
STATE_TTL_S = 1.0


class NetworkCollection:
    """The collection of the network that is served.

    Args:
        connection: connection to the cluster.
        fingerprint: fingerprint of the network.
        replicas: replicas of a new collection, on nodes of the cluster.

    Attributes:
        name: name of the collection; None before the first upsert.
        active: name of the active collection of the cluster; None where there is none.
        fields: fields that photos of the collection have.
    """

    def __init__(self, connection: WeaviateConnection, fingerprint: str, replicas: int) -> None:
        self._connection = connection
        self._fingerprint = fingerprint
        self._replicas = replicas
        self._names: list[str] = []
        self._read_by: weaviate.WeaviateClient | None = None
        self._read_at_s = -STATE_TTL_S
        self.name: str | None = None
        self.active: str | None = None
        self.fields: list[str] = []

    @contextmanager
    def session(self) -> Iterator[None]:
        """Reads the collection's state if it is older than `STATE_TTL_S`; translates the cluster's errors inside."""
        with self._connection.translated_errors():
            self._refresh()
            yield

    def handle(self) -> Any:
        """The client's object of the collection; for use inside `session`."""
        return self._connection.client().collections.get(str(self.name))

    def reread(self) -> None:
        """Reads the state again: another server may have changed it within `STATE_TTL_S`."""
        self._expire()
        self._refresh()

    def unreplaced_network(self) -> str | None:
        """Fingerprint of the active network while the network that is served has never been active; None otherwise."""
        if self.active is None or self.active == self.name:
            return None
        if self.name is None or _number(self.name) > _number(self.active):
            return self.active.rpartition("_")[2]
        return None

    def create(self) -> None:
        """Creates the collection where it is missing; the first collection of a cluster becomes the active one."""
        if self.name is not None:
            return
        client = self._connection.client()
        name = f"{ALIAS}_{max([0, *map(_number, self._names)]) + 1}_{self._fingerprint}"
        client.collections.create(
            name,
            vector_config=Configure.Vectors.self_provided(
                vector_index_config=Configure.VectorIndex.hnsw(distance_metric=VectorDistances.COSINE)
            ),
            properties=PROPERTIES,
            replication_config=Configure.replication(factor=self._replicas),
        )
        if self.active is None:
            client.alias.create(alias_name=ALIAS, target_collection=name)
        self.reread()

    def add_fields(self, names: set[str]) -> None:
        """Adds a number property for each field that is new; the property's name also records the field's name."""
        new = sorted(names - set(self.fields))
        for name in new:
            self.handle().config.add_property(Property(name=number_property(name), data_type=DataType.NUMBER_ARRAY))
        if new:
            self.reread()

    def activate(self) -> dict[str, Any]:
        """Points the alias to this collection; returns the names of the collections that are and were active.

        Raises:
            InvalidRequest: the collection does not exist yet.
        """
        if self.name is None:
            raise InvalidRequest(
                f"The catalogue has no photos of the network {self._fingerprint!r} yet. Import the catalogue first."
            )
        self._connection.client().alias.update(alias_name=ALIAS, new_target_collection=self.name)
        self._expire()
        return {"active": self.name, "before": self.active}

    def _refresh(self) -> None:
        client = self._connection.client()
        is_fresh = self._read_by is client and time.monotonic() - self._read_at_s < STATE_TTL_S
        if self.name is not None and is_fresh:
            return
        self._names = [name for name in client.collections.list_all(simple=True) if _NAME.fullmatch(name)]
        self.name = next((name for name in self._names if name.endswith(f"_{self._fingerprint}")), None)
        alias = client.alias.get(alias_name=ALIAS)
        self.active = None if alias is None else alias.collection
        self.fields = read_fields(self.handle().config.get()) if self.name else []
        self._read_by, self._read_at_s = client, time.monotonic()

    def _expire(self) -> None:
        self._read_at_s = -STATE_TTL_S


def _number(collection: str) -> int:
    found = _NAME.fullmatch(collection)
    return int(found[1]) if found else 0
