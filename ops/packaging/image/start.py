"""Starts Triton and, before it, Envoy: exit code of Triton, or 1 if Envoy ended first.

    python3 -I start.py front.json tritonserver --model-repository=/models/models ...

Envoy gets the configuration, Triton the addresses on loopback that it names, so callers reach the front alone. The APIs
that change the server need a key, random at each start; TRIPTYCH_ADMIN_KEY_FILE names a file with one. A signal to stop
goes to Triton, which ends its requests; Envoy follows. Runs inside the image, with the standard library only; a pod of
the chart has the two in containers of their own instead.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

RESTRICTED = "shared-memory,model-repository,trace,logging"
KEY_FILE = "TRIPTYCH_ADMIN_KEY_FILE"
PROTOCOLS = ("http", "grpc", "metrics")
# Written at the start: the image's files belong to root and may be read-only.
FOLDER = Path("/tmp/triptych-front")


def server_options(config: dict[str, Any], key: str) -> list[str]:
    """Returns Triton's addresses, which are those of the front's clusters, and its closed APIs."""
    clusters = {cluster["name"]: cluster for cluster in config["static_resources"]["clusters"]}
    options = []
    for protocol in PROTOCOLS:
        (group,) = clusters[f"triton_{protocol}"]["load_assignment"]["endpoints"]
        (endpoint,) = group["lb_endpoints"]
        address = endpoint["endpoint"]["address"]["socket_address"]
        options += [f"--{protocol}-address={address['address']}", f"--{protocol}-port={address['port_value']}"]
    closed = f"{RESTRICTED}:triptych-key={key}"
    return [*options, f"--http-restricted-api={closed}", f"--grpc-restricted-protocol={closed}"]


def place(config: dict[str, Any], folder: Path) -> Path:
    """Writes the configuration with its administration below `folder`, which only this user enters."""
    folder.mkdir(mode=0o700, exist_ok=True)
    config["admin"]["address"]["pipe"]["path"] = str(folder / "admin.sock")
    text = json.dumps(config).replace("/run/front/admin.sock", str(folder / "admin.sock"))
    (folder / "front.json").write_text(text, encoding="utf-8")
    return folder / "front.json"


def run(triton: list[str], front: list[str]) -> int:
    """Runs both until one ends; the other ends too."""
    # The front's Python package is that of the image, not one of a release.
    proxy = subprocess.Popen(front, env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"})
    server = subprocess.Popen(triton)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.terminate())
    ended, status = os.waitpid(-1, 0)
    while ended not in (server.pid, proxy.pid):  # the first process of a container inherits orphans
        ended, status = os.waitpid(-1, 0)
    if ended == server.pid:
        proxy.terminate()
        proxy.wait()
        return os.waitstatus_to_exitcode(status)
    print(f"The front ended with {os.waitstatus_to_exitcode(status)}; Triton is stopped.", file=sys.stderr)
    server.terminate()
    server.wait()
    return 1


def main(words: list[str]) -> int:
    config: dict[str, Any] = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    named = os.environ.get(KEY_FILE)
    key = Path(named).read_text(encoding="ascii").strip() if named else secrets.token_hex(32)
    if not key:
        print(f"The file {named} of {KEY_FILE} is empty, expected a key.", file=sys.stderr)
        return 1
    front = ["envoy", "--config-path", str(place(config, FOLDER)), "--concurrency", "1", "--disable-hot-restart"]
    return run([*words[1:], *server_options(config, key)], [*front, "--log-level", "warning"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
