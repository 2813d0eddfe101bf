"""The models `searcher`, `index` and `catalogue` of the fake server, in memory. A search compares every photo."""

from __future__ import annotations

import base64
import difflib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych._core.failures.codes import coded
from triptych._core.protocol import (
    InferAnswer,
    InferRequest,
    JsonObject,
    Tensor,
    TransportError,
    bytes_tensor,
    elements,
)

FINGERPRINT = "fa4e000000000000"

Floats = npt.NDArray[np.float32]


@dataclass
class _Row:
    id: int
    product_id: str
    photo_id: str
    fields: JsonObject
    image_digest: str | None
    phash: str | None
    vector: Floats

    def described(self) -> JsonObject:
        told = ("product_id", "photo_id", "fields", "image_digest", "phash")
        return {name: getattr(self, name) for name in told}

    def payload(self) -> JsonObject:
        """The payload of a search result."""
        told = self.described()
        del told["product_id"]
        return {name: value for name, value in told.items() if value is not None}


class FakeCatalogue:
    """The photos of a fake catalogue, and its calls. Threads may share it.

    Attributes:
        key: the key that a client needs; None permits every client.
        fingerprint: of the embedder that serves; after a change the server refuses the photos that it has.
        rebuild_polls: how many times `status` reports a running rebuild.
        rebuild_error: the error of the rebuild; None for a success.
    """

    def __init__(self, dimension: int, key: str | None) -> None:
        self.key = key
        self.fingerprint = FINGERPRINT
        self._dimension = dimension
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str], _Row] = {}
        self._made_by = FINGERPRINT
        self._last = 0
        self.rebuild_polls = 0
        self.rebuild_error: str | None = None
        self._rebuilds = 0
        self._polls_left = 0
        self._result: JsonObject | None = None

    def infer(self, request: InferRequest, embed: Callable[[bytes], Floats]) -> InferAnswer:
        """The answer of one of the three models; raises `TransportError` as a transport does."""
        with self._lock:
            if request.model == "catalogue":
                return InferAnswer("1", {"response": bytes_tensor([json.dumps(self._call(request)).encode()], (1,))})
            if request.model not in ("searcher", "index"):
                raise TransportError("NOT_FOUND", f"Request for unknown model: '{request.model}' is not found")
            return InferAnswer("1", self._search(request, embed))

    def _call(self, request: InferRequest) -> JsonObject:
        if self.key is not None and request.parameters.get("catalogue_key") != self.key:
            raise coded(
                "catalogue_key_refused",
                "Permission denied: `catalogue` got no key or a wrong key; expected the key in the server's key file.",
            )
        (text,) = elements(request.inputs["request"].content)
        asked = json.loads(text)
        calls: dict[str, Callable[[JsonObject], JsonObject]] = {
            "get": lambda said: {"photos": [row.described() for row in self._of(said["product_id"])]},
            "delete": self._delete,
            "count": self._count,
            "export": self._export,
            "duplicates": self._duplicates,
            "rebuild": self._rebuild,
            "status": self._status,
            "info": lambda _: {**self._count({}), **self._about()},
        }
        if asked["call"] == "upsert":
            return self._upsert(asked, request.inputs["embedding"])
        return calls[asked["call"]](asked)

    def _about(self) -> JsonObject:
        fingerprint = self._made_by if self._rows else self.fingerprint
        return {"dimension": self._dimension, "fingerprint": fingerprint, "engine": "fake"}

    def _rebuild(self, _: JsonObject) -> JsonObject:
        if self._polls_left:
            raise coded("rebuild_running", "A rebuild is running; a second one must wait for it.")
        self._rebuilds += 1
        self._polls_left = self.rebuild_polls
        self._end_rebuild()
        return {"rebuild": str(self._rebuilds), "photos": len(self._rows)}

    def _end_rebuild(self) -> None:
        if not self._polls_left:
            is_done = self.rebuild_error is None
            photos = len(self._rows) if is_done else 0
            ended = {"photos": photos, "seconds": 0.0, "ended_at": "2026-01-01T00:00:00Z", "error": self.rebuild_error}
            self._result = {"rebuild": str(self._rebuilds), **ended}

    def _status(self, _: JsonObject) -> JsonObject:
        step = self.rebuild_polls - self._polls_left
        told: JsonObject = {"state": "idle", "progress": 1.0, "index_loaded": True, "last": self._result}
        if self._polls_left:
            total = len(self._rows)
            done = {"done": total * step // self.rebuild_polls, "total": total, "progress": step / self.rebuild_polls}
            told |= {"state": "running", "phase": "building_hnsw_index", "rebuild": str(self._rebuilds), **done}
            told |= {"started_at": "2026-01-01T00:00:00Z", "seconds": 0.0}
            self._polls_left -= 1
            self._end_rebuild()
        elif self._result is not None and self._result["error"] is not None:
            told |= {"state": "failed", "progress": 0.0, "retry_in_s": 5.0}
        return told

    def _upsert(self, asked: JsonObject, embedding: Tensor) -> JsonObject:
        vectors = np.frombuffer(embedding.content, "<f4").reshape(embedding.shape)
        if vectors.shape[1] != self._dimension:
            raise coded(
                "embedding_invalid",
                f"`embedding` is {list(vectors.shape)}; expected [{len(vectors)},{self._dimension}].",
            )
        for item in asked["items"]:
            self._check_fingerprint(item.get("fingerprint", self.fingerprint))
        for item, vector in zip(asked["items"], vectors, strict=True):
            self._last += 1
            key = (item["product_id"], item["photo_id"])
            self._rows.pop(key, None)
            told = (item.get("fields", {}), item.get("image_digest"), item.get("phash"))
            self._rows[key] = _Row(self._last, *key, *told, vector / np.linalg.norm(vector))
        self._made_by = self.fingerprint
        return {"upserted": len(vectors), "sequence": self._last}

    def _of(self, product_id: str) -> list[_Row]:
        return [row for row in self._rows.values() if row.product_id == product_id]

    def _delete(self, asked: JsonObject) -> JsonObject:
        wanted = set(asked["product_ids"])
        there = {key for key in self._rows if key[0] in wanted}
        for key in there:
            del self._rows[key]
        return {"deleted": len({product_id for product_id, _ in there})}

    def _count(self, asked: JsonObject) -> JsonObject:
        rows = self._passing(asked.get("filter") or {})
        return {"photos": len(rows), "products": len({row.product_id for row in rows})}

    def _export(self, asked: JsonObject) -> JsonObject:
        later = [row for row in self._rows.values() if row.id > (asked.get("after") or 0)][: asked["limit"]]
        rows = [row.described() for row in later]
        if asked.get("embeddings"):
            for told, row in zip(rows, later, strict=True):
                told["embedding"] = base64.b64encode(row.vector.astype("<f4").tobytes()).decode()
        return {"rows": rows, "next": later[-1].id if later else None}

    def _duplicates(self, asked: JsonObject) -> JsonObject:
        clusters: list[set[str]] = []
        rows = list(self._rows.values())
        for place, one in enumerate(rows):
            for other in rows[place + 1 :]:
                if one.product_id != other.product_id and one.vector @ other.vector >= asked["threshold"]:
                    pair = {one.product_id, other.product_id}
                    joined = [cluster for cluster in clusters if cluster & pair]
                    clusters = [cluster for cluster in clusters if not cluster & pair]
                    clusters.append(pair.union(*joined))
        return {"clusters": [sorted(cluster) for cluster in clusters][: asked["limit"]]}

    def _search(self, request: InferRequest, embed: Callable[[bytes], Floats]) -> dict[str, Tensor]:
        if self._rows:
            self._check_fingerprint(self._made_by)
        without: set[str] = set()
        unknown: list[str] = []
        if request.photos:
            vector = embed(request.photos[0])
        elif "embedding" in request.inputs:
            vector = self._given(request.inputs["embedding"])
        elif "taste" in request.inputs:
            vector, without, unknown = self._preferred(request.inputs["taste"])
        else:
            (element,) = elements(request.inputs["product_id"].content)
            without = {element.decode()}
            vector = self._direction(element.decode())
        vector = vector / (np.linalg.norm(vector) or 1.0)
        (text,) = elements(request.inputs["query"].content)
        asked = json.loads(text)
        rows = [row for row in self._passing(asked.get("filter", {})) if row.product_id not in without]
        ranked = sorted(((float(row.vector @ vector), row) for row in rows), key=lambda pair: -pair[0])
        categories: list[str] = []
        if "narrow" in asked:
            categories, ranked = _rank_predicted(ranked, asked["narrow"])
        found: list[tuple[float, _Row]] = []
        for similarity, row in ranked:
            is_second = asked["group_by_product"] and any(row.product_id == each.product_id for _, each in found)
            if similarity >= asked.get("min_similarity", -1.0) and not is_second:
                found.append((similarity, row))
        if unknown and not vector.any():
            found = []
        found = found[: int.from_bytes(request.inputs["k"].content, "little")]
        return _tensors(found, self.fingerprint, unknown, categories)

    def _direction(self, product_id: str) -> Floats:
        photos = self._of(product_id)
        if not photos:
            raise coded(
                "product_unknown", f"No product has the id {product_id!r}. Add it with `catalogue`, or check the id."
            )
        mean: Floats = np.mean([row.vector for row in photos], axis=0)
        return mean

    def _preferred(self, preferences: Tensor) -> tuple[Floats, set[str], list[str]]:
        """Direction of the preferences (one; a real server finds several), products to leave out, unknown products."""
        (text,) = elements(preferences.content)
        asked = json.loads(text)
        unknown = [product_id for product_id in asked["weights"] if not self._of(product_id)]
        total = np.zeros(self._dimension, np.float32)
        for product_id, weight in asked["weights"].items():
            if product_id not in unknown:
                total = total + weight * self._direction(product_id)
        return total, set(asked["without"]), unknown

    def _given(self, embedding: Tensor) -> Floats:
        if embedding.shape[1] != self._dimension:
            # Triton's own message, which has no code.
            raise TransportError(
                "INVALID_ARGUMENT",
                f"[request id: 0] unexpected shape for input 'embedding' for model 'index'. Expected "
                f"[-1,{self._dimension}], got {list(embedding.shape)}.",
            )
        return np.frombuffer(embedding.content, "<f4")

    def _check_fingerprint(self, found: str) -> None:
        if found != self.fingerprint:
            raise coded(
                "index_incompatible",
                f"Incompatible index: the catalogue has the fingerprint {found!r}; expected {self.fingerprint!r}.",
            )

    def _passing(self, conditions: Mapping[str, Any]) -> list[_Row]:
        names = sorted({name for row in self._rows.values() for name in row.fields})
        for name in conditions:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                advice = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names) or 'none yet'}."
                raise coded("filter_invalid", f"No product has the field {name!r} that the filter names. {advice}")
        return [
            row
            for row in self._rows.values()
            if all(_meets(row.fields.get(name), wanted) for name, wanted in conditions.items())
        ]


