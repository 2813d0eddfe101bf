"""The calls `verify`, `backup` and `restore` of the embedded store: their arguments and answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from triptych_models.catalogue.maintenance.backup import read_page
from triptych_models.catalogue.maintenance.restoring import Restores
from triptych_models.catalogue.maintenance.verification import FILES, ROWS, Verification
from triptych_models.catalogue.records import Floats, Item
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.catalogue.store import CatalogueStore
from triptych_models.errors import Code, IncompatibleIndex, InvalidRequest, quoted
from triptych_models.json_objects import refuse_unknown

MAX_PAGE = 1000
MAX_ITEMS = 256
_MAX_ID = 2**63 - 1

JsonObject = dict[str, Any]
Call = Callable[[JsonObject, "Floats | None"], JsonObject]
ParseItem = Callable[[Any, int], Item]


class MaintenanceCalls:
    """The calls, by name in `calls`.

    Args:
        store: the store of the photos; one in Weaviate refuses the calls.
        parse_item: reads an item of a request.
        dimension: dimension of an embedding.
        fingerprint: fingerprint of the embedder that is served.
    """

    def __init__(self, store: CatalogueStore, parse_item: ParseItem, dimension: int, fingerprint: str) -> None:
        self._parse_item = parse_item
        self._dimension = dimension
        self._fingerprint = fingerprint
        self.calls: dict[str, Call] = dict.fromkeys(("verify", "backup", "restore"), _refuse)
        if isinstance(store, SqliteCatalogueStore):
            folder = store.file.parent
            self._store = store
            self._verification = Verification(store, folder)
            self._restores = Restores(store, folder)
            self.calls = {"verify": self._verify, "backup": self._backup, "restore": self._restore}

    def _verify(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        part, after = _take(arguments, part=ROWS, after=0)
        if part not in (ROWS, FILES):
            raise InvalidRequest(f"`part` is {quoted(part)}; expected {ROWS} or {FILES}.")
        answer = self._verification.step(part, _number(after, "after", 0, _MAX_ID))
        return {**answer, "total": self._store.count()[0]} if part == ROWS and after == 0 else answer

    def _backup(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        after, removed_after, limit = _take(arguments, after=0, removed_after=None, limit=MAX_PAGE)
        position = None if removed_after is None else _number(removed_after, "removed_after", 0, _MAX_ID)
        return read_page(
            self._store, _number(after, "after", 0, _MAX_ID), position, _number(limit, "limit", 1, MAX_PAGE)
        )

    def _restore(self, arguments: JsonObject, embeddings: Floats | None) -> JsonObject:
        step = arguments.get("step")
        steps = {"begin": self._begin, "add": self._add, "commit": self._commit, "abort": self._abort}
        if not isinstance(step, str) or step not in steps:
            raise InvalidRequest(f"`step` is {quoted(step)}; expected one of {', '.join(steps)}.")
        return steps[step]({name: value for name, value in arguments.items() if name != "step"}, embeddings)

    def _begin(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        fingerprint, dimension = _take(arguments, fingerprint="", dimension=0)
        is_empty = (fingerprint, dimension) == ("", 0)
        if not is_empty and fingerprint == self._fingerprint and dimension != self._dimension:
            raise InvalidRequest(
                f"`dimension` is {quoted(dimension)}; expected {self._dimension}, the length of the network's "
                "embeddings. Use another backup."
            )
        if not is_empty and fingerprint != self._fingerprint:
            advice = "Serve the network that made the backup's embeddings."
            raise IncompatibleIndex("the backup", str(fingerprint), self._fingerprint, advice)
        return {"restore": self._restores.begin()}

    def _add(self, arguments: JsonObject, embeddings: Floats | None) -> JsonObject:
        token, at, raw = _take(arguments, restore="", at=0, items=None)
        if not isinstance(raw, list) or not 1 <= len(raw) <= MAX_ITEMS:
            raise InvalidRequest(f"`items` is {quoted(raw)}; expected a list of 1 to {MAX_ITEMS} items.")
        if embeddings is None or embeddings.shape != (len(raw), self._dimension):
            raise InvalidRequest(
                f"`embedding` is {None if embeddings is None else list(embeddings.shape)}; expected "
                f"[{len(raw)},{self._dimension}], a row an item.",
                Code.EMBEDDING_INVALID,
            )
        lengths = np.linalg.norm(embeddings, axis=1)
        if not (np.abs(lengths - 1) < 1e-3).all():  # also NaN
            raise InvalidRequest("An embedding does not have the length 1. Use another backup.", Code.EMBEDDING_INVALID)
        items = [self._read_item(item, number) for number, item in enumerate(raw)]
        return {"received": self._restores.add(str(token), _number(at, "at", 0, _MAX_ID), items, embeddings)}

    def _read_item(self, raw: Any, number: int) -> tuple[Item, list[int] | None]:
        if not isinstance(raw, dict):
            raise InvalidRequest(f"item {number} is {quoted(raw)}; expected an object.")
        checksums = raw.get("checksums")
        item = self._parse_item({name: value for name, value in raw.items() if name != "checksums"}, number)
        return item, checksums if isinstance(checksums, list) else None

    def _commit(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        token, photos = _take(arguments, restore="", photos=0)
        expected = _number(photos, "photos", 0, _MAX_ID)
        found = self._restores.commit(str(token), expected, self._fingerprint, self._dimension)
        return {"photos": found[0], "products": found[1]}

    def _abort(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        _take(arguments, restore="")
        self._restores.abort()
        return {}


def _refuse(arguments: JsonObject, _: Floats | None) -> JsonObject:
    raise InvalidRequest(
        "This server's catalogue is in Weaviate, which checks and backs up its own data: see Weaviate's backups. "
        "`triptych catalogue export --embeddings` writes the photos as JSON lines."
    )


def _take(arguments: JsonObject, **defaults: Any) -> list[Any]:
    left = dict(arguments)
    values = [left.pop(name, default) for name, default in defaults.items()]
    refuse_unknown(left, "request", ("call", *defaults))
    return values


def _number(value: Any, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequest(f"`{name}` is {quoted(value)}; expected a whole number from {least} to {most}.")
    return value
