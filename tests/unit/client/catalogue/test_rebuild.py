"""Rebuilds of the index by client and command, over the fake server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from triptych import (
    Client,
    ConnectionFailed,
    ContractMismatch,
    InvalidInput,
    NotReady,
    RebuildStatus,
    Retry,
    ServerFault,
)
from triptych._core import rebuild
from triptych._core.protocol import JsonObject, TransportError
from triptych.cli import main
from triptych.testing import FakeServer, fake_async_client, fake_client

PHOTOS = 8


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_FIRST_PAUSE_S", "_LAST_PAUSE_S"):
        monkeypatch.setattr(rebuild, name, 0.001)


@pytest.fixture
def shop(fake: FakeServer) -> Client:
    client = fake_client(fake, retry=Retry(tries=1))
    for number in range(PHOTOS):
        client.catalogue.upsert(f"p{number}", b"photo %d" % number)
    return client


def calls_of(fake: FakeServer) -> list[str]:
    texts = [request.inputs["request"].content for request in fake.requests if request.model == "catalogue"]
    return [json.loads(bytes(text)[4:])["call"] for text in texts]


def play(fake: FakeServer, monkeypatch: pytest.MonkeyPatch, call: str, answer: JsonObject) -> None:
    """Lets the fake catalogue answer a call with this."""
    monkeypatch.setattr(fake.catalogue, f"_{call}", lambda asked: answer)


def test_rebuild_waits_and_gives_the_photos_when_nothing_is_said(shop: Client, fake: FakeServer) -> None:
    fake.catalogue.rebuild_polls = 4
    assert shop.catalogue.rebuild() == PHOTOS
    assert calls_of(fake)[-6:] == ["rebuild", *["status"] * 5]


def test_rebuild_returns_at_once_when_told_not_to_wait(shop: Client, fake: FakeServer) -> None:
    fake.catalogue.rebuild_polls = 4
    assert shop.catalogue.rebuild(wait=False) == PHOTOS
    assert calls_of(fake)[-1] == "rebuild"
    running = [shop.catalogue.status() for _ in range(4)]
    assert [status.progress for status in running] == [0, 0.25, 0.5, 0.75]
    assert {(status.state, status.phase, status.total) for status in running} == {
        ("running", "building_hnsw_index", PHOTOS)
    }
    status = shop.catalogue.status()
    assert (status.state, status.phase, status.progress) == ("idle", None, 1.0)
    assert status.last is not None
    assert (status.last.photos, status.last.error) == (PHOTOS, None)


def test_status_has_no_result_when_nothing_was_rebuilt(shop: Client) -> None:
    status = shop.catalogue.status()
    assert (status.state, status.last, status.error, status.details["state"]) == ("idle", None, None, "idle")


def test_second_rebuild_is_refused_and_not_sent_again_when_one_runs(shop: Client, fake: FakeServer) -> None:
    fake.catalogue.rebuild_polls = 4
    patient = fake_client(fake, retry=Retry(first_pause_s=0.0001))
    patient.catalogue.rebuild(wait=False)
    with pytest.raises(NotReady, match="A rebuild is running") as refusal:
        patient.catalogue.rebuild()
    assert refusal.value.code == "rebuild_running"
    assert calls_of(fake).count("rebuild") == 2


def test_rebuild_raises_when_the_server_could_not_make_the_index(shop: Client, fake: FakeServer) -> None:
    fake.catalogue.rebuild_polls, fake.catalogue.rebuild_error = 2, "The disk of the index is full. Free disk space."
    with pytest.raises(ServerFault, match=r"The disk of the index is full\. Free disk space\. It will try again"):
        shop.catalogue.rebuild()
    status = shop.catalogue.status()
    assert (status.state, status.error) == ("failed", "The disk of the index is full. Free disk space.")


def test_wait_goes_on_when_the_server_is_restarted(
    shop: Client, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, asked = fake.catalogue._status, 0

    def away_for_a_while(said: JsonObject) -> JsonObject:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise TransportError("UNAVAILABLE", "Socket closed")
        return status(said)

    monkeypatch.setattr(fake.catalogue, "_status", away_for_a_while)
    assert shop.catalogue.rebuild() == PHOTOS
    asked = 0
    monkeypatch.setattr(rebuild, "_PATIENCE_S", 0.0)
    with pytest.raises(ConnectionFailed):
        shop.catalogue.rebuild()


def test_rebuild_raises_when_the_index_is_not_loaded(
    shop: Client, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "_PATIENCE_S", 0.02)
    play(fake, monkeypatch, "status", {"state": "waiting", "index_loaded": False, "last": None})
    with pytest.raises(NotReady, match=r"Model index at .* is not loaded") as refusal:
        shop.catalogue.rebuild()
    assert refusal.value.model == "index"
    assert calls_of(fake).count("status") >= 2


def test_rebuild_ends_when_another_one_has_come_and_gone(
    shop: Client, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = {"rebuild": "of somebody else", "photos": 5, "seconds": 1.0, "ended_at": "", "error": None}
    play(fake, monkeypatch, "status", {"state": "idle", "index_loaded": True, "last": last})
    assert shop.catalogue.rebuild() == 5


def test_older_server_is_told_when_it_has_no_status(
    shop: Client, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(said: JsonObject) -> JsonObject:
        raise TransportError("INVALID_ARGUMENT", "`call` is 'status', expected one of upsert, get, delete, rebuild.")

    monkeypatch.setattr(fake.catalogue, "_status", refuse)
    with pytest.raises(ContractMismatch, match="is of an older release, which does not report rebuilds"):
        shop.catalogue.status()


def test_other_refusal_of_status_stays_what_it_is(
    shop: Client, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(said: JsonObject) -> JsonObject:
        raise TransportError("INVALID_ARGUMENT", "[request_invalid] request has the unknown key 'verbose'.")

    monkeypatch.setattr(fake.catalogue, "_status", refuse)
    with pytest.raises(InvalidInput, match="unknown key"):
        shop.catalogue.status()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"photos": 7, "seconds": 3.5}, id="older server, which waited"),
        pytest.param({"rebuild": None, "photos": 7}, id="engine that indexes by itself"),
    ],
)
def test_rebuild_asks_no_further_when_it_is_over_already(
    shop: Client, fake: FakeServer, monkeypatch: pytest.MonkeyPatch, answer: JsonObject
) -> None:
    play(fake, monkeypatch, "rebuild", answer)
    assert shop.catalogue.rebuild() == 7
    assert "status" not in calls_of(fake)


def test_both_clients_rebuild_alike(shop: Client, fake: FakeServer) -> None:
    async def rebuild() -> tuple[int, RebuildStatus]:
        async with fake_async_client(fake) as client:
            fake.catalogue.rebuild_polls = 3
            assert await client.catalogue.rebuild(wait=False) == PHOTOS
            with pytest.raises(NotReady):
                await client.catalogue.rebuild()
            while (await client.catalogue.status()).state != "idle":
                pass
            return await client.catalogue.rebuild(), await client.catalogue.status()

    photos, status = asyncio.run(rebuild())
    assert (photos, status) == (PHOTOS, shop.catalogue.status())


def test_bar_shows_phase_and_photos_when_asked_for(shop: Client, fake: FakeServer, capsys: Any) -> None:
    fake.catalogue.rebuild_polls = 4
    assert shop.catalogue.rebuild(progress=True) == PHOTOS
    shown = capsys.readouterr().err
    assert "building HNSW index" in shown
    assert f"6/{PHOTOS}" in shown


@pytest.fixture
def run(shop: Client, fake: FakeServer) -> Callable[..., int]:
    def open_client(**arguments: Any) -> Client:
        return fake_client(fake, **arguments)

    return lambda *argv: main(["catalogue", *argv], open_client=open_client)


def test_command_waits_for_the_rebuild_unless_told_otherwise(
    run: Callable[..., int], fake: FakeServer, capsys: Any
) -> None:
    fake.catalogue.rebuild_polls = 4
    assert run("rebuild") == 0
    assert capsys.readouterr() == (f"index rebuilt: {PHOTOS} photos\n", "")
    assert run("rebuild", "--no-wait") == 0
    assert capsys.readouterr().out.startswith(f"rebuild of {PHOTOS} photos started; `triptych catalogue status`")
    assert run("rebuild") == 1
    assert "A rebuild is running" in capsys.readouterr().err


def test_command_tells_how_far_a_rebuild_is(run: Callable[..., int], fake: FakeServer, capsys: Any) -> None:
    assert run("status") == 0
    assert capsys.readouterr().out == "no rebuild runs\n"
    fake.catalogue.rebuild_polls = 2
    run("rebuild", "--no-wait")
    capsys.readouterr()
    outputs = []
    for _ in range(3):
        assert run("status") == 0
        outputs.append(capsys.readouterr().out)
    share = f"building HNSW index, {PHOTOS // 2} of {PHOTOS} photos, 50% of the work"
    assert outputs[1] == f"rebuild running: {share}, 0.0 s since the request\n"
    assert outputs[2] == f"no rebuild runs\nlast rebuild: {PHOTOS} photos (0.0 s, ended 2026-01-01T00:00:00Z)\n"
    assert run("status", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["last"]["photos"]) == ("idle", PHOTOS)


def test_command_fails_when_the_rebuild_has(run: Callable[..., int], fake: FakeServer, capsys: Any) -> None:
    fake.catalogue.rebuild_error = "The disk of the index is full. Free disk space."
    run("rebuild", "--no-wait")
    assert run("status") == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        "rebuild failed, next try in 5 s: 0.0 s since the request",
        "last rebuild: The disk of the index is full. Free disk space. (0.0 s, ended 2026-01-01T00:00:00Z)",
    ]


def test_command_says_what_a_rebuild_waits_for(
    run: Callable[..., int], fake: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    play(fake, monkeypatch, "status", {"state": "waiting", "index_loaded": False, "last": None, "seconds": 7.25})
    assert run("status") == 0
    assert capsys.readouterr().out == ("rebuild waits for model index, which is not loaded: 7.2 s since the request\n")
