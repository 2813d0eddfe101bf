"""One node of Weaviate on loopback and free ports, as it was built by `tests.weaviate.build`."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.weaviate.build import SERVER

START_S = 60.0


@dataclass(frozen=True)
class Node:
    """Where it listens, and its process."""

    url: str
    grpc_port: int
    pid: int


@contextmanager
def weaviate_node(folder: Path, ports: tuple[int, ...] | None = None, key: str | None = None) -> Iterator[Node]:
    """Starts it over the data in the folder; stops it by its pid.

    Raises:
        RuntimeError: it did not become ready.
    """
    http, grpc, raft, raft_rpc, gossip, data = ports or free_ports()
    environment = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME")},
        "PERSISTENCE_DATA_PATH": str(folder / "data"),
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false" if key else "true",
        "DISABLE_TELEMETRY": "true",
        "CLUSTER_HOSTNAME": "node1",
        "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
        "CLUSTER_GOSSIP_BIND_PORT": str(gossip),
        "CLUSTER_DATA_BIND_PORT": str(data),
        "RAFT_PORT": str(raft),
        "RAFT_INTERNAL_RPC_PORT": str(raft_rpc),
        "RAFT_BOOTSTRAP_EXPECT": "1",
        "GRPC_PORT": str(grpc),
        "GO_PROFILING_DISABLE": "true",
        "LOG_LEVEL": "error",
    }
    if key:
        environment |= {
            "AUTHENTICATION_APIKEY_ENABLED": "true",
            "AUTHENTICATION_APIKEY_ALLOWED_KEYS": key,
            "AUTHENTICATION_APIKEY_USERS": "triptych",
        }
    with (folder / "weaviate.log").open("ab") as log:
        process = subprocess.Popen(
            [str(SERVER), "--scheme", "http", "--host", "127.0.0.1", "--port", str(http)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _await(f"http://127.0.0.1:{http}/v1/.well-known/ready", process, folder / "weaviate.log")
        yield Node(f"http://127.0.0.1:{http}", grpc, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def catalogue_in(node: Node) -> Iterator[None]:
    """Servers that are started inside keep their catalogue there."""
    said = {"TRIPTYCH_CATALOGUE_WEAVIATE": node.url, "TRIPTYCH_CATALOGUE_WEAVIATE_GRPC": str(node.grpc_port)}
    os.environ.update(said)
    try:
        yield
    finally:
        for name in said:
            del os.environ[name]


def free_ports() -> tuple[int, ...]:
    """Six of them; the last is that of the one before and 1, as Weaviate expects of its gossip and data ports."""
    while True:
        sockets = [socket.socket() for _ in range(5)]
        try:
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            ports = tuple(one.getsockname()[1] for one in sockets)
            with socket.socket() as next_to_it:
                next_to_it.bind(("127.0.0.1", ports[-1] + 1))
        except (OSError, OverflowError):
            continue
        finally:
            for one in sockets:
                one.close()
        return (*ports, ports[-1] + 1)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        try:
            with urlopen(url, timeout=1):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"Weaviate did not become ready in {START_S:g} s: {log.read_text()[-2000:]}")
