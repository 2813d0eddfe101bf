"""Searching through a real client over the fake server: what is sent, what comes back, what is refused."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych import Client, ContractMismatch, IncompatibleIndex, InvalidInput, TriptychError
from triptych._images.photo import read_photo
from triptych.testing import FakeServer, TransportError, fake_async_client, fake_client


@pytest.fixture
def shop(client: Client) -> Client:
    """Three products, one of them with two photos."""
    client.catalogue.upsert("shoe", b"a shoe", fields={"category": "Shoes", "price": 59})
    client.catalogue.upsert("shoe", b"its sole", fields={"category": "Shoes", "price": 59}, photo_id="shoe-2")
    client.catalogue.upsert("boot", b"a boot", fields={"category": "Shoes", "price": 120, "new": True})
    client.catalogue.upsert("hat", b"a hat", fields={"category": "Hats", "price": 20})
    return client


def test_search_ranks_the_same_photo_first_when_it_is_in_the_catalogue(shop: Client) -> None:
    found = shop.search(b"a boot")
    assert found.top is not None
    assert (found.top.rank, found.top.product_id, found.top.photo_id) == (1, "boot", "boot")
    assert found.top.similarity == pytest.approx(1, abs=1e-5)
    assert dict(found.top.fields) == {"category": "Shoes", "price": 120, "new": True}
    assert [match.rank for match in found.matches] == [1, 2, 3]
    similarities = [match.similarity for match in found.matches]
    assert similarities == sorted(similarities, reverse=True)
    assert found.fingerprint == "fa4e000000000000"
    assert found.model == "searcher"
    assert found.timing.tries == 1


def test_search_gives_each_photo_when_products_are_not_grouped(shop: Client) -> None:
    photos = [match.photo_id for match in shop.search(b"a shoe", group_by_product=False).matches]
    assert sorted(photos) == ["boot", "hat", "shoe", "shoe-2"]
    assert [match.product_id for match in shop.search(b"a shoe").matches].count("shoe") == 1


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"category": "Shoes"}, {"shoe", "boot"}),
        ({"category": ["Hats", "Bags"]}, {"hat"}),
        ({"price": {"gte": 20, "lt": 60}}, {"shoe", "hat"}),
        ({"category": {"ne": "Shoes"}}, {"hat"}),
        ({"new": {"exists": False}}, {"shoe", "hat"}),
        ({"category": "Shoes", "price": {"gt": 100}}, {"boot"}),
        ({"category": "Bags"}, set()),
    ],
)
def test_search_finds_what_passes_when_filtered(shop: Client, conditions: dict[str, Any], expected: set[str]) -> None:
    assert {match.product_id for match in shop.search(b"a shoe", filter=conditions).matches} == expected


def test_search_gives_the_predicted_category_first_when_filtered_by_it(shop: Client) -> None:
    assert shop.search(b"a hat").predicted_values == ()
    found = shop.search_embedding(shop.embed(b"a hat"), predicted_filter="category")
    assert found.predicted_values == ("Hats",)
    assert found.top is not None
    assert found.top.product_id == "hat"
    assert {match.product_id for match in found.matches} == {"hat", "shoe", "boot"}


def test_search_gives_the_label_of_the_photo_first_when_the_catalogue_has_it(shop: Client) -> None:
    top = shop.recognize(b"a hat").top
    assert top is not None
    shop.catalogue.upsert("lamp", b"a lamp", fields={"category": top.name})
    found = shop.search(b"a hat", predicted_filter="category", k=1)
    assert (found.predicted_values, found.matches[0].product_id) == ((top.name,), "lamp")
    assert shop.search(b"a hat", predicted_filter="brand").predicted_values == ()
    with pytest.raises(InvalidInput, match="predicted_filter is 3"):
        shop.search(b"a hat", predicted_filter=3)  # type: ignore[arg-type]


def test_search_takes_the_deprecated_name_of_the_predicted_filter_when_it_warns(shop: Client, fake: FakeServer) -> None:
    with pytest.deprecated_call(match="pass predicted_filter"):
        found = shop.search(b"a hat", narrow_by="category")
    with pytest.deprecated_call(match="use predicted_values"):
        assert (
            found.narrowed_to
            == found.predicted_values
            == shop.search(b"a hat", predicted_filter="category").predicted_values
        )
    assert found.predicted_values
    with pytest.deprecated_call(), pytest.raises(InvalidInput, match="both passed"):
        shop.search_embedding(shop.embed(b"a hat"), narrow_by="category", predicted_filter="category")


def test_search_is_empty_when_nothing_is_alike_enough(shop: Client, client: Client) -> None:
    found = shop.search(b"something else", min_similarity=0.9)
    assert found.matches == ()
    assert found.top is None
    assert fake_client(FakeServer()).search(b"x").matches == ()


def test_similar_products_leave_the_product_out_when_it_is_asked_about(shop: Client) -> None:
    assert {match.product_id for match in shop.similar_to("shoe").matches} == {"boot", "hat"}
    assert len(shop.similar_to("shoe", k=1).matches) == 1


@pytest.mark.parametrize("kind", ["result", "recognition", "array", "list"])
def test_embedding_finds_its_photo_when_given_in_any_form(shop: Client, kind: str) -> None:
    embedding = shop.embed(b"a hat")
    forms: dict[str, Any] = {
        "result": embedding,
        "recognition": shop.recognize(b"a hat"),
        "array": embedding.vector * 3,
        "list": embedding.vector.tolist(),
    }
    top = shop.search_embedding(forms[kind], k=1).top
    assert top is not None
    assert top.product_id == "hat"


def test_part_of_the_photo_is_sent_when_there_is_a_box(client: Client, fake: FakeServer) -> None:
    pixels = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    for image in (content.getvalue(), pixels):
        client.search(image, box=(10, 5, 30, 200))
        sent = np.asarray(Image.open(io.BytesIO(fake.photos[-1])))
        assert np.array_equal(sent, pixels[5:, 10:30])


def test_box_is_of_the_upright_photo_when_it_lies_on_its_side() -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:5] = 255  # the right edge, once turned
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", exif=exif)
    part = np.asarray(Image.open(io.BytesIO(read_photo(content.getvalue(), box=(15, 0, 20, 30)))))
    assert part.shape == (30, 5, 3)
    assert part.min() == 255


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        ((1, 2, 3), "four whole numbers"),
        ((1, 2, 3.5, 4), "four whole numbers"),
        ((5, 5, 5, 9), "contains no pixel"),
        ((-1, 0, 5, 9), "contains no pixel"),
        ((60, 0, 70, 9), "outside the photo of 60 x 40"),
    ],
)
def test_box_is_refused_when_it_is_none(client: Client, fake: FakeServer, box: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        client.search(np.zeros((40, 60, 3), np.uint8), box=box)
    assert fake.calls == type(fake.calls)(maxlen=fake.calls.maxlen)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 1001}, "from 1 to 1000"),
        ({"k": True}, "k is True"),
        ({"min_similarity": 2}, "cosine from -1 to 1"),
        ({"filter": ["category"]}, "filter is a list"),
        ({"filter": {"price": {"under": 5}}}, "operator 'under'"),
        ({"filter": {"price": float("nan")}}, "JSON"),
        ({"filter": {"prise": 5}}, "Did you mean 'price'?"),
    ],
)
def test_search_refuses_what_cannot_be_meant(shop: Client, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence.replace("?", r"\?")):
        shop.search(b"a shoe", **arguments)


@pytest.mark.parametrize(
    ("embedding", "sentence"),
    [
        (np.ones(7), "another size"),
        (np.ones((2, 1280)), "Pass one a call"),
        (np.zeros(1280), "no direction"),
        (np.full(1280, np.nan), "no direction"),
        ("a text", "no embedding"),
    ],
)
def test_embedding_is_refused_when_it_is_none(shop: Client, embedding: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        shop.search_embedding(embedding)


def test_unknown_product_is_refused_when_searched_with(shop: Client) -> None:
    with pytest.raises(InvalidInput, match="No product has the id 'nobody'"):
        shop.similar_to("nobody")
    with pytest.raises(InvalidInput, match="product_id is ''"):
        shop.similar_to("")


def test_other_embedder_is_incompatible_when_the_catalogue_was_made_before(shop: Client, fake: FakeServer) -> None:
    fake.catalogue.fingerprint = "another"
    with pytest.raises(IncompatibleIndex, match="Import the catalogue again"):
        shop.search(b"a shoe")
    with pytest.raises(IncompatibleIndex, match="Import the catalogue again"):
        shop.similar_to("hat")


def test_server_without_catalogue_is_named_when_searched(client: Client, fake: FakeServer) -> None:
    fake.fail_next(TransportError("NOT_FOUND", "Request for unknown model: 'searcher' is not found"))
    with pytest.raises(ContractMismatch, match="catalogue is not deployed"):
        client.search(b"a shoe")


def test_answer_of_another_kind_is_a_mismatch(client: Client, fake: FakeServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(fake.catalogue, "_search", lambda request, embed: {})
    with pytest.raises(ContractMismatch, match="something else than search results"):
        client.search(b"a shoe")


def test_searches_are_observed_when_somebody_watches(fake: FakeServer) -> None:
    seen: list[tuple[str, str]] = []

    class Watcher:
        def started(self, method: str) -> None:
            seen.append(("started", method))

        def ended(self, method: str, seconds: float, error: BaseException | None) -> None:
            seen.append((type(error).__name__, method))

        def retried(self, error: TriptychError) -> None:
            """Not looked at."""

    watched = fake_client(fake, metrics=Watcher())
    watched.search(b"a shoe")
    with pytest.raises(InvalidInput):
        watched.similar_to("nobody")
    assert seen == [
        ("started", "search"),
        ("NoneType", "search"),
        ("started", "similar_to"),
        ("InvalidInput", "similar_to"),
    ]


def test_both_clients_find_the_same_when_asked_alike(shop: Client, fake: FakeServer) -> None:
    async def main() -> None:
        async with fake_async_client(fake) as client:
            found = await client.search(b"a shoe", k=2, filter={"category": "Shoes"})
            assert found.matches == shop.search(b"a shoe", k=2, filter={"category": "Shoes"}).matches
            assert (await client.similar_to("hat")).matches == shop.similar_to("hat").matches
            vector = shop.embed(b"a hat").vector
            assert (await client.search_embedding(vector)).matches == shop.search_embedding(vector).matches

    asyncio.run(main())


def test_search_sends_what_the_models_take(shop: Client, fake: FakeServer) -> None:
    shop.search(b"a shoe", k=7, filter={"price": {"lt": 50}}, min_similarity=0.25)
    request = fake.requests[-1]
    assert (request.model, request.input_name, request.photos) == ("searcher", "image", (b"a shoe",))
    assert {name: (tensor.datatype, tensor.shape) for name, tensor in request.inputs.items()} == {
        "k": ("INT32", (1, 1)),
        "query": ("BYTES", (1, 1)),
    }
    assert json.loads(bytes(request.inputs["query"].content[4:])) == {
        "group_by_product": True,
        "filter": {"price": {"lt": 50}},
        "min_similarity": 0.25,
    }
    assert "catalogue_key" not in request.parameters
