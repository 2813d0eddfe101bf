"""What a running server answers to a caller without a key: control APIs must be restricted where others reach it."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

from ops.errors import WrongUsage

TIMEOUT_S = 5.0
# Each a way to change the server or read more than its answers; what Triton calls it in --http-restricted-api.
APIS = {
    "model-repository": ("POST", "/v2/repository/index"),
    "shared-memory": ("GET", "/v2/systemsharedmemory/status"),
    "trace": ("GET", "/v2/trace/setting"),
    "logging": ("GET", "/v2/logging"),
}
Parts = tuple[Literal["ok", "warning", "error"], str, str, str]


def check_exposure(url: str) -> list[Parts]:
    """Findings (level, subject, sentence, fix) about the server at `http://HOST:PORT`.

    Raises:
        WrongUsage: that is no such address.
    """
    address = urlsplit(url)
    try:
        port = address.port
    except ValueError:
        port = None
    if address.scheme != "http" or address.hostname is None or port is None:
        raise WrongUsage(f"--url is {url}; expected http://HOST:PORT of a server's HTTP endpoint.")
    status, body = _ask(address.hostname, port, "GET", "/v2")
    if status == 0:
        return [("error", "server", f"{url} does not answer.", "Start it, or correct the address.")]
    if status != http.client.OK:
        return [("error", "server", f"{url} answers {status} to /v2; it is no Triton, or asks for a key.", "")]
    about = json.loads(body)
    found: list[Parts] = [("ok", "server", f"{about.get('name')} {about.get('version')} answers.", "")]
    open_apis = [
        api for api, (method, path) in APIS.items() if _ask(address.hostname, port, method, path)[0] == http.client.OK
    ]
    if not open_apis:
        return [*found, ("ok", "access", f"Restricted: {', '.join(APIS)}.", "")]
    sentence = f"Anyone who reaches {url} may use {', '.join(open_apis)}."
    if is_loopback(address.hostname):
        return [*found, ("ok", "access", f"{sentence} It is on this machine alone.", "")]
    flags = " and ".join(advise_restriction(name, open_apis) for name in ("http", "grpc"))
    return [*found, ("error", "access", sentence, f"Start it with {flags}; an open control API runs code.")]


def advise_restriction(protocol: str, apis: list[str]) -> str:
    """The option of tritonserver that keeps these APIs from whoever has no key; empty for none."""
    flag = {"http": "--http-restricted-api", "grpc": "--grpc-restricted-protocol"}[protocol]
    return f"{flag}={','.join(apis)}:KEY=VALUE" if apis else ""


def refuse_open(options: Sequence[str]) -> None:
    """Raises:
    WrongUsage: these options of tritonserver let other machines reach it without TLS.
    """
    values = dict(option.partition("=")[::2] for option in options)  # the last of an option counts
    has_tls = values.get("--grpc-use-ssl", "").lower() in ("true", "1")
    for name in ("http", "grpc", "metrics"):
        address = values.get(f"--{name}-address", "")
        if not is_loopback(address) and not (name == "grpc" and has_tls):
            raise WrongUsage(
                f"--{name}-address is {address or 'not set'}: other machines reach the server, and without encryption. "
                "Put what encrypts before it, or add --open-to-network where the network is trusted."
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that host; a name that is not known counts as others'."""
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(address).is_loopback for address in addresses)


def _ask(host: str, port: int, method: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
