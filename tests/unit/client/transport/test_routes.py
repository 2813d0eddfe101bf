"""Which route a target takes: directly or through a proxy, with real servers and a real CONNECT proxy on loopback."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from tests.unit.client.transport.connect_proxy import ConnectProxy, grpc_server, http_server
from triptych import TLS, AsyncClient, Client, ConnectionFailed, Retry, TriptychError
from triptych._transport.routes import Route, grpc_route, http_route, is_local

REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
Ask = Callable[..., None]


def _ask_blocking(target: str, wait_s: float = 5.0, **arguments: Any) -> None:
    with Client(target, retry=Retry(tries=1), **arguments) as client:
        client.wait_ready(wait_s)


def _ask_awaiting(target: str, wait_s: float = 5.0, **arguments: Any) -> None:
    async def main() -> None:
        async with AsyncClient(target, retry=Retry(tries=1), **arguments) as client:
            await client.wait_ready(wait_s)

    asyncio.run(main())


both_kinds = pytest.mark.parametrize("ask", [_ask_blocking, _ask_awaiting], ids=["Client", "AsyncClient"])


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Removes the proxies of this machine; sets others."""
    for name in [name for name in os.environ if "proxy" in name.lower()]:
        monkeypatch.delenv(name)

    def set_variables(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


@pytest.fixture
def refusing() -> Iterator[ConnectProxy]:
    with ConnectProxy(REFUSAL) as proxy:
        yield proxy


def everywhere(url: str) -> dict[str, str]:
    names = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy")
    return {name: url for lower in names for name in (lower, lower.upper())}


@both_kinds
@pytest.mark.parametrize(
    ("host", "exceptions"),
    [
        ("127.0.0.1", {}),
        ("localhost", {"no_proxy": ""}),
        ("dns:///localhost", {"no_proxy": "shop.example", "NO_PROXY": "["}),
        ("ipv4:127.0.0.1", {"no_grpc_proxy": ","}),
    ],
)
def test_loopback_is_asked_directly_over_grpc(
    ask: Ask, host: str, exceptions: dict[str, str], refusing: ConnectProxy, environment: Callable[..., None]
) -> None:
    environment(**everywhere(f"http://anna:hunter2@127.0.0.1:{refusing.port}"), **exceptions)
    environment(GRPC_ADDRESS_HTTP_PROXY=f"127.0.0.1:{refusing.port}")
    environment(GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES="127.0.0.0/8")
    with grpc_server() as port:
        ask(f"{host}:{port}")
        ask(f"{host}:{port}")
    assert refusing.heads == []


@both_kinds
@pytest.mark.parametrize(
    "value", ["", " ", "junk", "anna:hunter2@proxy:3128", "socks5://proxy:1", "https://proxy:1", "http://", "http://["]
)
def test_loopback_is_asked_directly_and_nothing_is_printed_when_the_variables_hold_junk(
    ask: Ask, value: str, environment: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    environment(**everywhere(value))
    with grpc_server() as port, http_server() as http_port:
        ask(f"127.0.0.1:{port}")
        ask(f"http://127.0.0.1:{http_port}")
    assert capfd.readouterr().err == ""


@both_kinds
def test_list_of_loopback_addresses_is_asked_directly(
    ask: Ask, refusing: ConnectProxy, environment: Callable[..., None]
) -> None:
    environment(grpc_proxy=f"http://127.0.0.1:{refusing.port}")
    with grpc_server() as port:
        ask(f"127.0.0.1:{port},127.0.0.1:{port}")
    assert refusing.heads == []


@both_kinds
def test_ipv6_loopback_and_unix_socket_are_asked_directly(
    ask: Ask, refusing: ConnectProxy, environment: Callable[..., None], tmp_path: Path
) -> None:
    environment(**everywhere(f"http://127.0.0.1:{refusing.port}"))
    with grpc_server(address=f"unix:{tmp_path}/triptych.sock"):
        ask(f"unix:{tmp_path}/triptych.sock")
    if not socket.has_ipv6:
        return
    with grpc_server(address="[::1]:0") as port, http_server("::1") as http_port:
        ask(f"[::1]:{port}")
        ask(f"grpc://[::1]:{port}")
        ask(f"http://[::1]:{http_port}")
    assert refusing.heads == []


@both_kinds
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_asked_directly_over_http(
    ask: Ask, host: str, refusing: ConnectProxy, environment: Callable[..., None]
) -> None:
    environment(**everywhere(f"http://127.0.0.1:{refusing.port}"))
    with http_server() as port:
        ask(f"http://{host}:{port}")
    assert refusing.heads == []


@both_kinds
def test_remote_server_answers_through_the_proxy(ask: Ask, environment: Callable[..., None]) -> None:
    with grpc_server() as port, ConnectProxy(None, port) as proxy:
        environment(grpc_proxy=f"http://anna:hunter2@127.0.0.1:{proxy.port}", https_proxy="http://127.0.0.1:9")
        ask("shop.example:8001")
    (head,) = proxy.heads
    assert head.startswith("CONNECT shop.example:8001 ")
    assert base64.b64encode(b"anna:hunter2").decode() in head


@both_kinds
def test_remote_server_answers_through_the_proxy_over_tls(
    ask: Ask, environment: Callable[..., None], tmp_path: Path
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("shop.example")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(issued.private_key_pem.bytes(), chain)])
    with grpc_server(credentials) as port, ConnectProxy(None, port) as proxy:
        environment(https_proxy=f"http://127.0.0.1:{proxy.port}")
        ask("grpcs://shop.example:443", tls=TLS(tmp_path / "ca.pem"))
    assert proxy.heads[0].startswith("CONNECT shop.example:443 ")


@pytest.mark.parametrize("entry", ["shop.example", ".example", "*.example", "*", "a, SHOP.example"])
@pytest.mark.parametrize("variable", ["no_grpc_proxy", "no_proxy", "NO_PROXY"])
def test_excepted_host_is_asked_directly(variable: str, entry: str, refusing: ConnectProxy) -> None:
    proxies = {"grpc_proxy": f"http://127.0.0.1:{refusing.port}"}
    assert grpc_route("shop.example:1", {**proxies, variable: entry}).proxy is None
    assert grpc_route("shop.test:1", {**proxies, variable: "shop.example"}).proxy == proxies["grpc_proxy"]


def test_excepted_network_is_asked_directly() -> None:
    environment = {"http_proxy": "http://proxy:3128", "no_proxy": "x, 10.0.0.0/8,fd00::/8,nonsense/99"}
    assert grpc_route("10.1.2.3:1", environment).proxy is None
    assert grpc_route("[fd00::7]:1", environment).proxy is None
    assert grpc_route("11.1.2.3:1", environment).proxy == "http://proxy:3128"
    # The first of both variables that is set counts, as in gRPC core, even where it is empty.
    assert grpc_route("10.1.2.3:1", {**environment, "no_grpc_proxy": ""}).proxy == "http://proxy:3128"


def test_excepted_host_keeps_away_from_the_proxy(refusing: ConnectProxy, environment: Callable[..., None]) -> None:
    environment(grpc_proxy=f"http://127.0.0.1:{refusing.port}", no_proxy=".invalid")
    with pytest.raises(ConnectionFailed) as caught:
        _ask_blocking("shop.invalid:1", 0.4)
    assert "proxy" not in str(caught.value)
    assert refusing.heads == []


def test_first_variable_counts_as_in_grpc_core() -> None:
    three = {"http_proxy": "http://c:1", "https_proxy": "http://b:1", "grpc_proxy": "http://a:1"}
    assert grpc_route("shop:1", three).proxy == "http://a:1"
    assert grpc_route("shop:1", {**three, "grpc_proxy": ""}) == Route()


_REFUSALS = [
    (REFUSAL, "http proxy returned response code 403"),
    (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "http proxy returned response code 407"),
    (b"SSH-2.0-nobody\r\n", "expected 'h'"),
    (b"", "no answer in time"),
]


@both_kinds
@pytest.mark.parametrize(("answer", "said"), _REFUSALS)
@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_error_names_proxy_and_variable_when_the_proxy_refuses(
    ask: Ask, answer: bytes, said: str, variable: str, environment: Callable[..., None]
) -> None:
    with ConnectProxy(answer) as proxy:
        environment(**{variable: f"http://anna:hunter2@127.0.0.1:{proxy.port}"})
        with pytest.raises(ConnectionFailed) as caught:
            ask("shop.example:8001", 0.4)
    message = str(caught.value)
    route = f"through the proxy http://127.0.0.1:{proxy.port} ({variable}); no_proxy=shop.example connects directly"
    assert f"No Triptych server answers at shop.example:8001 ({said}, {route})" in message
    assert "anna" not in message
    assert "hunter2" not in message
    assert proxy.heads[0].startswith("CONNECT shop.example:8001 ")


@both_kinds
def test_error_names_proxy_and_variable_when_there_is_no_proxy(ask: Ask, environment: Callable[..., None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    for host, said in (("127.0.0.1", "connection refused"), ("nobody.invalid", "")):
        environment(http_proxy=f"http://anna:hunter2@{host}:{port}")
        with pytest.raises(ConnectionFailed) as caught:
            ask("shop.example:8001", 0.4)
        assert f"{said}, through the proxy http://{host}:{port} (http_proxy)" in str(caught.value)
        assert "hunter2" not in str(caught.value)


def test_slow_server_is_no_failed_connection_when_the_proxy_has_connected_before() -> None:
    route = grpc_route("shop:1", {"grpc_proxy": "http://proxy:1"})
    assert route.failure("DEADLINE_EXCEEDED", "Deadline Exceeded").status == "UNAVAILABLE"
    assert route.failure("NOT_FOUND", "no model").detail == "no model"
    assert route.failure("DEADLINE_EXCEEDED", "Deadline Exceeded").status == "DEADLINE_EXCEEDED"
    assert route.failure("UNAVAILABLE", "[queue_full] full").detail == "[queue_full] full"


@pytest.mark.parametrize(
    ("address", "environment", "note"),
    [
        ("shop:1", {"HTTPS_PROXY": "http://p:1"}, "because gRPC does not read https_proxy in capitals"),
        ("shop:1", {"all_proxy": "http://p:1"}, "because gRPC does not read all_proxy"),
        ("shop:1", {"http_proxy": "socks5://anna:hunter2@p:1"}, "http_proxy is no URL of the form http://HOST:PORT"),
        ("shop:1", {"http_proxy": "http://an na:hunter2@p:1"}, "http_proxy is no URL of the form http://HOST:PORT"),
        ("ipv4:10.0.0.7:1,10.0.0.8:1", {"grpc_proxy": "http://p:1"}, "gRPC sends no list of addresses through a proxy"),
    ],
)
def test_direct_route_says_why_a_variable_has_no_effect(address: str, environment: dict[str, str], note: str) -> None:
    route = grpc_route(address, environment)
    assert route.proxy is None
    assert note in route.annotated("refused")
    assert "hunter2" not in route.note


@both_kinds
@pytest.mark.parametrize("target", ["grpc://shop.invalid:8001", "http://shop.invalid:8000"])
def test_error_says_that_the_connection_was_direct_when_a_variable_has_no_effect(
    ask: Ask, target: str, environment: Callable[..., None]
) -> None:
    environment(HTTP_PROXY="http://anna:hunter2@127.0.0.1:9")
    with pytest.raises(TriptychError) as caught:
        ask(target, 0.4)
    assert "connected directly, because" in str(caught.value)
    assert "http_proxy" in str(caught.value).lower()
    assert "hunter2" not in str(caught.value)


def test_http_route_is_silent_without_variables_and_on_loopback() -> None:
    assert http_route("http://shop:8000", {}).annotated("refused") == "refused"
    assert http_route("http://[::1]:8000", {"http_proxy": "http://p:1"}).note == ""


LOCAL = ["localhost", "LOCALHOST.", "shop.localhost", "127.0.0.1", "127.9.9.9", "127.1", "0.0.0.0", "::1", "[::1]"]
LOCAL += ["::", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1", "::1%lo", "ip6-localhost", socket.gethostname()]
REMOTE = ["", "shop", "10.0.0.7", "128.0.0.1", "localhost.shop.example", "notlocalhost", "::2", "::ffff:10.0.0.7"]


def test_local_hosts_are_told_from_others() -> None:
    assert [host for host in LOCAL if not is_local(host)] == []
    assert [host for host in REMOTE if is_local(host)] == []


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("dns:localhost:1", True),
        ("dns:///localhost:1", True),
        ("dns://8.8.8.8/localhost:1", True),
        ("ipv6:[::1]:1", True),
        ("ipv6:%5B::1%5D:1", True),
        ("ipv4:127.0.0.1:1,127.0.0.2:1", True),
        ("ipv4:127.0.0.1:1,10.0.0.7:1", False),
        ("unix:///run/triptych.sock", True),
        ("unix:triptych.sock", True),
        ("dns:///shop:1", False),
        ("dns://localhost/shop:1", False),
    ],
)
def test_address_is_local_when_all_its_hosts_are(address: str, local: bool) -> None:
    assert grpc_route(address, {}).is_local is local
