"""Checks which control APIs a running server opens to callers without a key."""

from __future__ import annotations

import http.client
import json
from typing import Literal
from urllib.parse import urlsplit

from ops.errors import WrongUsage
from ops.server.launch import is_loopback
from ops.server.probe import ask

# APIs that change the server or read more than answers, by their names in --http-restricted-api.
APIS = {
    "model-repository": ("POST", "/v2/repository/index"),
    "shared-memory": ("GET", "/v2/systemsharedmemory/status"),
    "trace": ("GET", "/v2/trace/setting"),
    "logging": ("GET", "/v2/logging"),
}
Parts = tuple[Literal["ok", "warning", "error"], str, str, str]


def check_exposure(url: str) -> list[Parts]:
    """Returns findings (level, subject, sentence, fix) about the server at `http://HOST:PORT`.

    Raises:
        WrongUsage: the URL has another form.
    """
    address = urlsplit(url)
    try:
        port = address.port
    except ValueError:
        port = None
    if address.scheme != "http" or address.hostname is None or port is None:
        raise WrongUsage(f"--url is {url}; expected http://HOST:PORT, the HTTP endpoint of a server.")
    status, body = ask("GET", port, "/v2", host=address.hostname)
    if status == 0:
        return [("error", "server", f"{url} does not answer.", "Start the server, or correct --url.")]
    if status != http.client.OK:
        sentence = f"{url} answers {status} to /v2: another program, or a server that requires a key."
        return [("error", "server", sentence, "")]
    about = json.loads(body)
    found: list[Parts] = [("ok", "server", f"{about.get('name')} {about.get('version')} answers.", "")]
    open_apis = [
        api
        for api, (method, path) in APIS.items()
        if ask(method, port, path, host=address.hostname)[0] == http.client.OK
    ]
    if not open_apis:
        return [*found, ("ok", "access", f"Restricted: {', '.join(APIS)}.", "")]
    sentence = f"Everyone who reaches {url} can use {', '.join(open_apis)} without a key."
    if is_loopback(address.hostname):
        return [*found, ("ok", "access", f"{sentence} Only this machine reaches it.", "")]
    flags = " and ".join(advise_restriction(name, open_apis) for name in ("http", "grpc"))
    fix = f"Start the server with {flags}: an open control API allows running code."
    return [*found, ("error", "access", sentence, fix)]


def advise_restriction(protocol: str, apis: list[str]) -> str:
    """Returns the tritonserver option that restricts these APIs to callers with a key; empty for no API."""
    flag = {"http": "--http-restricted-api", "grpc": "--grpc-restricted-protocol"}[protocol]
    return f"{flag}={','.join(apis)}:KEY=VALUE" if apis else ""
