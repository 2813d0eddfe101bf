"""The calls of `catalogue` over a real store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych_models.catalogue.calls import MAX_FIELDS_CHARS, CatalogueCalls
from triptych_models.catalogue.rebuild import IndexRebuilds, NoRebuilds
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import IncompatibleIndex, InvalidFilter, InvalidRequest
from triptych_models.metrics.families import CATALOGUE_CALLS

OLD, NEW = "0" * 16, "1" * 16
EMBEDDING = np.eye(1, 4, dtype=np.float32)


def ask(calls: CatalogueCalls, call: str, **asked: Any) -> Any:
    name, rest = calls.parse(json.dumps({"call": call, **asked}).encode())
    return calls.answer(name, rest, EMBEDDING if call == "upsert" else None)


def test_emptied_catalogue_takes_embeddings_of_another_network(tmp_path: Path) -> None:
    store = SqliteCatalogueStore(tmp_path)
    ask(CatalogueCalls(store, IndexRebuilds(store, tmp_path), 4, OLD), "upsert", items=[{"product_id": "a"}])
    later = CatalogueCalls(store, IndexRebuilds(store, tmp_path), 4, NEW)
    # What a client labels its embeddings with is the network that serves, not the one the store was made with.
    assert ask(later, "info")["fingerprint"] == NEW
    item = {"product_id": "b", "fingerprint": NEW}
    with pytest.raises(IncompatibleIndex):
        ask(later, "upsert", items=[item])
    assert ask(later, "delete", product_ids=["a"]) == {"deleted": 1}
    assert ask(later, "upsert", items=[item])["upserted"] == 1
    store.close()


def test_every_call_has_a_metric(tmp_path: Path) -> None:
    calls = CatalogueCalls(SqliteCatalogueStore(tmp_path), NoRebuilds(lambda: (0, 0)), 4, NEW)
    with pytest.raises(InvalidRequest) as refusal:
        calls.parse(b'{"call": "fetch"}')
    named = str(refusal.value).partition("expected one of ")[2].rstrip(".").split(", ")
    assert [*named, "other"] == list(CATALOGUE_CALLS)


def test_engine_that_indexes_by_itself_has_nothing_to_rebuild(tmp_path: Path) -> None:
    calls = CatalogueCalls(SqliteCatalogueStore(tmp_path), NoRebuilds(lambda: (7, 3)), 4, NEW)
    for _ in range(2):
        assert ask(calls, "rebuild") == {"rebuild": None, "photos": 7}
    status = ask(calls, "status")
    assert (status["state"], status["progress"], status["last"]) == ("idle", 1.0, None)


@pytest.mark.parametrize("call", ["rebuild", "status"])
def test_call_that_takes_nothing_is_refused_when_asked_with_more(tmp_path: Path, call: str) -> None:
    calls = CatalogueCalls(SqliteCatalogueStore(tmp_path), NoRebuilds(lambda: (0, 0)), 4, NEW)
    with pytest.raises(InvalidRequest, match="unknown key 'force'"):
        ask(calls, call, force=True)


def test_fields_are_limited_by_what_the_user_sees(tmp_path: Path) -> None:
    store = SqliteCatalogueStore(tmp_path)
    calls = CatalogueCalls(store, NoRebuilds(store.count), 4, NEW)
    room = MAX_FIELDS_CHARS - len('{"text": ""}')
    for letter in ("x", "ü", "鞋", "👟"):
        item = {"product_id": "a", "fields": {"text": letter * room}}
        assert ask(calls, "upsert", items=[item])["upserted"] == 1
        item["fields"] = {"text": letter * (room + 1)}
        told = r"`fields` of item 0 has 65,537 characters as JSON, 65,527 of them in 'text'; the limit is 65,536"
        with pytest.raises(InvalidRequest, match=told):
            ask(calls, "upsert", items=[item])
    store.close()


def test_count_and_info_tell_what_fields_hold(tmp_path: Path) -> None:
    store = SqliteCatalogueStore(tmp_path)
    calls = CatalogueCalls(store, NoRebuilds(store.count), 4, NEW)
    for name, price in (("a", 5), ("b", "5 €")):
        ask(calls, "upsert", items=[{"product_id": name, "fields": {"price": price, "brand": "B"}}])
    counted = ask(calls, "count", filter={"price": {"lt": 50}})
    assert counted["notices"] == [
        "The field 'price' holds text in 1 photos, such as '5 €', which the filter's number is not compared with."
    ]
    assert "notices" not in ask(calls, "count", filter={"brand": "B"})
    assert ask(calls, "info")["field_kinds"] == {"brand": "text", "price": "text and numbers"}
    with pytest.raises(InvalidFilter, match="holds text in 2 photos"):
        ask(calls, "count", filter={"brand": {"gt": 1}})
    store.close()
