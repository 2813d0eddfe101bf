"""Which versions run here: of Triptych, of the server and its interpreter, of the release."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ops.errors import OpsError
from ops.release import find_release
from ops.server import probe
from ops.server.server_binary import SystemServer, find_server
from ops.server.state import StateFolder
from ops.settings import REPOSITORY

CLIENT, WHEEL = "triptych-client", "nvidia-pytriton"
# Distributions whose version decides what the server does.
PACKAGES = ("numpy", "onnxruntime", "pillow", "usearch", "tritonclient", WHEEL)


def read_versions(state_dir: Path) -> dict[str, Any]:
    """Returns Triptych's version, the packages', the server program's, and what the server of this folder serves.

    Without a server, `release` is that of the workspace's model repository, if it is a release.
    """
    state = StateFolder(state_dir).read()
    is_running = state is not None and state.is_supervised()
    repository = Path(state.folder or state.repository) if state is not None and is_running else REPOSITORY
    release = find_release(repository)
    return {
        "triptych": _version_of(CLIENT),
        "python": platform.python_version(),
        "server": _read_server(state.ports.http) if state is not None and is_running else None,
        "server_program": _find_program(),
        "repository": str(repository),
        "release": release.name if release is not None else None,
        "digest": f"sha256:{release.digest}" if release is not None else None,
        "packages": {name: found for name in PACKAGES if (found := _version_of(name)) is not None},
    }


def _version_of(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _read_server(http_port: int) -> str | None:
    """Returns Triton's own version, as a running server gives it."""
    status, body = probe.ask("GET", http_port, "/v2")
    if status != 200:
        return None
    try:
        about = json.loads(body)
        return f"{about['name']} {about['version']}"
    except (ValueError, KeyError, TypeError):
        return None


def _find_program() -> str:
    """Returns the program that `serve` would start, or why there is none."""
    try:
        found = find_server(REPOSITORY)
    except OpsError as error:
        return f"none: {error}"
    if isinstance(found, SystemServer):
        return f"{found.executable} (release {os.environ.get('NVIDIA_TRITON_SERVER_VERSION', 'unknown')})"
    return f"{WHEEL} {_version_of(WHEEL)}"


def describe_versions(versions: dict[str, Any]) -> list[str]:
    packages = ", ".join(f"{name} {number}" for name, number in versions["packages"].items())
    release = versions["release"] or f"none: {versions['repository']} is a model repository"
    return [
        f"Triptych {versions['triptych']}, Python {versions['python']}",
        f"  server    {versions['server'] or 'not running'}; program: {versions['server_program']}",
        f"  release   {release}" + (f", {versions['digest']}" if versions["digest"] else ""),
        f"  packages  {packages}",
    ]
