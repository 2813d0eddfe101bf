"""Checks what a start needs of the machine: state folder, memory, disk, packages; finds one's own running server."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import psutil

from ops.errors import OpsError
from ops.finding import Finding
from ops.proxies import LOOPBACK, find_catching
from ops.repository import count_instances, models_folder, read_python_models
from ops.server.front_process import find_envoy
from ops.server.launch import refuse_unquoted
from ops.server.reports.status import read_status
from ops.server.server_binary import WheelServer, find_server, refuse_separators
from ops.server.state import StateFolder
from ops.settings import ADDRESS, Settings

# Resident memory on Triton 2.51.0 with the models here (2-core machine): the server, an idle Python process with
# numpy and ONNX Runtime, and what a network takes of its file's size once it is loaded.
SERVER_BYTES, PROCESS_BYTES, FILE_FACTOR = 120 << 20, 100 << 20, 2
# A limit of a container; "max" or a number near 2**63 is none.
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
CGROUP_USES = (Path("/sys/fs/cgroup/memory.current"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"))
# The server's Python backend, logs and a small catalogue.
DISK_BYTES = 200 << 20
# What the models import -> its distribution.
PACKAGES = {
    "numpy": "numpy",
    "PIL": "pillow",
    "onnxruntime": "onnxruntime",
    "lmdb": "lmdb",
    "usearch": "usearch",
    "blake3": "blake3",
}


def find_own_server(state_dir: Path) -> Finding | None:
    """Returns what runs, or crashed, in this state folder; None if nothing does."""
    status = read_status(state_dir)
    if status.phase == "stopped":
        return None
    where = f"pid {status.pid}, gRPC {status.grpc}, HTTP {status.http}"
    folder = StateFolder(state_dir.absolute())
    if status.phase == "ready":
        return Finding("ok", "server", f"Your server of {state_dir} is ready: {where}. A second one needs --state-dir.")
    if status.phase == "crashed" and status.next_restart_at is None:
        sentence = f"The supervisor of {state_dir} (pid {status.pid}) ended without a clean stop."
        return Finding("warning", "server", sentence, f"See `{folder.command('logs')}`; `triptych serve` starts anew.")
    level = "error" if status.phase in ("crashed", "not answering") else "warning"
    sentence = f"Your server of {state_dir} is not ready ({status.phase}): {where}."
    return Finding(level, "server", sentence, f"See `{folder.command('status')}`.")  # type: ignore[arg-type]


def check_state_folder(state_dir: Path) -> Finding:
    """Checks whether this user can write the state folder."""
    existing = state_dir.absolute()
    while not existing.exists():
        existing = existing.parent
    fix = "Name another folder with --state-dir."
    if not existing.is_dir() or not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        return Finding("error", "permissions", f"{existing} cannot be written.", fix)
    owner = existing.stat().st_uid
    if existing == state_dir.absolute() and owner != os.geteuid():
        sentence = f"{existing} belongs to the user with id {owner}, who can read keys and photos there."
        return Finding("warning", "permissions", sentence, fix)
    return Finding("ok", "permissions", f"{state_dir} can be written, and only you will read it.")


def check_paths(settings: Settings, state_dir: Path) -> list[Finding]:
    """Checks whether a server could use the names of its folders: all letters, but for separators in search paths."""
    try:
        server = find_server(settings.repository)
        if isinstance(server, WheelServer):
            refuse_separators(server, state_dir.absolute())
        refuse_unquoted(settings.server_options)
    except OpsError as error:
        return [Finding("error", "paths", str(error))]
    return [Finding("ok", "paths", f"Every folder that {server.executable.name} needs has a name that it can use.")]


def check_damage(state_dir: Path) -> list[Finding]:
    """Returns a finding for each file of the state folder that is none of ours; a start replaces them."""
    damage = StateFolder(state_dir.absolute()).find_damage()
    return [] if damage is None else [Finding("warning", "state", damage, "`triptych serve` replaces it.")]


def check_proxies(variables: Mapping[str, str]) -> Finding:
    """Checks whether programs of this environment would ask a proxy for the server on this machine."""
    catching = find_catching(variables)
    if not catching:
        return Finding("ok", "proxies", f"No proxy gets requests to {ADDRESS}.")
    sentence = (
        f"{' and '.join(catching)} would send the requests of curl and other programs for {ADDRESS} to a proxy; "
        "`triptych` itself asks none for this machine."
    )
    return Finding("warning", "proxies", sentence, f"Run `export no_proxy={','.join(LOOPBACK)}`.")


def check_memory(repository: Path, profile: str | None, free_bytes: int | None = None) -> Finding:
    """Checks whether the models fit into the memory that is left."""
    needed_bytes = SERVER_BYTES
    for model, config in read_python_models(repository, profile).items():
        files_bytes = sum(path.stat().st_size for path in (models_folder(repository) / model).rglob("*.onnx"))
        needed_bytes += count_instances(config) * (PROCESS_BYTES + FILE_FACTOR * files_bytes)
    free_bytes = _free_memory() if free_bytes is None else free_bytes
    sentence = (
        f"{free_bytes / 2**20:,.0f} MiB of memory are left; the server needs some {needed_bytes / 2**20:,.0f} MiB."
    )
    fix = "Lower the instance counts with `triptych build --cores 1`, or stop other programs."
    if free_bytes >= needed_bytes:
        return Finding("ok", "memory", sentence)
    # The estimate is not exact, so only what is far off is an error.
    return Finding("error" if 2 * free_bytes < needed_bytes else "warning", "memory", sentence, fix)


def _free_memory() -> int:
    free_bytes = int(psutil.virtual_memory().available)
    for limit, use in zip(CGROUP_LIMITS, CGROUP_USES, strict=True):
        with contextlib.suppress(OSError, ValueError):
            free_bytes = min(free_bytes, max(0, int(limit.read_text()) - int(use.read_text())))
    return free_bytes


def check_disk(state_dir: Path, cache_mb: int, free_bytes: int | None = None) -> Finding:
    """Checks whether the file system of the state folder has room for the server's files and the answer cache."""
    existing = state_dir.absolute()
    while not existing.exists():
        existing = existing.parent
    needed_bytes = DISK_BYTES + (cache_mb << 20)
    free_bytes = shutil.disk_usage(existing).free if free_bytes is None else free_bytes
    sentence = f"{free_bytes / 2**20:,.0f} MiB are free at {existing}; a start needs {needed_bytes / 2**20:,.0f} MiB."
    if free_bytes >= needed_bytes:
        return Finding("ok", "disk", sentence)
    return Finding("error", "disk", sentence, "Free some space, lower --cache-mb, or use another --state-dir.")


def check_packages() -> list[Finding]:
    """Checks whether the front and what the models import are installed."""
    missing = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    found = (
        [Finding("error", "packages", f"Not installed: {', '.join(missing)}.", "Run `make setup`.")] if missing else []
    )
    try:
        find_envoy()
    except OpsError as error:
        found.append(Finding("error", "packages", str(error)))
    return found or [Finding("ok", "packages", f"{', '.join(PACKAGES.values())} and Envoy are installed.")]
