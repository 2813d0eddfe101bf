"""APIs that the server restricts to callers with a key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.server.local_server import LocalServer
from ops.settings import Settings
from triptych import AsyncClient, Client, InvalidInput, PermissionDenied

KEY = "shop-key=open-sesame"


@pytest.fixture(scope="module")
def restricted() -> Iterator[LocalServer]:
    """Answers health and metadata to everybody, inference to who has the key."""
    options = (f"--grpc-restricted-protocol=inference:{KEY}", f"--http-restricted-api=inference:{KEY}")
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0, server_options=options)) as server:
        yield server


@pytest.fixture(params=["grpc", "http"])
def way(request: pytest.FixtureRequest, restricted: LocalServer) -> dict[str, Any]:
    """The arguments of a client of either carrier."""
    target = restricted.grpc_target if request.param == "grpc" else restricted.http_url
    return {"target": target, "transport": request.param}


class Tries:
    """Counts requests and repeated tries."""

    def __init__(self) -> None:
        self.requests = self.retries = 0

    def started(self, method: str) -> None:
        self.requests += 1

    def ended(self, method: str, seconds: float, error: BaseException | None) -> None: ...

    def retried(self, error: BaseException) -> None:
        self.retries += 1


@pytest.mark.parametrize("key", [None, "shop-key=open-barley", "shop-door=open-sesame"])
def test_call_is_denied_once_and_for_all_when_the_key_is_missing_or_wrong(
    way: dict[str, Any], photos: list[Path], key: str | None
) -> None:
    tries: Any = Tries()

    async def recognize() -> None:
        async with AsyncClient(**way, api_key=key, metrics=tries) as client:
            await client.recognize(photos[0])

    with Client(**way, api_key=key, metrics=tries) as client, pytest.raises(PermissionDenied, match="restricted"):
        client.recognize(photos[0])
    with pytest.raises(PermissionDenied, match="restricted") as caught:
        asyncio.run(recognize())
    assert caught.value.code == "access_denied"
    assert (tries.requests, tries.retries) == (2, 0)


def test_call_is_answered_when_the_key_goes_with_it(way: dict[str, Any], photos: list[Path]) -> None:
    async def recognize() -> str:
        async with AsyncClient(**way, api_key=KEY) as client:
            return str((await client.recognize(photos[0])).top)

    with Client(**way, api_key=KEY) as client:
        top = str(client.recognize(photos[0]).top)
        assert client.health().ready
    assert asyncio.run(recognize()) == top


def test_key_travels_as_the_header_that_the_server_names_when_auth_is_used_instead(
    way: dict[str, Any], photos: list[Path]
) -> None:
    name, value = KEY.split("=")
    header = name if way["transport"] == "http" else f"triton-grpc-protocol-{name}"
    with Client(**way, auth=lambda: {header: value}) as client:
        assert client.recognize(photos[0]).labels


def test_secrets_show_up_nowhere(
    way: dict[str, Any], photos: list[Path], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    auth = {"authorization": "Bearer hunter2"}
    with Client(**way, api_key="shop-key=tr0ub4dor", auth=auth) as client:
        with pytest.raises(PermissionDenied) as caught:
            client.recognize(photos[0])
        shown = [repr(client), repr(client._configuration), repr(client.__dict__), str(caught.value)]
        shown += [repr(caught.value), repr(caught.value.__cause__), repr(caught.value.__dict__)]
    for argument in ({"api_key": "shop-key=tr0ub4dor\n"}, {"api_key": "tr0ub4dor"}, {"auth": {"a": "hunter2\n"}}):
        with pytest.raises(InvalidInput) as refused, Client(**{**way, **argument}) as client:
            client.recognize(photos[0])
        shown += [str(refused.value), repr(refused.value.__context__)]
    shown += [record.getMessage() for record in caplog.records]
    shown += capfd.readouterr()
    assert not [text for text in shown if "hunter2" in text or "tr0ub4dor" in text]
