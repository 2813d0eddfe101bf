"""The calls of `catalogue` over a real store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calls import Calls
from catalogue_errors import IncompatibleIndex, InvalidRequest
from metrics import CATALOGUE_CALLS, INTERNAL, SEARCH_REASONS
from store import Store

OLD, NEW = "0" * 16, "1" * 16
EMBEDDING = np.eye(1, 4, dtype=np.float32)


def ask(calls: Calls, call: str, **asked: Any) -> Any:
    name, rest = calls.parse(json.dumps({"call": call, **asked}).encode())
    return calls.answer(name, rest, EMBEDDING if call == "upsert" else None)


def test_emptied_catalogue_takes_embeddings_of_another_network(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ask(Calls(store, tmp_path, 4, OLD), "upsert", items=[{"product_id": "a"}])
    later = Calls(store, tmp_path, 4, NEW)
    # What a client labels its embeddings with is the network that serves, not the one the store was made with.
    assert ask(later, "info")["fingerprint"] == NEW
    item = {"product_id": "b", "fingerprint": NEW}
    with pytest.raises(IncompatibleIndex):
        ask(later, "upsert", items=[item])
    assert ask(later, "delete", product_ids=["a"]) == {"deleted": 1}
    assert ask(later, "upsert", items=[item])["upserted"] == 1
    store.close()


def test_every_call_and_every_refusal_has_a_metric(tmp_path: Path) -> None:
    calls = Calls(Store(tmp_path), tmp_path, 4, NEW)
    with pytest.raises(InvalidRequest) as refusal:
        calls.parse(b'{"call": "fetch"}')
    named = str(refusal.value).partition("expected one of ")[2].rstrip(".").split(", ")
    assert [*named, "other"] == list(CATALOGUE_CALLS)
    assert {InvalidRequest.reason, IncompatibleIndex.reason, INTERNAL} == set(SEARCH_REASONS)
