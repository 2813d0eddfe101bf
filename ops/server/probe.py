"""Reads readiness and models of a running server over HTTP.

Each request has its own connection, because Triton's shutdown waits for idle connections.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.settings import ADDRESS, Ports

TIMEOUT_S = 5.0
CONTROL_HEADER = "triptych-control-key"
_NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True)
class ModelState:
    """One entry of the repository index."""

    name: str
    version: str
    state: str


def is_ready(ports: Ports) -> bool:
    return all(
        ask("GET", port, path)[0] == http.client.OK
        for port, path in ((ports.http, "/v2/health/ready"), (ports.metrics, "/metrics"))
    )


def read_models(ports: Ports, control_key: str) -> list[ModelState]:
    """Returns the repository index; empty when the server does not answer."""
    status, body = ask("POST", ports.http, "/v2/repository/index", {CONTROL_HEADER: control_key})
    rows: list[dict[str, Any]] = json.loads(body) if status == http.client.OK else []
    return [ModelState(row["name"], str(row.get("version", "")), row.get("state", "UNAVAILABLE")) for row in rows]


def ask(
    method: str, port: int, path: str, headers: Mapping[str, str] = _NO_HEADERS, host: str = ADDRESS
) -> tuple[int, bytes]:
    """Returns status and body; status 0 when nothing answers."""
    try:
        return request(method, port, path, headers, host)
    except (OSError, http.client.HTTPException):
        return 0, b""


def request(
    method: str,
    port: int,
    path: str,
    headers: Mapping[str, str],
    host: str = ADDRESS,
    body: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> tuple[int, bytes]:
    """Returns status and body.

    Raises:
        OSError: nothing answers; TimeoutError, after `timeout_s`.
        http.client.HTTPException: the answer is not HTTP.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Connection": "close", **headers})
        response = connection.getresponse()
        return response.status, response.read()
