"""Reports the server of a state folder. Must not import `local_server`, so that it starts quickly."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, TypeAlias

import psutil

from ops.server import probe
from ops.server.processes import ProcessIdentity, find_stubs
from ops.server.reports.log_view import read_last_lines
from ops.server.reports.traffic import Traffic, describe_traffic, measure_traffic
from ops.server.state import ServerState, StateFolder

# Exit codes of `triptych status`.
READY, NOT_READY, CRASHED = 0, 1, 3
# Lines of each log that are shown of a crash.
LINES = 8


Phase: TypeAlias = Literal["ready", "starting", "recovering", "stopping", "not answering", "crashed", "stopped"]


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
        phase: "crashed": the supervisor ended without a clean stop, or the server ended and waits for its restart.
        restarts: since the supervisor started.
        last_death: how the server ended last.
        next_restart_at: ISO 8601, UTC; None unless the server waits for its restart.
        traffic: what it does at the moment, by model.
        last_lines: of the supervisor's and the server's log, after a crash.
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


def read_status(state_dir: Path) -> Status:
    """Takes a second if the server is ready: rates are measured meanwhile."""
    folder = StateFolder(state_dir)
    state = folder.read()
    if state is None:
        return Status("stopped")
    is_supervised = state.is_supervised()
    is_ready = is_supervised and state.server is not None and probe.is_ready(state.ports)
    is_crashed = not is_supervised or state.phase == "crashed"
    started_at = state.started_at if is_supervised and state.server is not None else ""
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
        models=tuple(probe.read_models(state.ports, folder.read_key())) if is_ready else (),
        memory=None if is_crashed or state.server is None else measure_memory(state.server, state.segment_prefix),
        log_file=state.log_file,
        restarts=state.restarts,
        last_death=state.last_death,
        next_restart_at=state.next_restart_at if is_supervised else None,
        traffic=measure_traffic(state.ports.metrics) if is_ready else (),
        supervisor_log_file=str(folder.supervisor_log_file),
        last_lines=_read_last_lines(folder) if is_crashed else (),
    )


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
    if status.phase == "stopped":
        return [f"stopped (no server runs from {state_dir}); start one with `triptych serve`."]
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
    lines.append(f"  log      {status.log_file}")
    return lines


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
    return [first, logs, *(f"    {line}" for line in status.last_lines)]
