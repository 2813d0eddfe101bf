"""Stops the server of a state folder, or has it start again with the same options."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

from ops.errors import OpsError, ServerFailed
from ops.release import Policy, check_served
from ops.repository import check_repository
from ops.server.processes import ProcessIdentity
from ops.server.remains import clear_remains
from ops.server.state import ServerState, StateFolder
from ops.settings import Settings

# Added to the upper limit of draining and unloading.
STOP_MARGIN_S = 5.0
POLL_S = 0.05
# The supervisor stops the server and executes `serve` with its own options again.
RESTART_SIGNAL = signal.SIGUSR1


def stop(state_dir: Path) -> str:
    """Stops the server of this folder and waits for its end; returns a sentence that says what was done.

    Raises:
        OpsError: the server did not stop.
    """
    folder = StateFolder(state_dir)
    state = folder.read_restored()
    if state is None:
        return _stop_holder(folder)
    is_supervised = state.is_supervised()
    if is_supervised:
        _end(state.supervisor, state.stop_timeout_s + STOP_MARGIN_S, state.log_file)
    _clear(folder)
    if is_supervised:
        return f"Stopped (was pid {state.supervisor.pid})."
    return f"No server runs from {state_dir}; removed what the killed supervisor (pid {state.supervisor.pid}) left."


def _stop_holder(folder: StateFolder) -> str:
    """Stops the process that owns a folder without a state."""
    holder, damage = folder.find_holder(), folder.find_damage()
    if holder is None:
        return f"No server runs from {folder.folder}." + (f" {damage} The next start replaces it." if damage else "")
    settings = Settings()
    _end(holder, settings.drain_timeout_s + settings.exit_timeout_s + STOP_MARGIN_S, str(folder.log_file))
    _clear(folder)
    return f"Stopped (was pid {holder.pid}, which {folder.file.name} did not name). {damage or ''}".rstrip()


def _end(supervisor: ProcessIdentity, timeout_s: float, log_file: str) -> None:
    """Raises:
    OpsError: it did not end.
    """
    supervisor.send(signal.SIGTERM)
    if not supervisor.wait(timeout_s):
        supervisor.send(signal.SIGTERM)  # the second SIGTERM stops at once
        if not supervisor.wait(STOP_MARGIN_S):
            raise OpsError(f"pid {supervisor.pid} did not stop within {timeout_s:g} s. Its log: {log_file}")


def _clear(folder: StateFolder) -> None:
    """Removes what a killed supervisor left behind, unless another server has taken the folder."""
    with contextlib.suppress(OpsError):
        folder.claim()
        try:
            clear_remains(folder, unload_timeout_s=0.0)
        finally:
            folder.release()


def restart(state_dir: Path, timeout_s: float) -> str:
    """Has the server of this folder stop without losing a request and start again; returns a sentence.

    Raises:
        OpsError: no server runs, or what it would serve is refused; the server goes on.
        ServerFailed: the server did not become ready again.
    """
    folder = StateFolder(state_dir)
    state = folder.read_restored()
    if state is None or not state.is_supervised():
        raise OpsError(f"No server runs from {state_dir}. Start one with `triptych serve`.")
    if not state.arguments:
        raise OpsError("A program started this server, not `triptych serve`. Restart the program.")
    served = Path(state.repository)
    check_repository(served, state.profile)
    check_served(served, Policy(Path(state.key) if state.key is not None else None, state.require_signature))
    started_s = time.monotonic()
    state.supervisor.send(RESTART_SIGNAL)
    again = _wait_until_again(folder, state, timeout_s + state.stop_timeout_s + STOP_MARGIN_S)
    name = again.release or again.repository
    return f"Serving {name} again after {time.monotonic() - started_s:.1f} s: gRPC {again.ports.grpc_target}."


def _wait_until_again(folder: StateFolder, before: ServerState, timeout_s: float) -> ServerState:
    deadline_s = time.monotonic() + timeout_s
    log = f"Its log: {folder.supervisor_log_file}"
    while time.monotonic() < deadline_s:
        state = folder.read()
        if state is not None and state.segment_prefix != before.segment_prefix and state.phase == "ready":
            return state
        if not before.supervisor.is_running():
            raise ServerFailed(f"The server did not start again; nothing is served from {folder.folder}. {log}")
        time.sleep(POLL_S)
    raise ServerFailed(f"The server was not ready again within {timeout_s:g} s. {log}")
