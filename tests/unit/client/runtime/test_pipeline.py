"""Many photos: lazily, bounded, in order or as they come; what is bad stays alone."""

from __future__ import annotations

import asyncio
import io
import itertools
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from triptych import Client, InvalidInput, Item, Overloaded, Recognition, ServerFault, UnreadableImage
from triptych._core import calls
from triptych._core.protocol import InferAnswer, InferRequest
from triptych.testing import FakeServer, fake_async_client, fake_client

BAD = b"a bad photo"


def numbered(count: int) -> list[bytes]:
    return [f"photo {number}".encode() for number in range(count)]


def sizes(fake: FakeServer) -> list[int]:
    return [len(request.photos) for request in fake.requests]


def recognize_all(fake: FakeServer, asynchronous: bool, photos: Any, **options: Any) -> list[Item[Recognition]]:
    """Through one client or the other."""
    if not asynchronous:
        with fake_client(fake) as client:
            return list(client.recognize_many(photos, **options))

    async def main() -> list[Item[Recognition]]:
        async with fake_async_client(fake) as client:
            return [item async for item in client.recognize_many(photos, **options)]

    return asyncio.run(main())


both = pytest.mark.parametrize("asynchronous", [False, True], ids=["Client", "AsyncClient"])


@both
@pytest.mark.parametrize("batch_size", [None, 1, 3, 8])
@pytest.mark.parametrize("ordered", [True, False])
def test_every_photo_has_its_item_when_many_are_sent(
    fake: FakeServer, asynchronous: bool, batch_size: int | None, ordered: bool
) -> None:
    photos = numbered(50)
    for number, photo in enumerate(photos):
        fake.answer(photo, retail_score=number / 64)
    items = recognize_all(fake, asynchronous, photos, batch_size=batch_size, ordered=ordered)
    if ordered:
        assert [item.index for item in items] == list(range(50))
    assert {item.index: (item.source, item.result().retail_score) for item in items} == {
        number: (photo, number / 64) for number, photo in enumerate(photos)
    }


@both
@pytest.mark.parametrize("batch_size", [None, 8])
def test_bad_photo_fails_only_its_own_item_when_many_are_sent(
    fake: FakeServer, asynchronous: bool, batch_size: int | None
) -> None:
    fake.refuse(BAD)
    photos: list[Any] = numbered(20)
    photos[3], photos[11], photos[12] = BAD, "no/such/file.jpg", 7
    items = recognize_all(fake, asynchronous, photos, batch_size=batch_size)
    failed = {item.index: type(item.error) for item in items if item.error is not None}
    assert failed == {3: UnreadableImage, 11: InvalidInput, 12: InvalidInput}
    with pytest.raises(UnreadableImage):
        items[3].result()


@both
def test_photos_are_asked_about_alone_when_the_server_fails_a_batch(fake: FakeServer, asynchronous: bool) -> None:
    fake.fail_next(ServerFault)
    items = recognize_all(fake, asynchronous, numbered(4), batch_size=4)
    assert [item.error for item in items] == [None] * 4
    assert sorted(sizes(fake)) == [1, 1, 1, 1, 4]


@both
def test_batch_shares_its_error_when_the_server_has_no_room(fake: FakeServer, asynchronous: bool) -> None:
    fake.fail_next(Overloaded, times=100)
    items = recognize_all(fake, asynchronous, numbered(8), batch_size=8)
    assert {type(item.error) for item in items} == {Overloaded}
    assert set(sizes(fake)) == {8}


@both
def test_batches_are_cut_to_what_the_server_takes_when_more_is_asked_for(asynchronous: bool) -> None:
    fake = FakeServer(max_batch_size=5)
    recognize_all(fake, asynchronous, numbered(12), batch_size=1000)
    assert sorted(sizes(fake)) == [2, 5, 5]
    configs = [recorded for recorded in fake.calls if getattr(recorded.call, "rpc", "") == "ModelConfig"]
    assert len(configs) == 1


@both
def test_batches_are_cut_by_bytes_when_photos_are_large(
    fake: FakeServer, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "MAX_BATCH_BYTES", 100)
    recognize_all(fake, asynchronous, [b"a" * 60, b"b" * 40, b"c" * 30, b"d" * 500, b"e" * 10], batch_size=5)
    assert [[len(photo) for photo in request.photos] for request in fake.requests] == [[60, 40], [30], [500], [10]]


