"""What a call is for is on the wire, so that the server's metrics tell shoppers from imports, searches and jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych import CatalogueItem, Client, InvalidInput
from triptych._core.protocol import InferRequest, Source
from triptych._transport.grpc_transport import encode_request
from triptych._transport.http_encoding import encode_infer
from triptych.cli.main import main
from triptych.testing import FakeServer, fake_client

PHOTO = b"\xff\xd8 photo"
VECTOR = np.ones(1280, np.float32)


def sent(fake: FakeServer) -> set[str | None]:
    """The sources of the requests that the server got, as they are on the wire."""
    calls = [recorded.call for recorded in fake.calls if isinstance(recorded.call, InferRequest)]
    return {call.texts().get("source") for call in calls}


@pytest.mark.parametrize(
    ("source", "said"), [(None, None), ("shopper", None), ("import", "import"), ("internal", "internal")]
)
def test_request_names_its_source_when_it_is_not_the_shoppers(source: Source | None, said: str | None) -> None:
    request = InferRequest("recognizer", "image", (PHOTO,), (), "id", parameters={"key": "k"}, source=source)
    expected = {"key": "k"} | ({} if said is None else {"source": said})
    message = encode_request(request, 2.5)
    assert {name: value.string_param for name, value in message.parameters.items() if value.string_param} == expected
    http = encode_infer(request, 2.5, {})
    head = json.loads(http.body[: int(http.headers["inference-header-content-length"])])
    assert head["parameters"] == {"timeout": 2_500_000, **expected}


@pytest.mark.parametrize(
    ("call", "source"),
    [
        (lambda client: client.recognize(PHOTO), None),
        (lambda client: list(client.embed_many([PHOTO, PHOTO])), None),
        (lambda client: client.with_options(priority="bulk").embed(PHOTO), "bulk"),
        (lambda client: client.catalogue.upsert_many([CatalogueItem("a", PHOTO)]), "import"),
        (lambda client: client.catalogue.upsert("a", PHOTO), "import"),
        (lambda client: client.catalogue.count(), "import"),
        (lambda client: client.search(PHOTO), "search"),
        (lambda client: client.search(PHOTO, predicted_filter="category"), "search"),
        (lambda client: client.search_embedding(VECTOR), "search"),
        (lambda client: client.with_options(priority="bulk").search(PHOTO), "search"),
    ],
)
def test_call_has_the_source_of_its_kind(
    fake: FakeServer, call: Callable[[Client], object], source: str | None
) -> None:
    with fake_client(fake) as client:
        client.catalogue.upsert("known", PHOTO)
        fake.calls.clear()
        call(client)
    assert sent(fake) == {source}


def test_every_call_has_the_clients_own_source(fake: FakeServer) -> None:
    with fake_client(fake, source="internal") as client:
        client.recognize(PHOTO)
        client.catalogue.upsert("a", PHOTO)
        client.search(PHOTO)
        client.with_options(priority="bulk").embed(PHOTO)
    assert sent(fake) == {"internal"}


@pytest.mark.parametrize("source", ["other", "Import", "", 1])
def test_client_refuses_a_source_that_no_server_knows(source: Any) -> None:
    with pytest.raises(InvalidInput, match="expected 'shopper', 'import'"):
        Client(source=source)


def test_environment_sets_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_SOURCE", "internal")
    with Client.from_env() as client:
        assert client._options.source == "internal"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("embed photos --output x.npy", "bulk"),
        ("recognize photos --output x.jsonl", "bulk"),
        ("recognize photos/a.jpg", None),
        ("catalogue import photos", "import"),
        ("catalogue import photos --priority interactive", "import"),
    ],
)
def test_command_says_what_it_is_for(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, expected: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(PHOTO)
    assert main(words.split(), open_client=lambda **arguments: fake_client(fake, **arguments)) == 0
    assert sent(fake) == {expected}
