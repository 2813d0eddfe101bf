"""The catalogue and the searcher through the real server."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from ops.server.local_server import LocalServer
from ops.settings import Settings
from tests.weaviate.process import catalogue_in, weaviate_node

Floats = npt.NDArray[np.float32]


class Caller:
    """The wire as a client sees it."""

    def __init__(self, server: LocalServer) -> None:
        self.channel = triton.InferenceServerClient(server.grpc_target)
        self.key: str | None = server.catalogue_key_file.read_text()

    def catalogue(
        self, call: str, embedding: Floats | None = None, photos: list[bytes] | None = None, **asked: Any
    ) -> Any:
        inputs = [_text("request", [json.dumps({"call": call, **asked}).encode()])]
        if embedding is not None:
            tensor = triton.InferInput("embedding", list(embedding.shape), "FP32")
            tensor.set_data_from_numpy(embedding)
            inputs.append(tensor)
        if photos is not None:
            inputs.append(_text("image", photos))
        parameters = {"catalogue_key": self.key} if self.key is not None else {}
        answer = self.channel.infer("catalogue", inputs, parameters=parameters)
        return json.loads(answer.as_numpy("response")[0])

    def search(self, model: str, rows: int = 1, **tensors: Any) -> list[list[tuple[str, float, dict[str, Any]]]]:
        """Keyword arguments: a value for each row of the batch, the same for all."""
        inputs = []
        for name, value in tensors.items():
            if name == "embedding":
                array, dtype = np.atleast_2d(value).astype(np.float32), "FP32"
            elif name == "k":
                array, dtype = np.full((rows, 1), value, np.int32), "INT32"
            else:
                value = json.dumps(value).encode() if name == "query" else value
                array, dtype = np.array([[value]] * rows, object), "BYTES"
            tensor = triton.InferInput(name, list(array.shape), dtype)
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        answer = self.channel.infer(model, inputs)
        columns = [answer.as_numpy(name) for name in ("product_id", "similarity", "payload")]
        return [
            [(one.decode(), float(score), json.loads(payload)) for one, score, payload in zip(*row, strict=True) if one]
            for row in zip(*columns, strict=True)
        ]


def _text(name: str, values: list[bytes]) -> triton.InferInput:
    tensor = triton.InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array(values, object))
    return tensor


@pytest.fixture(params=["cpu", None, pytest.param("weaviate", marks=pytest.mark.distributed)], scope="module")
def caller(request: pytest.FixtureRequest, photos: list[Path]) -> Iterator[Caller]:
    """A server with its 20 photos as products: by the fused recognizer, by the ensemble of steps, and with the
    catalogue in Weaviate.
    """
    with ExitStack() as stack:
        profile = request.param
        if profile == "weaviate":
            node = stack.enter_context(weaviate_node(request.getfixturevalue("tmp_path_factory").mktemp("weaviate")))
            stack.enter_context(catalogue_in(node))
            profile = "cpu"
        server = stack.enter_context(LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0, profile=profile)))
        caller = Caller(server)
        items = [
            {"product_id": photo.stem, "fields": {"number": number, "half": "first" if number < 10 else "second"}}
            for number, photo in enumerate(photos)
        ]
        answer = caller.catalogue("upsert", photos=[photo.read_bytes() for photo in photos], items=items)
        assert answer["upserted"] == 20
        yield caller


def test_searcher_finds_each_photo_first_and_as_near_as_can_be(caller: Caller, photos: list[Path]) -> None:
    for photo in photos:
        (found,) = caller.search("searcher", image=photo.read_bytes(), k=3)
        assert [len(found), found[0][0]] == [3, photo.stem]
        assert found[0][1] == pytest.approx(1, abs=1e-4)
        assert found[0][2]["photo_id"] == photo.stem
        assert [one[1] for one in found] == sorted((one[1] for one in found), reverse=True)


def test_searcher_takes_a_filter_and_answers_nothing_when_nothing_is_near(caller: Caller, photos: list[Path]) -> None:
    photo = photos[0].read_bytes()
    (found,) = caller.search("searcher", image=photo, k=20, query={"filter": {"half": "second", "number": {"lt": 12}}})
    assert {one[0] for one in found} == {photos[10].stem, photos[11].stem}
    (none,) = caller.search("searcher", image=photo, query={"filter": {"number": {"gt": 100}}})
    assert none == []


def test_index_finds_the_likeliest_value_of_a_field_first_when_narrowed(caller: Caller, photos: list[Path]) -> None:
    (found,) = caller.search("searcher", image=photos[2].read_bytes(), k=20)
    rows = caller.catalogue("export", embeddings=True)["rows"]
    (embedding,) = [row["embedding"] for row in rows if row["product_id"] == photos[2].stem]
    vector = np.frombuffer(base64.b64decode(embedding), "<f4")
    for half in ("first", "second"):
        query = {"narrow": {"field": "half", "predicted": {half: 1.0, "nowhere": 0.5}}}
        (narrowed,) = caller.search("index", embedding=vector, k=20, query=query)
        halves = [payload["fields"]["half"] for *_, payload in narrowed]
        assert len(halves) == 20
        # The vote is about even, so that what is predicted decides; those of the other half come behind.
        assert halves == [half] * 10 + [{"first": "second", "second": "first"}[half]] * 10
        of_half = [name for name, _, payload in found if payload["fields"]["half"] == half]
        assert [name for name, *_ in narrowed[:10]] == of_half
    with pytest.raises(InferenceServerException, match="`narrow` has the unknown key 'by'"):
        caller.search("index", embedding=vector, query={"narrow": {"field": "half", "by": 1}})


def test_searcher_answers_a_batch_a_row_a_photo_when_rows_differ_in_length(caller: Caller, photos: list[Path]) -> None:
    embeddings = np.eye(1280, dtype=np.float32)[:2]
    (known,) = caller.search("index", product_id=photos[0].stem.encode(), k=5)
    assert photos[0].stem not in [one[0] for one in known]
    rows = caller.search("index", rows=2, embedding=embeddings, k=4, query={"min_similarity": -1})
    assert [len(row) for row in rows] == [4, 4]


def test_write_is_visible_to_the_next_search_when_acknowledged(caller: Caller) -> None:
    rng = np.random.default_rng(8)
    for number in range(20):
        embedding = rng.normal(size=(1, 1280)).astype(np.float32)
        name = f"fresh {number}"
        caller.catalogue("upsert", embedding, items=[{"product_id": name}])
        (found,) = caller.search("index", embedding=embedding, k=1)
        assert found[0][0] == name
        assert caller.catalogue("delete", product_ids=[name]) == {"deleted": 1}
        (found,) = caller.search("index", embedding=embedding, k=1)
        assert found[0][0] != name
    assert caller.catalogue("count") == {"photos": 20, "products": 20}


def test_catalogue_rebuilds_and_answers_as_before(caller: Caller, photos: list[Path]) -> None:
    before = caller.search("index", product_id=photos[3].stem.encode())
    assert caller.catalogue("rebuild")["photos"] == 20
    deadline_s = time.monotonic() + 30
    while caller.catalogue("status")["state"] != "idle":
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert caller.search("index", product_id=photos[3].stem.encode()) == before


@pytest.mark.parametrize(
    ("model", "tensors", "sentence"),
    [
        ("index", {"product_id": b"nobody"}, "No product has the id 'nobody'"),
        ("index", {}, "The request has none of them; expected one of embedding, product_id, taste"),
        ("index", {"embedding": np.ones(1280), "k": 0}, "`k` is 0; expected 1 to 1000"),
        ("index", {"embedding": np.zeros(1280)}, "no direction"),
        ("index", {"embedding": np.ones(1280), "query": {"filter": {"numbr": 1}}}, "Did you mean 'number'?"),
        ("index", {"embedding": np.ones(1280), "query": {"fliter": {}}}, "unknown key 'fliter'"),
        ("index", {"embedding": np.ones(7)}, "shape"),
        ("searcher", {"image": b"no photo"}, "unreadable image"),
    ],
)
def test_search_refuses_with_a_sentence_when_asked_wrongly(
    caller: Caller, model: str, tensors: dict[str, Any], sentence: str
) -> None:
    if not tensors:
        tensors = {"k": 3}
    with pytest.raises(InferenceServerException, match="INVALID_ARGUMENT") as caught:
        caller.search(model, **tensors)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("key", [None, "", "wrong"])
@pytest.mark.parametrize("call", ["count", "delete", "info"])
def test_catalogue_is_denied_when_the_key_is_missing_or_another(caller: Caller, key: str | None, call: str) -> None:
    stranger = object.__new__(Caller)
    stranger.channel, stranger.key = caller.channel, key
    with pytest.raises(InferenceServerException, match="Permission denied: `catalogue` got"):
        stranger.catalogue(call)


def test_catalogue_refuses_embeddings_of_another_network(caller: Caller) -> None:
    items = [{"product_id": "a", "fingerprint": "0123456789abcdef"}]
    with pytest.raises(InferenceServerException, match="Incompatible index: item 0 has the fingerprint"):
        caller.catalogue("upsert", np.ones((1, 1280), np.float32), items=items)


def test_taste_gives_products_of_both_interests_and_tells_what_is_not_there(caller: Caller, photos: list[Path]) -> None:
    ids = [photo.stem for photo in photos]
    taste = {"weights": {ids[0]: 2.0, ids[10]: 2.0, "gone": 1.0}, "without": [ids[0], ids[10]], "interests": 2}
    inputs = [_rows("taste", [json.dumps(taste).encode()]), _rows("query", [b"{}"])]
    k = triton.InferInput("k", [1, 1], "INT32")
    k.set_data_from_numpy(np.array([[6]], np.int32))
    answer = caller.channel.infer("index", [*inputs, k])
    found = [one.decode() for one in answer.as_numpy("product_id")[0]]
    assert len(set(found)) == 6
    assert not {ids[0], ids[10]} & set(found)
    assert answer.as_numpy("unknown").tolist() == [[b"gone"]]
    interests = [json.loads(payload)["interest"] for payload in answer.as_numpy("payload")[0]]
    # Both weigh the same and are not alike: places alternate.
    assert sorted(interests) == [0, 0, 0, 1, 1, 1]
    # Each is nearer to the product that its interest is made of; the first in `weights` is interest 0.
    likeness = [
        {one: similarity for one, similarity, _ in caller.search("index", product_id=ids[seed].encode(), k=20)[0]}
        for seed in (0, 10)
    ]
    for one, interest in zip(found, interests, strict=True):
        assert likeness[interest][one] > likeness[1 - interest][one]


def test_search_tells_the_hashes_that_were_put_in(caller: Caller, photos: list[Path]) -> None:
    item = {"product_id": "hashed", "image_digest": "ab" * 32, "phash": "0123456789abcdef"}
    caller.catalogue("upsert", photos=[photos[0].read_bytes()], items=[item])
    try:
        (found,) = caller.search("searcher", image=photos[0].read_bytes(), k=2)
        payloads = {product_id: payload for product_id, _, payload in found}
        assert (payloads["hashed"]["image_digest"], payloads["hashed"]["phash"]) == ("ab" * 32, "0123456789abcdef")
        assert "phash" not in payloads[photos[0].stem]
    finally:
        caller.catalogue("delete", product_ids=["hashed"])


def _rows(name: str, values: list[bytes]) -> triton.InferInput:
    tensor = triton.InferInput(name, [len(values), 1], "BYTES")
    tensor.set_data_from_numpy(np.array(values, object).reshape(-1, 1))
    return tensor
