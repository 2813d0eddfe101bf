"""Proxies of the environment and photos in other forms, from both clients, over both carriers, with the real server."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ops.server.local_server import LocalServer
from tests.e2e.client.test_command import TRIPTYCH
from tests.e2e.client.test_http import calling, target_of
from tests.unit.client.transport.connect_proxy import ConnectProxy
from triptych import AsyncClient, Client, photo_from_base64

VARIABLES = (
    "grpc_proxy",
    "https_proxy",
    "http_proxy",
    "all_proxy",
    "GRPC_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
)
all_callers = pytest.mark.parametrize(
    ("carrier", "kind"), [(carrier, kind) for carrier in ("grpc", "http") for kind in (Client, AsyncClient)]
)


@pytest.fixture
def refusing() -> Iterator[ConnectProxy]:
    with ConnectProxy(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as proxy:
        yield proxy


@pytest.fixture
def proxied(refusing: ConnectProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable names a proxy that refuses."""
    for name in VARIABLES:
        monkeypatch.setenv(name, f"http://anna:hunter2@127.0.0.1:{refusing.port}")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)


@all_callers
def test_local_server_answers_past_every_proxy(
    carrier: str,
    kind: type[Client] | type[AsyncClient],
    server: LocalServer,
    photos: list[Path],
    proxied: None,
    refusing: ConnectProxy,
) -> None:
    target = target_of(server, carrier)
    for spelling in (target, target.replace("127.0.0.1", "localhost")):
        with calling(kind, spelling, transport=carrier) as caller:
            assert caller.health().recognizer_ready
            assert caller.recognize(photos[0]).labels
    assert refusing.heads == []


@pytest.mark.parametrize("carrier", ["grpc", "http"])
def test_command_reaches_the_local_server_past_every_proxy(
    carrier: str, server: LocalServer, proxied: None, refusing: ConnectProxy
) -> None:
    command = [*TRIPTYCH, "health", "--transport", carrier, "--json"]
    done = subprocess.run(
        [*command, "--target", target_of(server, carrier)], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recognizer_ready"]
    assert done.stderr == ""
    assert refusing.heads == []


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_remote_server_answers_through_the_proxy(
    kind: type[Client] | type[AsyncClient], server: LocalServer, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(server.grpc_target.rpartition(":")[2])
    with ConnectProxy(None, port) as proxy, calling(kind, server.grpc_target) as direct:
        expected = direct.recognize(photos[0]).labels
        monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{proxy.port}")
        with calling(kind, "shop.example:8001") as caller:
            assert caller.recognize(photos[0]).labels == expected
    assert [head.split()[1] for head in proxy.heads] == ["shop.example:8001"]


FORMS: list[Callable[[Path], Any]] = [
    lambda path: photo_from_base64(base64.encodebytes(path.read_bytes())),
    lambda path: f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}",
    lambda path: {"bytes": path.read_bytes(), "path": None},
    lambda path: {"bytes": None, "path": str(path)},
    Path.as_uri,
]


@all_callers
def test_photo_in_every_form_has_the_same_answer(
    carrier: str, kind: type[Client] | type[AsyncClient], server: LocalServer, photos: list[Path]
) -> None:
    with calling(kind, target_of(server, carrier), transport=carrier) as caller:
        expected = caller.classify(photos[0]).labels
        assert [caller.classify(form(photos[0].absolute())).labels for form in FORMS] == [expected] * len(FORMS)
        items = list(caller.classify_many([base64.b64encode(photos[0].read_bytes()).decode(), photos[0], None]))
        assert [type(item.error).__name__ for item in items] == ["InvalidInput", "NoneType", "InvalidInput"]
        assert "photo_from_base64" in str(items[0].error)


@pytest.mark.parametrize("suffix", ["avif", "heic"])
def test_avif_and_heic_are_answered_like_the_same_photo(
    suffix: str, server: LocalServer, photos: list[Path], tmp_path: Path
) -> None:
    with Image.open(photos[0]) as image:
        if suffix == "heic":
            heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed: `make setup` installs it")
            heif.from_pillow(image.convert("RGB")).save(tmp_path / "shoe.heic", quality=95)
        else:
            image.convert("RGB").save(tmp_path / "shoe.avif", quality=95)
    with Client(server.grpc_target) as client:
        found, expected = client.recognize(tmp_path / f"shoe.{suffix}"), client.recognize(photos[0])
        assert found.labels[0].name == expected.labels[0].name
        # Lossy at quality 95: the cosine of the same photo stays above 0.98.
        assert found.embedding @ expected.embedding > 0.98
