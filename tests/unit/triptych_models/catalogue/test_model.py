"""The model `catalogue` over arrays, without Triton."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.triptych_models.model_doubles import ArrayRequest, OneAnswerServer, config_of, place_network
from triptych_models.catalogue.files.sqlite_file import FILE
from triptych_models.catalogue.model import CatalogueModel
from triptych_models.catalogue.settings import FOLDER_VARIABLE, KEY_VARIABLE
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import Code, InvalidRequest, ServingError, StoreFault
from triptych_models.metrics.registry import MetricRegistry

DIMENSION = 4
KEY = "a key"


@pytest.fixture
def server() -> OneAnswerServer:
    return OneAnswerServer(np.eye(DIMENSION, dtype=np.float32)[:1])


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: OneAnswerServer) -> CatalogueModel:
    place_network(tmp_path / "models")
    (tmp_path / "key").write_text(KEY)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "catalogue"))
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "key"))
    config = config_of(tmp_path / "models", {"dimension": str(DIMENSION)})
    return CatalogueModel(config, MetricRegistry("catalogue"), server)


def request(call: dict[str, Any] | bytes, key: Any = KEY, **arrays: Any) -> ArrayRequest:
    text = call if isinstance(call, bytes) else json.dumps(call).encode()
    parameters = {} if key is None else {"catalogue_key": key}
    return ArrayRequest({"request": np.array([text], object), **arrays}, parameters)


def response(model: CatalogueModel, asked: ArrayRequest) -> Any:
    return json.loads(model.answer(asked)["response"][0])


ITEM = {"call": "upsert", "items": [{"product_id": "shoe"}]}
EMBEDDING = np.eye(DIMENSION, dtype=np.float32)[:1]


def test_photo_is_embedded_by_the_recognizer_when_no_embedding_comes_with_it(model: CatalogueModel) -> None:
    assert response(model, request(ITEM, image=np.array([b"jpeg"], object)))["upserted"] == 1
    assert response(model, request({"call": "count"})) == {"photos": 1, "products": 1}


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (request({"call": "count"}, key=None), Code.CATALOGUE_KEY_REFUSED),
        (request({"call": "count"}, key="another"), Code.CATALOGUE_KEY_REFUSED),
        (request({"call": "count"}, key=5), Code.CATALOGUE_KEY_REFUSED),
        (request({"call": "count"}, key=True), Code.CATALOGUE_KEY_REFUSED),
        (request({"call": "fetch"}), Code.REQUEST_INVALID),
        (request({"call": ["count"]}), Code.REQUEST_INVALID),
        (request({"call": {}}), Code.REQUEST_INVALID),
        (request(b'{"call": "get", "product_id": "\\ud800"}'), Code.REQUEST_INVALID),
        (request(b'{"call": "count", "filter": {"price": {"gte": 100000000000000000000}}}'), Code.REQUEST_INVALID),
        (request(b'{"call": "count", "filter": {"price": 1e400}}'), Code.REQUEST_INVALID),
        (request(b"{"), Code.REQUEST_INVALID),
        (request(ITEM), Code.REQUEST_INVALID),
        (request(ITEM, embedding=EMBEDDING, image=np.array([b"jpeg"], object)), Code.REQUEST_INVALID),
        (request(ITEM, embedding=EMBEDDING[:, :3]), Code.EMBEDDING_INVALID),
        (request(ITEM, embedding=0 * EMBEDDING), Code.EMBEDDING_INVALID),
        (request({"call": "count", "filter": {"colour": {"near": 1}}}), Code.FILTER_INVALID),
        (
            request({"call": "upsert", "items": [{"product_id": "a", "fingerprint": "f" * 16}]}, embedding=EMBEDDING),
            Code.INDEX_INCOMPATIBLE,
        ),
    ],
)
def test_call_is_refused_with_the_code_of_what_is_wrong(model: CatalogueModel, asked: ArrayRequest, code: Code) -> None:
    with pytest.raises(ServingError) as refusal:
        model.answer(asked)
    assert refusal.value.code is code
    assert code in (*CatalogueModel.codes, Code.REQUEST_INVALID)


@pytest.mark.parametrize("code", [Code.IMAGE_UNREADABLE, Code.IMAGE_TOO_LARGE, Code.QUEUE_FULL, Code.INTERNAL])
def test_refusal_of_the_recognizer_is_passed_on_with_its_code(
    model: CatalogueModel, server: OneAnswerServer, code: Code
) -> None:
    server.refusal = InvalidRequest("the recognizer's sentence", code)
    with pytest.raises(ServingError) as refusal:
        model.answer(request(ITEM, image=np.array([b"jpeg"], object)))
    assert refusal.value.code is code


def test_store_that_cannot_be_written_is_a_fault_of_the_server(
    model: CatalogueModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> int:
        raise StoreFault("The catalogue /somewhere cannot be used: database or disk is full.")

    monkeypatch.setattr(SqliteCatalogueStore, "upsert", fail)
    with pytest.raises(ServingError) as refusal:
        model.answer(request(ITEM, embedding=EMBEDDING))
    assert refusal.value.wire_text.startswith("[catalogue_unusable] ")
    assert "/somewhere" not in refusal.value.wire_text


def test_text_beyond_the_basic_plane_is_kept(model: CatalogueModel) -> None:
    item = b'{"call": "upsert", "items": [{"product_id": "\\ud83d\\udc5f", "fields": {"gtin": 9223372036854775807}}]}'
    assert response(model, request(item, embedding=EMBEDDING))["upserted"] == 1
    (photo,) = response(model, request({"call": "get", "product_id": "\U0001f45f"}))["photos"]
    assert photo["fields"] == {"gtin": 2**63 - 1}


@pytest.mark.parametrize(
    "call", [{"call": "info"}, {"call": "count"}, {"call": "export"}, {"call": "get", "product_id": "a"}]
)
def test_store_that_cannot_be_read_is_a_fault_of_the_server(
    model: CatalogueModel, tmp_path: Path, call: dict[str, Any]
) -> None:
    response(model, request(ITEM, embedding=EMBEDDING))
    with closing(sqlite3.connect(tmp_path / "catalogue" / FILE)) as other:
        other.executescript("PRAGMA writable_schema = ON; DROP TABLE attributes; DROP TABLE photos;")
    with pytest.raises(ServingError) as refusal:
        model.answer(request(call))
    assert refusal.value.code is Code.CATALOGUE_UNUSABLE
