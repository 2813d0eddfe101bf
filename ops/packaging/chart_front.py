"""The front's configuration for the chart: every address of the pod, Triton on its loopback."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ops.front.configuration import bootstrap
from ops.front.settings import AccessLog, Address, Addresses, Certificates, Front

ANY, LOOPBACK = "0.0.0.0", "127.0.0.1"
# The pod's public ports, and those of the server beside it.
PUBLIC = {"http": 8000, "grpc": 8001, "metrics": 8002}
INNER = {"http": 18000, "grpc": 18001, "metrics": 18002}
# A folder in memory that only the front's container mounts.
ADMIN = "/run/front/admin.sock"
# Where the chart mounts the Secret of triton.grpc.tls.
CERTIFICATES = Path("/etc/triptych/tls")


def render() -> str:
    """Returns the file that the chart mounts; the chart sets the share of requests in the access log."""
    return json.dumps(bootstrap(_front()), indent=2) + "\n"


def render_tls() -> str:
    """Returns the transport sockets of the gRPC listener; the chart inserts the one that its values ask for."""
    own = CERTIFICATES / "tls.crt", CERTIFICATES / "tls.key"
    callers = {"tls": None, "mutual": CERTIFICATES / "ca.crt"}
    sockets = {name: _grpc_socket(Certificates(*own, clients)) for name, clients in callers.items()}
    return json.dumps(sockets, indent=2) + "\n"


def _grpc_socket(certificates: Certificates) -> Any:
    front = dataclasses.replace(_front(), tls=certificates)
    (socket,) = [
        chain["transport_socket"]
        for listener in bootstrap(front)["static_resources"]["listeners"]
        for chain in listener["filter_chains"]
        if "transport_socket" in chain
    ]
    return socket


def _front() -> Front:
    return Front(
        listens=Addresses(**{name: Address(ANY, port) for name, port in PUBLIC.items()}),
        triton=Addresses(**{name: Address(LOOPBACK, port) for name, port in INNER.items()}),
        admin=ADMIN,
        access_log=AccessLog("/dev/stdout", percent=0),
    )