def _meets(value: Any, wanted: Any) -> bool:
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not isinstance(wanted, dict):
        return any(each in (wanted if isinstance(wanted, list) else [wanted]) for each in values)
    tests: dict[str, Callable[[Any], bool]] = {
        "gte": lambda limit: any(_alike(each, limit) and each >= limit for each in values),
        "gt": lambda limit: any(_alike(each, limit) and each > limit for each in values),
        "lte": lambda limit: any(_alike(each, limit) and each <= limit for each in values),
        "lt": lambda limit: any(_alike(each, limit) and each < limit for each in values),
        "ne": lambda other: other not in values,
        "exists": lambda there: bool(values) is there,
    }
    return all(tests[operator](limit) for operator, limit in wanted.items())


def _alike(one: object, other: object) -> bool:
    return isinstance(one, str) is isinstance(other, str)


def _rank_predicted(ranked: list[tuple[float, _Row]], asked: JsonObject) -> tuple[list[str], list[tuple[float, _Row]]]:
    """Rows of the most probable value first: of the predicted values in the catalogue, otherwise of the nearest row."""
    categories = [str(row.fields[asked["field"]]) for _, row in ranked if asked["field"] in row.fields]
    predicted = [name for name in asked["predicted"] if name in categories]
    chosen = sorted(predicted, key=lambda name: -float(asked["predicted"][name]))[:1] or categories[:1]
    return chosen, sorted(ranked, key=lambda pair: pair[1].fields.get(asked["field"]) not in chosen)


def _tensors(
    found: list[tuple[float, _Row]], fingerprint: str, unknown: list[str], predicted_values: list[str]
) -> dict[str, Tensor]:
    rows = [(row.product_id, similarity, json.dumps(row.payload())) for similarity, row in found] or [("", -1.0, "{}")]
    shape = (1, len(rows))
    similarities = np.array([[row[1] for row in rows]], dtype="<f4")
    return {
        "product_id": bytes_tensor([row[0].encode() for row in rows], shape),
        "similarity": Tensor("FP32", shape, similarities.tobytes()),
        "payload": bytes_tensor([row[2].encode() for row in rows], shape),
        "fingerprint": bytes_tensor([fingerprint.encode()], (1, 1)),
        "unknown": _texts(unknown),
        "narrowed_to": _texts(predicted_values),
    }


def _texts(names: list[str]) -> Tensor:
    return bytes_tensor([name.encode() for name in names or [""]], (1, max(1, len(names))))
