"""Reports the server of a state folder and stops it. Must not import `local_server`, so that it starts quickly."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import psutil

from ops.errors import OpsError
from ops.server import probe
from ops.server.processes import ProcessIdentity, find_stubs, kill_remains, remove_segments
from ops.server.state import ServerState, StateFolder

# Added to the upper limit of draining and unloading.
STOP_MARGIN_S = 5.0


@dataclass(frozen=True)
class Memory:
    """Memory of the server and its stubs; `pss_mb` counts shared pages once and is None when it is unreadable."""

    rss_mb: float
    pss_mb: float | None
    processes: int


@dataclass(frozen=True)
class Status:
    """The content of `status --json`; a stopped server has only a phase."""

    phase: Literal["ready", "starting", "recovering", "stopping", "not answering", "stopped"]
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


def read_status(state_dir: Path) -> Status:
    folder = StateFolder(state_dir)
    state = folder.read()
    if state is None or not state.is_alive() or state.server is None:
        return Status("stopped")
    is_ready = probe.is_ready(state.ports)
    answering = "ready" if is_ready else "not answering"
    return Status(
        phase=answering if state.phase == "ready" else state.phase,  # type: ignore[arg-type]
        pid=state.supervisor.pid,
        server_pid=state.server.pid,
        grpc=state.ports.grpc_target,
        http=state.ports.http_url,
        metrics=state.ports.metrics_url,
        repository=state.repository,
        release=state.release,
        profile=state.profile,
        cache_mb=state.cache_mb,
        uptime_s=(datetime.now(timezone.utc) - datetime.fromisoformat(state.started_at)).total_seconds(),
        models=tuple(probe.read_models(state.ports, folder.read_key())) if is_ready else (),
        memory=measure_memory(state.server, state.segment_prefix),
        log_file=state.log_file,
    )


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
    """Prints the status; returns 0 when the server is ready, else 1."""
    status = read_status(state_dir)
    if as_json:
        print(json.dumps(dataclasses.asdict(status), indent=2))
    else:
        print("\n".join(describe_status(status, state_dir)))
    return 0 if status.phase == "ready" else 1


def describe_status(status: Status, state_dir: Path) -> list[str]:
    if status.phase == "stopped":
        return [f"stopped (no server runs from {state_dir}); start one with `triptych serve`."]
    lines = [f"{status.phase}, pid {status.pid} (server {status.server_pid}), up {status.uptime_s:.0f} s"]
    lines += [f"  gRPC     {status.grpc}", f"  HTTP     {status.http}", f"  metrics  {status.metrics}"]
    lines += [f"  {model.name:<20} version {model.version}  {model.state}" for model in status.models]
    if status.memory is not None:
        shared = (
            "" if status.memory.pss_mb is None else f", {status.memory.pss_mb:.0f} MB with shared pages counted once"
        )
        lines.append(f"  memory   {status.memory.rss_mb:.0f} MB in {status.memory.processes} processes{shared}")
    lines.append(f"  cache    {f'{status.cache_mb} MB' if status.cache_mb else 'off'}")
    lines.append(f"  serves   {status.repository} (profile: {status.profile or 'default'})")
    if status.release is not None:
        lines.append(f"  release  {status.release}")
    lines.append(f"  log      {status.log_file}")
    return lines


def stop(state_dir: Path) -> None:
    """Stops the server of this folder and waits for its end; does nothing when no server runs.

    Raises:
        OpsError: the server did not stop.
    """
    folder = StateFolder(state_dir)
    state = folder.read()
    if state is None or not state.is_alive():
        print(f"No server runs from {state_dir}.")
        return
    timeout_s = state.stop_timeout_s + STOP_MARGIN_S
    if state.is_supervised():
        state.supervisor.send(signal.SIGTERM)
        if not state.supervisor.wait(timeout_s):
            state.supervisor.send(signal.SIGTERM)  # the second SIGTERM stops at once
            if not state.supervisor.wait(STOP_MARGIN_S):
                raise OpsError(
                    f"pid {state.supervisor.pid} did not stop within {timeout_s:g} s. Its log: {state.log_file}"
                )
    _clear(folder, state)
    print(f"Stopped (was pid {state.supervisor.pid}).")


def _clear(folder: StateFolder, state: ServerState) -> None:
    """Removes what a killed supervisor left behind."""
    kill_remains(state.server, state.segment_prefix)
    remove_segments(state.segment_prefix)
    remaining = folder.read()
    if remaining is not None and not remaining.is_alive():
        folder.clear()
