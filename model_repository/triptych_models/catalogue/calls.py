"""The calls of model `catalogue`: a JSON object in, a JSON object out. Knows no tensors."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from triptych_models.catalogue.duplicates import find_clusters
from triptych_models.catalogue.field_kinds import check_filter, describe_kinds, describe_others
from triptych_models.catalogue.filters import parse_filter
from triptych_models.catalogue.maintenance.calls import MaintenanceCalls
from triptych_models.catalogue.rebuild import Rebuilds
from triptych_models.catalogue.records import Floats, Item, Photo
from triptych_models.catalogue.store import CatalogueStore
from triptych_models.errors import Code, IncompatibleIndex, InvalidRequest, quoted
from triptych_models.json_objects import parse_object, refuse_unknown

MAX_ITEMS = 256
MAX_ID_CHARS = 512
# Of `json.dumps(fields, ensure_ascii=False)`: what the user sees, whatever bytes a letter takes.
MAX_FIELDS_CHARS = 64 * 1024
MAX_EXPORT = 1000
_HEX = re.compile(r"[0-9a-f]+")

JsonObject = dict[str, Any]


class CatalogueCalls:
    """Executes one call at a time.

    Args:
        store: the store of the photos.
        rebuilds: rebuilds of the index of these photos.
        dimension: dimension of an embedding.
        fingerprint: fingerprint of the embedder that is served.
    """

    def __init__(self, store: CatalogueStore, rebuilds: Rebuilds, dimension: int, fingerprint: str) -> None:
        self._store = store
        self._rebuilds = rebuilds
        self._dimension = dimension
        self._fingerprint = fingerprint
        self._calls: dict[str, Callable[[JsonObject, Floats | None], JsonObject]] = {
            "upsert": self._upsert,
            "get": self._get,
            "delete": self._delete,
            "count": self._count,
            "export": self._export,
            "duplicates": self._duplicates,
            "rebuild": self._rebuild,
            "status": self._status,
            "info": self._info,
            "activate": self._activate,
            **MaintenanceCalls(store, self._parse_item, dimension, fingerprint).calls,
        }

    def parse(self, request: bytes) -> tuple[str, JsonObject]:
        """The call's name and its arguments.

        Raises:
            InvalidRequest: the request is not a JSON object, or the call does not exist.
        """
        arguments = parse_object(request, "request")
        name = arguments.pop("call", None)
        if not isinstance(name, str) or name not in self._calls:
            raise InvalidRequest(f"`call` is {quoted(name)}; expected one of {', '.join(self._calls)}.")
        return name, arguments

    def answer(self, name: str, arguments: JsonObject, embeddings: Floats | None) -> JsonObject:
        """The response of a call.

        Args:
            name: name of the call.
            arguments: the request without `call`.
            embeddings: float32[N,D], a row for each item of an upsert; None for every other call.

        Raises:
            InvalidRequest: the request is invalid; nothing was written.
            IncompatibleIndex: the embeddings are of another network; nothing was written.
            RebuildRunning: a rebuild is running or requested.
            StoreFault: the store cannot be used; nothing was written.
        """
        if embeddings is not None and name not in ("upsert", "restore"):
            raise InvalidRequest(f"Call {quoted(name)} takes no `image` and no `embedding`; only `upsert` takes them.")
        return self._calls[name](arguments, embeddings)

    def _upsert(self, arguments: JsonObject, embeddings: Floats | None) -> JsonObject:
        (raw,) = _take(arguments, items=None)
        if not isinstance(raw, list) or not 1 <= len(raw) <= MAX_ITEMS:
            got = f"{len(raw)} items" if isinstance(raw, list) else repr(raw)
            raise InvalidRequest(f"`items` is {got}; expected a list of 1 to {MAX_ITEMS} items.")
        if embeddings is None:
            raise InvalidRequest("The upsert has no `embedding` and no `image`; expected one row for each item.")
        if embeddings.ndim != 2 or embeddings.shape != (len(raw), self._dimension):
            raise InvalidRequest(
                f"`embedding` is {list(embeddings.shape)}; expected [{len(raw)},{self._dimension}], a row an item.",
                Code.EMBEDDING_INVALID,
            )
        items = [self._parse_item(item, number) for number, item in enumerate(raw)]
        seen: set[tuple[str, str]] = set()
        for item in items:
            key = (item.product_id, item.photo_id)
            if key in seen:
                raise InvalidRequest(
                    f"Photo {quoted(item.photo_id)} of product {quoted(item.product_id)} is in this upsert twice; "
                    "expected once."
                )
            seen.add(key)
        self._refuse_other_network()
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
        if len(bad):
            raise InvalidRequest(
                f"The embedding of item {bad[0]} has no direction; expected finite numbers that are not all 0.",
                Code.EMBEDDING_INVALID,
            )
        sequence = self._store.upsert(items, (embeddings / lengths).astype(np.float32), self._fingerprint)
        return {"upserted": len(items), "sequence": sequence}

    def _refuse_other_network(self) -> None:
        stored = self._store.meta("fingerprint")
        if stored and stored != self._fingerprint and self._store.count()[0]:
            advice = "Embed the whole catalogue again in another folder, or serve the network that made the embeddings."
            raise IncompatibleIndex("the catalogue", stored, self._fingerprint, advice)

    def _parse_item(self, raw: Any, number: int) -> Item:
        where = f"item {number}"
        if not isinstance(raw, dict):
            raise InvalidRequest(f"{where} is {quoted(raw)}; expected an object.")
        left = dict(raw)
        product_id = _text(left.pop("product_id", None), f"`product_id` of {where}")
        photo_id = _text(left.pop("photo_id", product_id), f"`photo_id` of {where}")
        fields = left.pop("fields", {})
        _check_fields(fields, where)
        digests = {name: left.pop(name, None) for name in ("image_digest", "phash")}
        for name, digest in digests.items():
            if digest is not None and not (isinstance(digest, str) and _HEX.fullmatch(digest)):
                raise InvalidRequest(f"`{name}` of {where} is {quoted(digest)}; expected lower-case hex digits.")
        made_by = left.pop("fingerprint", None)
        if made_by is not None and made_by != self._fingerprint:
            advice = "Embed the photo again with the network that is served."
            raise IncompatibleIndex(where, str(made_by), self._fingerprint, advice)
        refuse_unknown(left, where, ("product_id", "photo_id", "fields", "image_digest", "phash", "fingerprint"))
        return Item(product_id, photo_id, fields, **digests)

    def _get(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        (product_id,) = _take(arguments, product_id=None)
        product_id = _text(product_id, "`product_id`")
        photos = [_describe(photo) for photo in self._store.get(product_id)]
        for photo in photos:
            del photo["product_id"]
        return {"product_id": product_id, "photos": photos}

    def _delete(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        (product_ids,) = _take(arguments, product_ids=None)
        if not isinstance(product_ids, list):
            raise InvalidRequest(f"`product_ids` is {quoted(product_ids)}; expected a list of product ids.")
        return {"deleted": self._store.delete([_text(one, "An id in `product_ids`") for one in product_ids])}

    def _count(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        (filter_,) = _take(arguments, filter={})
        conditions = parse_filter({} if filter_ is None else filter_)
        check_filter(conditions, self._store)
        photos, products = self._store.count(conditions)
        notices = describe_others(conditions, self._store)
        return {"photos": photos, "products": products, **({"notices": notices} if notices else {})}

    def _export(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        after, limit, has_embeddings = _take(arguments, after=None, limit=MAX_EXPORT, embeddings=False)
        if not isinstance(has_embeddings, bool):
            raise InvalidRequest(f"`embeddings` is {quoted(has_embeddings)}; expected true or false.")
        rows = self._store.export(after, _number(limit, "limit", 1, MAX_EXPORT))
        described = [_describe(row) for row in rows]
        if has_embeddings:
            for text, row in zip(described, rows, strict=True):
                text["embedding"] = base64.b64encode(row.embedding.tobytes()).decode()
        return {
            "rows": described,
            "next": rows[-1].id if rows else None,
            "fingerprint": self._store.meta("fingerprint"),
        }

    def _duplicates(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        threshold, limit = _take(arguments, threshold=0.95, limit=1000)
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
            raise InvalidRequest(f"`threshold` is {quoted(threshold)}; expected a number above 0 and at most 1.")
        clusters = find_clusters(self._store, float(threshold))
        return {"clusters": clusters[: _number(limit, "limit", 1, 100_000)]}

    def _rebuild(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        _take(arguments)
        return self._rebuilds.start()

    def _status(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        _take(arguments)
        return self._rebuilds.status()

    def _info(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        _take(arguments)
        photos, products = self._store.count()
        return {
            "photos": photos,
            "products": products,
            "dimension": self._dimension,
            "fingerprint": self._fingerprint,
            "fields": self._store.field_names(),
            "field_kinds": describe_kinds(self._store),
            **self._store.about(),
        }

    def _activate(self, arguments: JsonObject, _: Floats | None) -> JsonObject:
        _take(arguments)
        return self._store.activate()


def _describe(photo: Photo) -> JsonObject:
    return {
        "product_id": photo.product_id,
        "photo_id": photo.photo_id,
        "fields": photo.fields,
        "image_digest": photo.image_digest,
        "phash": photo.phash,
    }


def _check_fields(fields: Any, where: str) -> None:
    if not isinstance(fields, dict):
        raise InvalidRequest(f"`fields` of {where} is {quoted(fields)}; expected an object of values by name.")
    length = len(json.dumps(fields, ensure_ascii=False))
    if length > MAX_FIELDS_CHARS:
        sizes = {name: len(json.dumps(value, ensure_ascii=False)) for name, value in fields.items()}
        longest = max(sizes, key=lambda name: sizes[name])
        raise InvalidRequest(
            f"`fields` of {where} has {length:,} characters as JSON, {sizes[longest]:,} of them in {quoted(longest)}; "
            f"the limit is {MAX_FIELDS_CHARS:,}. Shorten the value, or leave the field out."
        )


def _take(arguments: JsonObject, **defaults: Any) -> list[Any]:
    left = dict(arguments)
    values = [left.pop(name, default) for name, default in defaults.items()]
    refuse_unknown(left, "request", ("call", *defaults))
    return values


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID_CHARS:
        got = f"{len(value)} characters" if isinstance(value, str) else repr(value)
        raise InvalidRequest(f"{what} is {got}; expected a string of 1 to {MAX_ID_CHARS} characters.")
    return value


def _number(value: Any, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequest(f"`{name}` is {quoted(value)}; expected a whole number from {least} to {most}.")
    return value
