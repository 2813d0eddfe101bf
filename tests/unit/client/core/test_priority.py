"""What may wait says so: jobs and imports are bulk, all else is interactive, and whoever says otherwise is obeyed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from triptych import CatalogueItem, Client, InvalidInput
from triptych._core.protocol import InferRequest, Priority
from triptych._transport.grpc_transport import encode_request
from triptych._transport.http_encoding import encode_infer
from triptych.cli.main import main
from triptych.testing import FakeServer, fake_async_client, fake_client

PHOTO = b"\xff\xd8 photo"
BULK_TIMEOUT_S = 60.0


def priorities(fake: FakeServer, model: str = "recognizer") -> set[str]:
    calls = [recorded.call for recorded in fake.calls]
    return {call.priority for call in calls if isinstance(call, InferRequest) and call.model == model}


def request(priority: Priority) -> InferRequest:
    return InferRequest("recognizer", "image", (PHOTO,), (), "id", priority=priority)


@pytest.mark.parametrize(("priority", "level"), [("interactive", None), ("bulk", 2)])
def test_request_names_its_level_when_it_is_not_the_first(priority: Priority, level: int | None) -> None:
    message = encode_request(request(priority), 2.5)
    sent = {name: value.int64_param for name, value in message.parameters.items()}
    expected = {"timeout": 2_500_000} | ({} if level is None else {"priority": level})
    assert sent == expected
    http = encode_infer(request(priority), 2.5, {})
    size = int(http.headers["inference-header-content-length"])
    assert json.loads(http.body[:size])["parameters"] == expected


@pytest.mark.parametrize("priority", [None, "interactive", "bulk"])
def test_every_call_has_the_clients_priority(fake: FakeServer, priority: Priority | None) -> None:
    with fake_client(fake, priority=priority) as client:
        client.recognize(PHOTO)
        list(client.embed_many([PHOTO, PHOTO]))
    assert priorities(fake) == {priority or "interactive"}


def test_with_options_changes_the_priority_and_nothing_else(fake: FakeServer) -> None:
    with fake_client(fake, timeout_s=7) as client:
        client.with_options(priority="bulk").embed(PHOTO)
    assert priorities(fake) == {"bulk"}
    assert fake.calls[-1].timeout_s == pytest.approx(7, abs=1)


@pytest.mark.parametrize(("said", "expected"), [(None, "bulk"), ("interactive", "interactive"), ("bulk", "bulk")])
def test_photos_of_an_import_are_bulk_unless_the_client_was_told(
    fake: FakeServer, said: Priority | None, expected: str
) -> None:
    items = [CatalogueItem("a", PHOTO)]
    with fake_client(fake, priority=said) as client:
        client.catalogue.upsert_many(items)
    assert priorities(fake) == {expected}
    assert fake.requests

    async def upsert() -> None:
        async with fake_async_client(fake, priority=said) as client:
            await client.catalogue.upsert_many(items)

    fake.calls.clear()
    asyncio.run(upsert())
    assert priorities(fake) == {expected}


def test_one_photo_put_into_the_catalogue_is_interactive(fake: FakeServer) -> None:
    with fake_client(fake) as client:
        client.catalogue.upsert("a", PHOTO)
    assert priorities(fake) == {"interactive"}


@pytest.mark.parametrize("priority", ["Bulk", "", 2, ["bulk"]])
def test_client_refuses_a_priority_that_no_queue_has(priority: Any) -> None:
    with pytest.raises(InvalidInput, match="expected 'interactive' or 'bulk'"):
        Client(priority=priority)


def test_environment_sets_the_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_PRIORITY", "bulk")
    with Client.from_env() as client:
        assert client._options.priority == "bulk"
    monkeypatch.setenv("TRIPTYCH_PRIORITY", "urgent")
    with pytest.raises(InvalidInput, match="'urgent'"):
        Client.from_env()


@pytest.fixture
def command(fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(PHOTO)

    def open_client(**arguments: Any) -> Client:
        return fake_client(fake, **arguments)

    return lambda *words: main(list(words), open_client=open_client)


@pytest.mark.parametrize(
    ("words", "expected", "timeout_s"),
    [
        ("embed photos --output x.npy", "bulk", BULK_TIMEOUT_S),
        ("embed photos --output x.npy --timeout 5", "bulk", 5),
        ("embed photos --output x.npy --priority interactive", "interactive", 10),
        ("recognize photos --output x.jsonl", "bulk", BULK_TIMEOUT_S),
        ("recognize photos/a.jpg", "interactive", 10),
        ("recognize photos/a.jpg --priority bulk", "bulk", BULK_TIMEOUT_S),
        ("catalogue import photos", "bulk", BULK_TIMEOUT_S),
        ("catalogue import photos --priority interactive", "interactive", 10),
    ],
)
def test_command_is_bulk_when_it_is_a_job(
    fake: FakeServer, command: Callable[..., int], words: str, expected: str, timeout_s: float
) -> None:
    assert command(*words.split()) == 0
    assert priorities(fake) == {expected}
    taken_s = [recorded.timeout_s for recorded in fake.calls if isinstance(recorded.call, InferRequest)]
    assert max(taken_s) == pytest.approx(timeout_s, abs=1)


def test_command_takes_the_environments_priority(
    fake: FakeServer, command: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_PRIORITY", "interactive")
    assert command("embed", "photos", "--output", "x.npy") == 0
    assert priorities(fake) == {"interactive"}


def test_command_refuses_another_priority(command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command("embed", "photos", "--output", "x.npy", "--priority", "urgent")
    assert ended.value.code == 2
    assert "invalid choice: 'urgent'" in capsys.readouterr().err