@both
def test_iterable_is_read_only_as_far_as_needed_when_results_wait(fake: FakeServer, asynchronous: bool) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        for number in itertools.count():
            read += 1
            yield f"photo {number}".encode()

    async def main() -> None:
        async with fake_async_client(fake, max_in_flight=4) as client:
            items = client.recognize_many(endless())
            for _ in range(10):
                await anext(items)

    if asynchronous:
        asyncio.run(main())
    else:
        with fake_client(fake, max_in_flight=4) as client:
            items = client.recognize_many(endless())
            assert read == 0
            for _ in range(10):
                next(items)
    # Ten taken, and a window of twice those in flight.
    assert read <= 10 + 8 + 1


@both
def test_photos_are_let_go_when_their_items_are_taken(asynchronous: bool) -> None:
    fake = FakeServer(history=0)
    alive: weakref.WeakSet[io.BytesIO] = weakref.WeakSet()
    most = 0

    def photos() -> Iterator[io.BytesIO]:
        nonlocal most
        for number in range(2000):
            photo = io.BytesIO(f"photo {number}".encode())
            alive.add(photo)
            most = max(most, len(alive))
            yield photo

    async def main() -> None:
        async with fake_async_client(fake, max_in_flight=8) as client:
            async for item in client.recognize_many(photos()):
                assert item.error is None

    def run() -> None:
        with fake_client(fake, max_in_flight=8) as client:
            for item in client.recognize_many(photos()):
                assert item.error is None

    asyncio.run(main()) if asynchronous else run()
    # A window of twice those in flight, and what a thread or task has not let go of yet.
    assert most <= 16 + 10


@both
def test_requests_in_flight_stay_within_the_limit_when_many_are_sent(
    fake: FakeServer, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = threading.Lock()
    now = peak = 0
    receive, infer = fake.receive, fake.infer

    def arrive(call: Any, *others: Any) -> float:
        nonlocal now, peak
        with lock:
            now += isinstance(call, InferRequest)
            peak = max(peak, now)
        return receive(call, *others)

    def leave(*arguments: Any) -> Any:
        nonlocal now
        with lock:
            now -= 1
        return infer(*arguments)

    monkeypatch.setattr(fake, "receive", arrive)
    monkeypatch.setattr(fake, "infer", leave)
    fake.delay_s = 0.005
    recognize_all(fake, asynchronous, numbered(60), max_in_flight=5)
    assert peak == 5


def test_slow_photo_holds_up_no_other_when_order_does_not_matter(
    fake: FakeServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    others_are_done = threading.Event()
    infer = fake.infer

    def infer_slowly(request: InferRequest, timeout_s: float) -> InferAnswer:
        if request.photos == (b"photo 0",):
            assert others_are_done.wait(10)
        return infer(request, timeout_s)

    monkeypatch.setattr(fake, "infer", infer_slowly)
    order = []
    for item in client.recognize_many(numbered(20), ordered=False):
        order.append(item.index)
        if len(order) == 19:
            others_are_done.set()
    assert order[-1] == 0
    assert sorted(order) == list(range(20))


@both
def test_what_came_before_is_given_when_the_iterable_breaks(fake: FakeServer, asynchronous: bool) -> None:
    def breaking() -> Iterator[bytes]:
        yield from numbered(7)
        raise KeyError("the caller's own")

    seen: list[int] = []

    async def main() -> None:
        async with fake_async_client(fake) as client:
            async for item in client.recognize_many(breaking()):
                seen.append(item.index)

    def run() -> None:
        with fake_client(fake) as client:
            seen.extend(item.index for item in client.recognize_many(breaking()))

    with pytest.raises(KeyError, match="the caller's own"):
        asyncio.run(main()) if asynchronous else run()
    assert seen == list(range(7))


def test_asynchronous_iterable_is_taken_when_given(fake: FakeServer) -> None:
    async def photos() -> AsyncIterator[bytes]:
        for photo in numbered(9):
            await asyncio.sleep(0)
            yield photo

    items = recognize_all(fake, True, photos(), batch_size=4)
    assert [item.index for item in items] == list(range(9))
    assert sorted(sizes(fake)) == [1, 4, 4]


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 1.5}, {"max_in_flight": 0}, {"top_k": 0}])
def test_wrong_argument_is_refused_at_once_when_many_are_asked_for(client: Client, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        client.recognize_many([], **wrong)


def test_classify_many_and_embed_many_answer_like_their_singles(client: Client) -> None:
    photos = numbered(3)
    classified = [item.result().labels for item in client.classify_many(photos, top_k=2)]
    assert classified == [client.classify(photo, top_k=2).labels for photo in photos]
    embedded = [item.result().vector.tolist() for item in client.embed_many(photos, batch_size=2)]
    assert embedded == [client.embed(photo).vector.tolist() for photo in photos]


def test_nothing_comes_when_there_are_no_photos(client: Client) -> None:
    assert list(client.recognize_many([])) == []
