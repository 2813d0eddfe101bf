"""Where the front listens, what it sends on to, and what it may write."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.front.limits import Limits

# A message of Envoy's configuration, as JSON.
Fields = dict[str, Any]


@dataclass(frozen=True)
class Address:
    host: str
    port: int


@dataclass(frozen=True)
class Addresses:
    """Where one side listens: the front, or Triton."""

    http: Address
    grpc: Address
    metrics: Address


@dataclass(frozen=True)
class Certificates:
    """TLS of the gRPC listener; files in PEM.

    Attributes:
        clients: authority of the callers' certificates; None asks for none.
    """

    certificate: Path
    private_key: Path
    clients: Path | None = None


@dataclass(frozen=True)
class AccessLog:
    """One line of JSON for each request, or for some of them.

    Attributes:
        path: of the file; /dev/stdout where a container's log is wanted.
        percent: of the requests.
    """

    path: str
    percent: float = 100.0


@dataclass(frozen=True)
class Front:
    """Everything that the configuration depends on.

    Attributes:
        listens: the public addresses.
        triton: the addresses of the server, which only the front reaches.
        admin: Unix socket of Envoy's administration, relative to its working directory.
        key: sent to Triton with each call; "" sends none.
        tls: of the gRPC listener.
        access_log: None writes none.
    """

    listens: Addresses
    triton: Addresses
    admin: str
    key: str = ""
    tls: Certificates | None = None
    access_log: AccessLog | None = None
    limits: Limits = dataclasses.field(default_factory=Limits)
