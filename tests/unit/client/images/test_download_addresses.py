"""Photos by URL: addresses that are not public are not reached."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.unit.client.images.photo_host import MAX_BYTES, PHOTO, Host
from triptych import InvalidInput
from triptych._images.download import fetch_photo, is_public
from triptych._images.photo import read_photo

SPECIAL = """
0.0.0.0 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.255 168.63.129.16 169.254.169.254 172.16.0.1
172.31.255.255 192.0.0.1 192.0.2.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::7f00:1
64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 2001::1 2001:0:7f00:1:: 2001:db8::1 2002:7f00:1:: 3fff::1 5f00::1 fc00::1
fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1
"""
ORDINARY = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.167.255.255
223.255.255.255 2001:4860:4860::8888 2606:4700::1111 2a00:1450::1 64:ff9b::808:808
"""


@pytest.mark.parametrize(
    "name",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "0.0.0.0", "[::ffff:127.0.0.1]", "127.9.9.9"],
)
def test_private_host_is_not_reached_when_private_urls_are_off(host: Host, name: str) -> None:
    with pytest.raises(InvalidInput, match=r"no public address.*private_urls=True") as caught:
        read_photo(host.url("/photo", name))
    assert not caught.value.retryable
    assert host.requests == []


@pytest.mark.usefixtures("only_loopback_is_public")
def test_private_host_is_not_reached_when_a_public_one_redirects_to_it(host: Host) -> None:
    there = host.url("/photo", "127.0.0.2")
    with pytest.raises(InvalidInput, match=r"127\.0\.0\.2, which is no public address"):
        fetch_photo(host.url(f"/redirect/{there}"), private_urls=False, max_bytes=MAX_BYTES)
    assert [path for path, _ in host.requests] == [f"/redirect/{there}"]
    again = host.url(f"/redirect/{host.url('/photo')}")
    assert fetch_photo(again, private_urls=False, max_bytes=MAX_BYTES) == PHOTO


@pytest.mark.usefixtures("only_loopback_is_public")
def test_only_public_addresses_are_tried_when_a_name_has_both(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tried = socket.socket.connect, []
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, host.port)) for address in ("127.0.0.2", "127.0.0.1")]

    class _Socket(socket.socket):
        def connect(self, address: Any) -> None:
            tried.append(address[0])
            real(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    monkeypatch.setattr(socket, "socket", _Socket)
    assert fetch_photo(host.url("/photo", "shop.example"), private_urls=False, max_bytes=MAX_BYTES) == PHOTO
    assert tried == ["127.0.0.1"]


@pytest.mark.parametrize(
    "address",
    SPECIAL.split(),
)
def test_address_is_not_public_when_it_is_special(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ORDINARY.split(),
)
def test_address_is_public_when_it_is_ordinary(address: str) -> None:
    assert is_public(address)
