"""Targets: addresses and URLs, and the transport and TLS that follow from a URL's scheme."""

from __future__ import annotations

from typing import Any

import pytest

from triptych import TLS, AsyncClient, Client, InvalidInput
from triptych._transport.target import Carrier, grpc_address, http_addresses, is_ip_address, resolve_target

SCHEMES: list[tuple[str, Carrier, TLS | None]] = [
    ("http://127.0.0.1:8000", "http", None),
    ("HTTP://127.0.0.1:8000/", "http", None),
    ("https://shop.example", "http", TLS()),
    ("https://10.0.0.7:8000,https://10.0.0.8:8000", "http", TLS()),
    ("grpc://127.0.0.1:8001", "grpc", None),
    ("grpcs://shop.example:443", "grpc", TLS()),
    ("127.0.0.1:8001", "grpc", None),
    ("dns:///triptych-headless.shop:8001", "grpc", None),
    ("unix:///run/triptych.sock", "grpc", None),
]


@pytest.mark.parametrize(("target", "carrier", "tls"), SCHEMES)
def test_clients_take_transport_and_tls_from_the_scheme(target: str, carrier: Carrier, tls: TLS | None) -> None:
    with Client(target) as client:
        for each in (client, AsyncClient(target)):
            connection = each._configuration.connection
            assert (connection.carrier, connection.tls, connection.target) == (carrier, tls, target)


def test_client_takes_the_scheme_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_TARGET", "https://shop.example")
    with Client.from_env() as client:
        assert client._configuration.connection.carrier == "http"


def test_scheme_keeps_the_tls_that_was_given_when_both_encrypt() -> None:
    tls = TLS(server_name="triptych.shop.example")
    assert resolve_target("grpcs://10.0.0.7:8001", "grpc", tls) == ("grpc", tls)
    assert resolve_target("https://10.0.0.7:8000", None, tls) == ("http", tls)
    assert resolve_target("10.0.0.7:8000", "http", tls) == ("http", tls)


CONTRADICTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("http://shop:8000", {"transport": "grpc"}, "scheme http, but transport is 'grpc'; expected transport='http'"),
    ("https://shop:8000", {"transport": "grpc"}, "scheme https, but transport is 'grpc'; expected transport='http'"),
    ("grpc://shop:8001", {"transport": "http"}, "scheme grpc, but transport is 'http'; expected transport='grpc'"),
    ("http://shop:8000", {"tls": TLS()}, r"not encrypted \(http://\), but tls was given; expected https://"),
    ("grpc://shop:8001", {"tls": TLS()}, r"not encrypted \(grpc://\), but tls was given; expected grpcs://"),
    ("https://shop:8000", {"shared_memory": True}, "Shared memory goes with gRPC"),
    ("http://shop:8000", {"transport": "carrier pigeon"}, "expected 'grpc' or 'http'"),
    ("ftp://shop:21", {}, "the scheme 'ftp'; expected one of grpc, grpcs, http, https"),
    ("http://10.0.0.7:8000,https://10.0.0.8:8000", {}, "schemes http and https; expected one scheme"),
    ("grpc://shop:8001/v2", {}, r"the path '/v2', which gRPC does not use; .* Pass grpc://shop:8001\."),
    ("grpc://shop", {}, "no host and port"),
    ("grpcs://shop:99999", {}, "no host and port"),
    ("http://shop:8000/?key=1", {}, r"a query or a fragment; .* Remove everything from \? on"),
    ("grpc://shop:8001#top", {}, r"a query or a fragment; .* Remove everything from # on"),
    ("http://", {}, "no HTTP address"),
    ("http://[::1", {}, "no URL"),
]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(("target", "arguments", "said"), CONTRADICTIONS)
def test_client_is_refused_when_the_target_cannot_be_used(
    kind: type[Client | AsyncClient], target: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        kind(target, **arguments)


@pytest.mark.parametrize("scheme", ["http", "https", "grpc", "grpcs", "ftp"])
@pytest.mark.parametrize("arguments", [{}, {"transport": "grpc"}, {"transport": "http"}, {"tls": TLS()}])
def test_client_is_refused_without_repeating_the_target_when_it_holds_a_password(
    scheme: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        Client(f"{scheme}://anna:hunter2@shop.example:8001", **arguments)
    assert "hunter2" not in str(caught.value)
    assert "anna" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "tls", "addresses"),
    [
        ("127.0.0.1:8000", None, ("http://127.0.0.1:8000",)),
        ("127.0.0.1:8000", TLS(), ("https://127.0.0.1:8000",)),
        ("http://shop:8000/", None, ("http://shop:8000",)),
        ("https://shop.example", None, ("https://shop.example",)),
        ("https://shop.example/triptych", TLS(), ("https://shop.example/triptych",)),
        ("[::1]:8000", None, ("http://[::1]:8000",)),
        ("10.0.0.7:8000, 10.0.0.8:8000", None, ("http://10.0.0.7:8000", "http://10.0.0.8:8000")),
    ],
)
def test_target_becomes_http_addresses(target: str, tls: TLS | None, addresses: tuple[str, ...]) -> None:
    assert http_addresses(target, tls) == addresses


@pytest.mark.parametrize("target", ["dns:///shop:8000", "shop:port", "shop:99999", ":8000", "a:1,,b:1"])
def test_target_is_refused_when_http_cannot_reach_it(target: str) -> None:
    with pytest.raises(InvalidInput, match="no HTTP address"):
        http_addresses(target, None)


def test_target_is_refused_when_http_contradicts_tls() -> None:
    with pytest.raises(InvalidInput, match="not encrypted"):
        http_addresses("http://shop:8000", TLS())


def test_target_is_refused_without_repeating_it_when_it_holds_a_password() -> None:
    with pytest.raises(InvalidInput) as caught:
        http_addresses("https://anna:hunter2@shop.example", None)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("shop:8001", "shop:8001"),
        ("grpc://shop:8001/", "shop:8001"),
        ("grpcs://[::1]:8001", "[::1]:8001"),
        ("dns:///triptych:8001", "dns:///triptych:8001"),
        ("10.0.0.7:8001, 10.0.0.8:8001", "ipv4:10.0.0.7:8001,10.0.0.8:8001"),
        ("grpc://10.0.0.7:8001,grpc://10.0.0.8:8001", "ipv4:10.0.0.7:8001,10.0.0.8:8001"),
        ("[fd00::7]:8001,[fd00::8]:8001", "ipv6:[fd00::7]:8001,[fd00::8]:8001"),
    ],
)
def test_target_becomes_a_grpc_address(target: str, address: str) -> None:
    assert grpc_address(target) == address


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("10.0.0.7:8001", True),
        ("http://10.0.0.7", True),
        ("grpcs://[::1]:8001", True),
        ("shop:8001", False),
        ("dns:///triptych:8001", False),
        ("[::1", False),
    ],
)
def test_ip_address_is_told_from_a_name(target: str, expected: bool) -> None:
    assert is_ip_address(target) is expected
