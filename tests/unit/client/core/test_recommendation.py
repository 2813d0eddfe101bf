"""Recommendations through a real client over the fake server: what events weigh, what comes back, what is refused."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any, cast

import pytest

from triptych import Client, Event, InvalidInput, popular_products
from triptych._core.recommendation import PreferenceOptions
from triptych.testing import FakeServer, fake_async_client, fake_client

NOW_S = 1_800_000_000.0
DAY_S = 86400.0


def event(product_id: str, kind: Any = "view", days_ago: float = 0.0) -> Event:
    return Event(product_id, kind, NOW_S - days_ago * DAY_S)


@pytest.fixture
def shop(client: Client) -> Client:
    for name in ("shoe", "boot", "hat", "bag"):
        client.catalogue.upsert(name, name.encode(), fields={"category": name})
    return client


def test_events_weigh_by_kind_and_halve_with_age() -> None:
    taste = PreferenceOptions(half_life_days=7, now=NOW_S)
    events = [event("a"), event("a", "click"), event("b", "purchase", days_ago=14), event("c", "cart", days_ago=7)]
    assert taste.weigh(events) == pytest.approx({"a": 3.0, "b": 2.0, "c": 2.0})


def test_event_from_the_future_weighs_as_one_of_now() -> None:
    assert PreferenceOptions(now=NOW_S).weigh([event("a", days_ago=-30)]) == {"a": 1.0}


def test_times_are_read_with_their_zone() -> None:
    at = datetime.datetime(2027, 1, 15, 9, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    assert Event("a", "view", at).at_s == datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.timezone.utc).timestamp()


def test_weights_of_the_shop_replace_ours() -> None:
    taste = PreferenceOptions(weights={"view": 0, "cart": 10}, now=NOW_S)
    assert taste.weigh([event("a"), event("b", "cart"), event("c", "click")]) == {"b": 10.0, "c": 2.0}


def test_recommended_are_others_than_those_seen(shop: Client) -> None:
    found = shop.recommend([event("shoe"), event("hat", "purchase")], now=NOW_S)
    assert {each.product_id for each in found.products} == {"boot", "bag"}
    assert all(each.source == "preferences" and each.similarity is not None for each in found.products)
    assert [each.rank for each in found.products] == [1, 2]
    assert found.timing.tries == 1


def test_what_was_bought_stays_out_when_seen_ones_may_come(shop: Client) -> None:
    found = shop.recommend([event("shoe"), event("hat", "purchase")], include_seen=True, now=NOW_S)
    assert {each.product_id for each in found.products} == {"boot", "bag", "shoe"}


def test_unknown_products_are_told_and_the_others_count(shop: Client) -> None:
    found = shop.recommend([event("gone"), event("shoe")], now=NOW_S)
    assert found.unknown == ("gone",)
    assert len(found.products) == 3


def test_cold_start_is_the_popular_ones_and_asks_no_server(shop: Client) -> None:
    fake = FakeServer()
    found = fake_client(fake).recommend([], popular=["bag", "hat", "bag", "boot"], k=2)
    assert [(each.product_id, each.source, each.similarity) for each in found.products] == [
        ("bag", "popular", None),
        ("hat", "popular", None),
    ]
    assert found.timing.tries == 0


def test_popular_products_fill_the_places_that_preferences_leave_without_seen_ones(shop: Client) -> None:
    found = shop.recommend([event("shoe")], filter={"category": "bag"}, popular=["shoe", "bag", "hat"], k=3, now=NOW_S)
    assert [(each.product_id, each.source) for each in found.products] == [("bag", "preferences"), ("hat", "popular")]


def test_nothing_known_and_nothing_popular_is_an_empty_answer(shop: Client) -> None:
    assert shop.recommend([event("gone")], now=NOW_S).products == ()
    assert shop.recommend([]).products == ()


def test_async_client_recommends_the_same() -> None:
    async def run() -> list[str]:
        async with fake_async_client(FakeServer()) as client:
            for name in ("shoe", "boot"):
                await client.catalogue.upsert(name, name.encode())
            found = await client.recommend([event("shoe")], now=NOW_S)
        return [each.product_id for each in found.products]

    assert asyncio.run(run()) == ["boot"]


def test_popular_products_are_those_of_all_shoppers_lately() -> None:
    events = [event("old", "purchase", days_ago=140), event("new"), event("new", "click"), event("some")]
    assert popular_products(events) == ("new", "some", "old")
    assert popular_products(events, k=1) == ("new",)
    assert popular_products([]) == ()


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (lambda shop: Event("", "view", 0), "product_id is ''"),
        (lambda shop: event("a", "bought"), "kind 'bought'; expected view, click, cart, purchase"),
        (lambda shop: Event("a", "view", cast(Any, "yesterday")), "at 'yesterday'; expected a datetime"),
        (lambda shop: shop.recommend([{"product_id": "a"}]), "events has a dict; expected triptych.Event"),
        (lambda shop: shop.recommend([], half_life_days=0), "half_life_days is 0"),
        (lambda shop: shop.recommend([], diversity=2), "diversity is 2"),
        (lambda shop: shop.recommend([], interests=0), "interests is 0"),
        (lambda shop: shop.recommend([], weights={"bought": 1}), "weights has 'bought'"),
        (lambda shop: shop.recommend([], k=0), "k is 0"),
    ],
)
def test_wrong_argument_is_refused_before_anything_is_sent(shop: Client, wrong: Any, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        wrong(shop)
