"""Photos by URL: what arrives, and what is refused with a reason."""

from __future__ import annotations

import socket
import tracemalloc
from contextlib import closing
from typing import Any

import pytest

from tests.unit.client.images.photo_host import MAX_BYTES, PHOTO, Host, fetch
from triptych import FetchFailed, ImageTooLarge, InvalidInput, UnreadableImage
from triptych._images.download import MAX_REDIRECTS
from triptych._images.photo import read_photo


@pytest.mark.parametrize("path", ["/photo", "/photo?signature=a%20b", "/chunked", "/chain/5"])
def test_photo_arrives_unchanged_when_its_host_gives_it(host: Host, path: str) -> None:
    content = read_photo(host.url(path), private_urls=True)
    assert content == PHOTO
    assert type(content) is bytes
    assert host.requests[0][0] == path


def test_photo_is_fetched_when_scheme_is_written_large(host: Host) -> None:
    assert read_photo(host.url("/photo").replace("http", "HTTP"), private_urls=True) == PHOTO


def test_request_target_is_quoted_when_url_is_not_ascii(host: Host) -> None:
    assert fetch(host.url("/photo?name=grüner schuh%20")) == PHOTO
    assert host.requests[0][0] == "/photo?name=gr%C3%BCner%20schuh%20"


def test_request_asks_for_formats_the_server_reads(host: Host) -> None:
    fetch(host.url("/photo"))
    headers = host.requests[0][1]
    assert headers["Accept"].startswith("image/jpeg")
    assert "avif" not in headers["Accept"]
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Host"] == f"127.0.0.1:{host.port}"


