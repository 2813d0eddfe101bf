"""The model `index` over arrays, without Triton."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.triptych_models.model_doubles import ArrayRequest, OneAnswerServer, config_of, place_network
from triptych_models.catalogue.records import Item
from triptych_models.catalogue.settings import FOLDER_VARIABLE
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import CallerGone, Code, InvalidRequest, ServingError
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.search.limits import MAX_PLACES, MAX_TEXT_BYTES
from triptych_models.search.model import SearchModel

DIMENSION = 4


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchModel:
    """Over a catalogue of a red and a blue shoe."""
    place_network(tmp_path / "models")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "catalogue"))
    config = config_of(tmp_path / "models", inputs={"embedding": (DIMENSION,)})
    store = SqliteCatalogueStore(tmp_path / "catalogue")
    items = [Item(name, name, {"colour": name}) for name in ("red", "blue")]
    store.upsert(items, np.eye(DIMENSION, dtype=np.float32)[:2], config.files.fingerprint())
    store.close()
    return SearchModel(config, MetricRegistry("index"), OneAnswerServer())


def texts(*rows: str | bytes) -> Any:
    return np.array([[row.encode() if isinstance(row, str) else row] for row in rows], object)


def towards(*axes: int) -> Any:
    return np.eye(DIMENSION, dtype=np.float32)[list(axes)]


def test_rows_of_a_request_are_answered_each_and_padded_to_one_width(model: SearchModel) -> None:
    queries = texts(json.dumps({"filter": {"colour": "blue"}}), "{}")
    answer = model.answer(ArrayRequest({"embedding": towards(0, 1), "query": queries}))
    assert answer["product_id"].tolist() == [[b"blue", b""], [b"blue", b"red"]]
    assert answer["similarity"].tolist() == [[0, -1], [1, 0]]
    assert json.loads(answer["payload"][1, 0]) == {"photo_id": "blue", "fields": {"colour": "blue"}}


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({}, Code.REQUEST_INVALID),
        ({"embedding": towards(0), "product_id": texts("red")}, Code.REQUEST_INVALID),
        ({"embedding": np.zeros((1, DIMENSION), np.float32)}, Code.EMBEDDING_INVALID),
        ({"embedding": np.full((1, DIMENSION), np.nan, np.float32)}, Code.EMBEDDING_INVALID),
        ({"embedding": towards(0), "k": np.array([[0]], np.int32)}, Code.REQUEST_INVALID),
        ({"embedding": towards(0), "query": texts("{")}, Code.REQUEST_INVALID),
        ({"embedding": towards(0), "query": texts(b"\xff\xfe")}, Code.REQUEST_INVALID),
        ({"embedding": towards(0), "query": texts("[" * 100_000)}, Code.REQUEST_INVALID),
        ({"embedding": towards(0), "query": texts('{"filter": {"colr": "red"}}')}, Code.FILTER_INVALID),
        ({"embedding": towards(0), "query": texts('{"filter": 5}')}, Code.FILTER_INVALID),
        ({"product_id": texts("green")}, Code.PRODUCT_UNKNOWN),
        ({"product_id": texts(b"\xff")}, Code.REQUEST_INVALID),
        ({"embedding": towards(0, 1), "k": np.array([[1000], [1]], np.int32)}, Code.REQUEST_INVALID),
        (
            {"taste": texts('{"weights": {"red": 1}, "interests": 10}'), "k": np.array([[101]], np.int32)},
            Code.REQUEST_INVALID,
        ),
        ({"taste": texts('{"weights": {}}')}, Code.REQUEST_INVALID),
        ({"embedding": towards(0), "query": texts("{" + " " * MAX_TEXT_BYTES + "}")}, Code.REQUEST_INVALID),
    ],
)
def test_request_is_refused_with_the_code_of_what_is_wrong(
    model: SearchModel, arrays: dict[str, Any], code: Code
) -> None:
    with pytest.raises(ServingError) as refusal:
        model.answer(ArrayRequest(arrays))
    assert refusal.value.code is code
    assert code in (*SearchModel.codes, Code.REQUEST_INVALID)
    assert "Traceback" not in str(refusal.value)


def test_refusal_of_places_says_what_was_asked_and_the_limit(model: SearchModel) -> None:
    taste = texts('{"weights": {"red": 1}, "interests": 3}', '{"weights": {"red": 1}, "interests": 10}')
    with pytest.raises(InvalidRequest) as refusal:
        model.answer(ArrayRequest({"taste": taste, "k": np.array([[100], [90]], np.int32)}))
    for part in ("1200 places", "2 rows", "90 x 10", f"the limit is {MAX_PLACES}", "Send fewer rows"):
        assert part in str(refusal.value)


def test_request_for_as_many_places_as_allowed_is_answered(model: SearchModel) -> None:
    k = np.array([[MAX_PLACES]], np.int32)
    assert model.answer(ArrayRequest({"embedding": towards(0), "k": k}))["product_id"][0, 0] == b"red"


def test_search_stops_when_its_caller_is_gone(model: SearchModel) -> None:
    with pytest.raises(CallerGone):
        model.answer(ArrayRequest({"embedding": towards(0)}, abandoned=True))


@pytest.mark.parametrize(
    ("arrays", "lane"),
    [
        ({"embedding": towards(0)}, 0),
        ({"embedding": towards(0), "query": texts('{"filter": {"colour": "red"}}')}, 0),
        ({"taste": texts('{"weights": {"red": 1}}'), "k": np.array([[24]], np.int32)}, 0),
        ({}, 0),
        ({"embedding": towards(0), "k": np.array([[101]], np.int32)}, 1),
        ({"taste": texts('{"weights": {"red": 1}, "interests": 10}'), "k": np.array([[24]], np.int32)}, 1),
        ({"embedding": towards(0), "query": texts('{"exact": true}')}, 1),
    ],
)
def test_dear_request_has_a_lane_of_its_own(model: SearchModel, arrays: dict[str, Any], lane: int) -> None:
    assert model.lane_of(ArrayRequest(arrays)) == lane


def test_one_refused_request_leaves_the_others_of_its_batch_answered(model: SearchModel) -> None:
    good, bad = ArrayRequest({"embedding": towards(0)}), ArrayRequest({"product_id": texts("green")})
    first, refused, last = model.answer_batch([good, bad, good])
    assert isinstance(refused, ServingError)
    for answer in (first, last):
        assert not isinstance(answer, Exception)
        assert answer["product_id"][0, 0] == b"red"


def test_catalogue_of_another_network_is_refused(model: SearchModel, tmp_path: Path) -> None:
    place_network(tmp_path / "models", network=b"another one")
    config = config_of(tmp_path / "models", inputs={"embedding": (DIMENSION,)})
    other = SearchModel(config, MetricRegistry("index"), OneAnswerServer())
    with pytest.raises(ServingError) as refusal:
        other.answer(ArrayRequest({"embedding": towards(0)}))
    assert refusal.value.code is Code.INDEX_INCOMPATIBLE


def test_answer_without_photos_says_why(model: SearchModel) -> None:
    far = {"embedding": towards(0), "query": texts('{"min_similarity": 0.99, "filter": {"colour": "blue"}}')}
    answer = model.answer(ArrayRequest(far))
    assert answer["product_id"].tolist() == [[b""]]
    assert json.loads(answer["payload"][0, 0]) == {"notice": "No photo passes the filter and `min_similarity`."}


def test_answer_of_an_empty_catalogue_says_that_it_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place_network(tmp_path / "models")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "empty"))
    config = config_of(tmp_path / "models", inputs={"embedding": (DIMENSION,)})
    empty = SearchModel(config, MetricRegistry("index"), OneAnswerServer())
    answer = empty.answer(ArrayRequest({"embedding": towards(0)}))
    assert json.loads(answer["payload"][0, 0]) == {"notice": "The catalogue is empty: import products first."}
    for arrays in ({"product_id": texts("a")}, {"embedding": towards(0), "query": texts('{"filter": {"a": 1}}')}):
        with pytest.raises(InvalidRequest, match="The catalogue is empty"):
            empty.answer(ArrayRequest(arrays))
