"""Reports the server of a state folder. Must not import `local_server`, so that it starts quickly."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, TypeAlias

import psutil

from ops.errors import OpsError
from ops.server import probe
from ops.server.files.log_files import read_failed_start
from ops.server.processes import ProcessIdentity, find_stubs
from ops.server.reports.log_view import read_last_lines
from ops.server.reports.traffic import Traffic, describe_traffic, measure_traffic
from ops.server.state import ServerState, StateFolder
from ops.settings import Ports

# Exit codes of `triptych status`.
READY, NOT_READY, CRASHED = 0, 1, 3
# Lines of each log that are shown of a crash.
LINES = 8


Phase: TypeAlias = Literal[
    "ready", "starting", "recovering", "stopping", "not answering", "crashed", "stopped", "not described"
]
# A disk with less room costs logs, the state file and writes to the catalogue.
FULL_BYTES = 1 << 20


@dataclass(frozen=True)
class Memory:
    """Memory of the server and its stubs; `pss_mb` counts shared pages once and is None when it is unreadable."""

    rss_mb: float
    pss_mb: float | None
    processes: int


@dataclass(frozen=True)
class Status:
    """The content of `status --json`; a stopped server has only a phase.

    Attributes:
        phase: "crashed": the supervisor ended without a clean stop, or the server ended and waits for its restart;
            "not described": a process owns the folder, and no state file says what it serves.
        restarts: since the supervisor started.
        last_death: how the server ended last.
        next_restart_at: ISO 8601, UTC; None unless the server waits for its restart.
        traffic: what it does at the moment, by model.
        last_lines: of the supervisor's and the server's log, after a crash.
        damage: a sentence about a file of the state folder that is none of ours.
        front_restarts: since the supervisor started.
        last_front_death: how the front ended last.
        last_start: why the last start failed; None if it did not, or a server runs.
        disk: a sentence if the disk of the state folder is full.
    """

    phase: Phase
    pid: int | None = None
    server_pid: int | None = None
    grpc: str | None = None
    http: str | None = None
    metrics: str | None = None
    repository: str | None = None
    release: str | None = None
    profile: str | None = None
    cache_mb: int | None = None
    uptime_s: float | None = None
    models: tuple[probe.ModelState, ...] = ()
    memory: Memory | None = None
    log_file: str | None = None
    restarts: int = 0
    last_death: str | None = None
    next_restart_at: str | None = None
    traffic: tuple[Traffic, ...] = ()
    supervisor_log_file: str | None = None
    last_lines: tuple[str, ...] = ()
    damage: str | None = None
    front_restarts: int = 0
    last_front_death: str | None = None
    last_start: str | None = None
    disk: str | None = None


def read_status(state_dir: Path) -> Status:
    """Takes a second if the server is ready: rates are measured meanwhile."""
    folder = StateFolder(state_dir)
    state = folder.read_restored()
    if state is None:
        return _read_without_state(folder)
    is_supervised = state.is_supervised()
    is_ready = is_supervised and state.server is not None and probe.is_ready(state.ports)
    is_crashed = not is_supervised or state.phase == "crashed"
    started_at = state.started_at if is_supervised and state.server is not None else ""
    models, damage = _read_models(state.ports, folder) if is_ready else ((), None)
    return Status(
        phase="crashed" if is_crashed else _phase_of(state, is_ready=is_ready),
        pid=state.supervisor.pid,
        server_pid=None if state.server is None else state.server.pid,
        grpc=state.ports.grpc_target,
        http=state.ports.http_url,
        metrics=state.ports.metrics_url,
        repository=state.repository,
        release=state.release,
        profile=state.profile,
        cache_mb=state.cache_mb,
        uptime_s=_seconds_since(started_at) if started_at else None,
        models=models,
        memory=None if is_crashed or state.server is None else measure_memory(state.server, state.segment_prefix),
        log_file=state.log_file,
        restarts=state.restarts,
        last_death=state.last_death,
        next_restart_at=state.next_restart_at if is_supervised else None,
        traffic=measure_traffic(state.ports.metrics) if is_ready else (),
        supervisor_log_file=str(folder.supervisor_log_file),
        last_lines=_read_last_lines(folder) if is_crashed else (),
        damage=damage,
        front_restarts=state.front_restarts,
        last_front_death=state.last_front_death,
        disk=_describe_full_disk(folder),
    )


def _read_without_state(folder: StateFolder) -> Status:
    holder, damage, disk = folder.find_holder(), folder.find_damage(), _describe_full_disk(folder)
    if holder is not None:
        log_file = str(folder.log_file)
        return Status("not described", pid=holder.pid, damage=damage, disk=disk, log_file=log_file)
    return Status("stopped", damage=damage, disk=disk, last_start=read_failed_start(folder.supervisor_log_file))


def _describe_full_disk(folder: StateFolder) -> str | None:
    try:
        free = shutil.disk_usage(folder.folder).free
    except OSError:
        return None
    if free >= FULL_BYTES:
        return None
    return f"The disk of {folder.folder} has {free // 1024} kB free: logs and writes to the catalogue fail. Free space."


def _read_models(ports: Ports, folder: StateFolder) -> tuple[tuple[probe.ModelState, ...], str | None]:
    """Returns the models, and a sentence if the key for reading them is damaged."""
    try:
        return tuple(probe.read_models(ports, folder.read_key())), None
    except OpsError as error:
        return (), str(error)


def _phase_of(state: ServerState, *, is_ready: bool) -> Phase:
    if state.phase == "ready":
        return "ready" if is_ready else "not answering"
    return state.phase


def _seconds_since(at: str) -> float:
    return (datetime.now(timezone.utc) - datetime.fromisoformat(at)).total_seconds()


def _read_last_lines(folder: StateFolder) -> tuple[str, ...]:
    files = (folder.supervisor_log_file, folder.log_file)
    return tuple(f"{file.name}: {line}" for file in files for line in read_last_lines(file, LINES))


def measure_memory(server: ProcessIdentity, segment_prefix: str) -> Memory:
    processes = find_stubs(segment_prefix)
    with contextlib.suppress(psutil.Error):
        processes.append(psutil.Process(server.pid))
    rss_bytes, pss_bytes, is_pss_known = 0, 0, True
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            rss_bytes += process.memory_info().rss
            try:
                pss_bytes += process.memory_full_info().pss
            except psutil.AccessDenied:
                is_pss_known = False
    return Memory(round(rss_bytes / 2**20, 1), round(pss_bytes / 2**20, 1) if is_pss_known else None, len(processes))


def show_status(state_dir: Path, *, as_json: bool) -> int:
    """Prints the status; returns the exit code: 0 ready, 3 crashed, 1 everything else."""
    status = read_status(state_dir)
    if as_json:
        print(json.dumps(dataclasses.asdict(status), indent=2))
    else:
        print("\n".join(describe_status(status, state_dir)))
    return {"ready": READY, "crashed": CRASHED}.get(status.phase, NOT_READY)


def describe_status(status: Status, state_dir: Path) -> list[str]:
    if status.phase in ("stopped", "not described"):
        return _describe_without_state(status, state_dir)
    if status.phase == "crashed":
        return _describe_crash(status, state_dir)
    up = "" if status.uptime_s is None else f", up {status.uptime_s:.0f} s"
    lines = [f"{status.phase}, pid {status.pid} (server {status.server_pid}){up}"]
    lines += [f"  gRPC     {status.grpc}", f"  HTTP     {status.http}", f"  metrics  {status.metrics}"]
    lines += [f"  {model.name:<20} version {model.version}  {model.state}" for model in status.models]
    if status.phase == "ready":
        lines += describe_traffic(status.traffic)
    if status.memory is not None:
        shared = (
            "" if status.memory.pss_mb is None else f", {status.memory.pss_mb:.0f} MB with shared pages counted once"
        )
        lines.append(f"  memory   {status.memory.rss_mb:.0f} MB in {status.memory.processes} processes{shared}")
    lines.append(f"  cache    {f'{status.cache_mb} MB' if status.cache_mb else 'off'}")
    lines.append(f"  serves   {status.repository} (profile: {status.profile or 'default'})")
    if status.release is not None:
        lines.append(f"  release  {status.release}")
    if status.restarts:
        lines.append(f"  restarts {status.restarts}; the last time: {status.last_death}")
    if status.front_restarts:
        lines.append(f"  front    restarted {status.front_restarts} times; the last time: {status.last_front_death}")
    lines.append(f"  log      {status.log_file}")
    lines += [] if status.damage is None else [f"  damage   {status.damage}"]
    return lines if status.disk is None else [*lines, f"  disk     {status.disk}"]


def _describe_without_state(status: Status, state_dir: Path) -> list[str]:
    folder = StateFolder(state_dir)
    if status.phase == "not described":
        lines = [
            f"not described: a server runs or starts from {state_dir} (pid {status.pid}), and {folder.file.name} does "
            f"not say what it serves. Stop it with `{folder.command('stop')}`."
        ]
        lines += [] if status.damage is None else [f"  {status.damage}"]
    else:
        lines = [f"stopped (no server runs from {state_dir}); start one with `triptych serve`."]
        lines += [] if status.damage is None else [f"  {status.damage} The next start replaces it."]
        lines += [] if status.last_start is None else [f"  last start failed: {status.last_start}"]
    return lines if status.disk is None else [*lines, f"  {status.disk}"]


def _describe_crash(status: Status, state_dir: Path) -> list[str]:
    if status.next_restart_at is not None:
        first = f"crashed: the server ended and is restarted at {status.next_restart_at} (restarts: {status.restarts})."
        if status.last_death is not None:
            first += f"\n  {status.last_death}"
    else:
        first = (
            f"crashed: the supervisor (pid {status.pid}) ended without a clean stop; nothing is served. Start it again "
            f"with `triptych serve`, which removes what it left in {state_dir}."
        )
    logs = f"  logs     {status.supervisor_log_file}, {status.log_file}; their last lines:"
    if status.disk is not None:
        first += f"\n  {status.disk}"
    return [first, logs, *(f"    {line}" for line in status.last_lines)]