def test_photo_comes_straight_from_its_host_when_environment_names_a_proxy(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch(host.url("/photo")) == PHOTO


def test_host_is_looked_up_once_and_named_to_itself(host: Host, lookups: list[str]) -> None:
    assert fetch(host.url("/photo", "shop.example")) == PHOTO
    assert lookups == ["shop.example"]  # a second lookup could get another answer
    assert host.requests[0][1]["Host"] == f"shop.example:{host.port}"


def test_next_address_is_tried_when_the_first_refuses(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    two = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, host.port)) for address in ("127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: two)
    assert fetch(host.url("/photo", "shop.example")) == PHOTO


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://", "starts with http:// or https:// and a host"),
        ("https:///photo.jpg", "starts with http:// or https:// and a host"),
        ("http://[::1/photo", "cannot be a URL"),
        ("http://127.0.0.1:99999/photo", "cannot be a URL (Port out of range"),
        ("http://anna:secret@127.0.0.1/photo", "has a user name or password"),
        (f"http://{'x' * 70}.example/photo", "names no host"),
        ("http://shop.invalid/photo", "names a host that does not exist"),
    ],
)
def test_url_is_refused_when_it_cannot_be_one(url: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def look_up(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "shop.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(InvalidInput) as caught:
        read_photo(url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/status/404", InvalidInput, "answered 404 Not Found"),
        ("/status/403", InvalidInput, "answered 403 Forbidden"),
        ("/status/304", InvalidInput, "answered 304"),
        ("/status/429", FetchFailed, "answered 429"),
        ("/status/503", FetchFailed, "answered 503"),
        ("/torn", FetchFailed, f"the connection ended after 1000 of {len(PHOTO)} bytes"),
        ("/cut/gzip", FetchFailed, "the connection ended after"),
        ("/bomb", ImageTooLarge, "more than 1 MB"),
        ("/endless", ImageTooLarge, "more than 1 MB"),
        ("/announced/2000000", ImageTooLarge, "more than 1 MB"),
        ("/cut/br", InvalidInput, "packed with 'br', unasked"),
        ("/text/json", UnreadableImage, "gives a JSON text ('no such product'), not a photo"),
        ("/text/json-nested", UnreadableImage, "gives a JSON text ('no such product'), not a photo"),
        ("/text/json-list", UnreadableImage, "gives a JSON text, not a photo"),
        ("/text/xml", UnreadableImage, "gives an XML text, not a photo"),
        ("/text/page", UnreadableImage, "gives a web page ('Red shoe & box'), not a photo. Pass the URL of the photo"),
        ("/text/xhtml", UnreadableImage, "gives a web page, not a photo"),
        ("/text/fragment", UnreadableImage, "gives a web page, not a photo"),
        ("/text/damaged", UnreadableImage, "gives a web page ('Red'), not a photo"),
        ("/text/form", UnreadableImage, "gives a sign-in page ('Red shoe & box'), a web page, not a photo"),
        ("/login", UnreadableImage, "gives a sign-in page ('Red shoe & box'), a web page, not a photo"),
        (f"/chain/{MAX_REDIRECTS + 1}", InvalidInput, f"more than {MAX_REDIRECTS} times"),
        ("/redirect/file:///etc/passwd", InvalidInput, "expected a URL that starts with http:// or https://"),
        ("/redirect/ftp://127.0.0.1/photo", InvalidInput, "expected a URL that starts with http:// or https://"),
    ],
)
def test_photo_is_refused_with_what_its_host_did(host: Host, path: str, kind: type[InvalidInput], said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        fetch(host.url(f"{path}?signature=secret" if path.startswith("/torn") else path))
    assert type(caught.value) is kind
    assert caught.value.retryable is (kind is FetchFailed)
    message = str(caught.value)
    assert said in message
    assert "secret" not in message
    assert message.endswith(".")
    assert len(message) < 400


@pytest.mark.parametrize("coding", ["gzip", "X-GZIP", "deflate", "identity", "aws-chunked", "br"])
def test_photo_arrives_when_its_host_packs_it_unasked_or_names_a_coding_it_has_not(host: Host, coding: str) -> None:
    assert fetch(host.url(f"/coded/{coding.lower()}")) == PHOTO


def test_packed_content_is_unpacked_no_further_than_the_limit(host: Host) -> None:
    tracemalloc.start()
    with pytest.raises(ImageTooLarge):
        fetch(host.url("/bomb"))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 20 * MAX_BYTES  # of 50 MB; a buffer doubles while it grows


def test_photo_that_a_page_names_is_told_and_not_fetched(host: Host) -> None:
    for path, photo in (("product", host.url("/img/red.jpg")), ("twitter", "https://cdn.shop.example/red.jpg")):
        with pytest.raises(InvalidInput) as caught:
            fetch(host.url(f"/text/{path}?signature=secret"))
        assert f"The page names the photo '{photo}' (og:image)." in str(caught.value)
        assert f"The URL '{host.url(f'/text/{path}')}' gives a web page" in str(caught.value)
        assert "secret" not in str(caught.value)
    assert len(host.requests) == 2


def test_page_behind_a_redirect_is_told_with_both_urls(host: Host) -> None:
    with pytest.raises(InvalidInput) as caught:
        fetch(host.url("/login"))
    first, last = host.url("/login"), host.url("/text/sign-in")
    assert f"The URL '{first}', redirected to '{last}', gives a sign-in page" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_drawing_is_left_to_the_server_to_name(host: Host) -> None:
    assert fetch(host.url("/text/svg")).startswith(b"<svg")


def test_photo_is_refused_when_it_is_one_byte_over_the_limit(host: Host) -> None:
    assert fetch(host.url("/photo"), max_bytes=len(PHOTO)) == PHOTO
    with pytest.raises(ImageTooLarge):
        fetch(host.url("/photo"), max_bytes=len(PHOTO) - 1)


def test_photo_is_refused_when_its_url_gives_nothing(host: Host) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_photo(host.url("/nothing?signature=secret"), private_urls=True)
    assert f"a URL that gives nothing ('{host.url('/nothing')}')" in str(caught.value)


def test_fetch_fails_when_nobody_listens() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    with pytest.raises(FetchFailed, match="Connection refused"):
        fetch(f"http://127.0.0.1:{port}/photo")
