"""Replaces the release of a running server. No request is lost, and no answer mixes two releases.

1. The release is verified as `triptych verify` does.
2. A second server starts on the release, on free ports, and gets the release's golden requests. After a failure it is
   stopped, without effect on the running server.
3. The running server's models are exchanged (`exchange`). If this process is killed meanwhile, the supervisor puts the
   release of the state file back; if the server ends, it is restarted with that release.
4. The state file names the release, unless the server was restarted meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ops.errors import OpsError, ServerFailed
from ops.release import ANY, DIGITS, Policy, Release, find_release, open_verified
from ops.repository import check_repository
from ops.server.local_server import LocalServer
from ops.server.model_control import LoadRefused, ModelControl
from ops.server.processes import ProcessIdentity
from ops.server.serving_folder import ServingFolder
from ops.server.state import ServerState, StateFolder
from ops.settings import Settings
from ops.supervision.exchange import Exchange
from ops.supervision.golden import find_differences
from ops.supervision.supervisor_log import SupervisorLog

GOLDEN_TIMEOUT_S = 30.0
DIFFERENCES_SHOWN = 5


def reload(state_dir: Path, repository: Path | None, load_timeout_s: float, policy: Policy = ANY) -> str:
    """Makes the server of `state_dir` serve the release.

    Args:
        state_dir: the server's state folder.
        repository: the release, or a link to it; None resolves the path that the server was started from again.
        load_timeout_s: of one model.
        policy: which releases may be served, in addition to what the server was started with.

    Returns:
        A sentence that says what was done.

    Raises:
        WrongUsage: the folder is not a release.
        OpsError: no server of this version runs, or the release was refused; the server keeps serving the old one.
        ServerFailed: the exchange did not end; the message says what is served.
    """
    folder = StateFolder(state_dir)
    if not folder.folder.is_dir():
        raise OpsError(f"No server is ready in {folder.folder}. Start one with `triptych serve`.")
    try:
        with folder.loading():
            state = _read_ready(folder)
            named = (repository or Path(state.repository)).absolute()
            key = policy.key or (Path(state.key) if state.key is not None else None)
            strictest = Policy(key, policy.require_signature or state.require_signature)
            with _logging(folder, named, key) as outcome:
                outcome.append(_reload(folder, state, named, load_timeout_s, strictest))
                return outcome[0]
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        raise ServerFailed(f"The reload did not end ({error.strerror or error}{place}). {_advise(folder)}") from error


@contextlib.contextmanager
def _logging(folder: StateFolder, named: Path, key: Path | None) -> Iterator[list[str]]:
    """Writes one entry about the reload to the supervisor's log, also about one that is refused.

    Yields:
        A list for the sentence that says what was done.
    """
    release = find_release(named)
    digest = f" (sha256:{release.digest})" if release is not None else ""
    signature = "signatures are not checked" if key is None else f"signature checked with {key}"
    log = SupervisorLog(folder.supervisor_log_file, is_new=False)
    outcome: list[str] = []
    try:
        yield outcome
    except BaseException as error:
        said = str(error) or type(error).__name__
        log.write(f"warning: reload of {named}{digest} failed, {signature}: {said}")
        raise
    log.write(f"reload of {named}{digest}, {signature}: {outcome[0]}")


def _reload(folder: StateFolder, state: ServerState, named: Path, load_timeout_s: float, policy: Policy) -> str:
    release = open_verified(named, "The server keeps serving the old release.", policy)
    if release.name == state.release:
        return f"Already serving {release.name}."
    check_repository(release.folder, state.profile)
    started_s = time.monotonic()
    _check_golden(release, state, load_timeout_s)
    _exchange(folder, state, release, load_timeout_s, is_signed=policy.key is not None)
    taken = folder.change(
        None,
        of_server=state.server,
        repository=str(named),
        release=release.name,
        folder=str(release.folder),
        reloading=None,
    )
    if not taken:
        raise ServerFailed(f"The server ended during the reload. {_advise(folder)}")
    before = f" in place of {state.release}" if state.release else ""
    return f"Serving {release.name}{before} after {time.monotonic() - started_s:.1f} s."


def _exchange(
    folder: StateFolder, state: ServerState, release: Release, load_timeout_s: float, *, is_signed: bool
) -> None:
    """Raises:
    ServerFailed: a model was refused, or the server ended; the supervisor puts the old release back.
    """
    key = folder.read_key()
    if not folder.change(None, of_server=state.server, reloading=ProcessIdentity.of(os.getpid())):
        raise ServerFailed(f"The server ended before the reload. {_advise(folder)}")
    control = ModelControl(state.ports, key, load_timeout_s)
    serving = ServingFolder(Path(state.serving or folder.serving))
    try:
        source = serving.copy(release) if is_signed else release.folder
        Exchange(serving, control, source, release.digest[:DIGITS], state.profile).run()
    except LoadRefused as error:
        raise ServerFailed(
            f"{release.name} passed its checks, but then a model did not load: {error}. {_advise(folder)}"
        ) from error
    except OpsError as error:
        raise ServerFailed(f"The reload did not end: {error} {_advise(folder)}") from error


def _advise(folder: StateFolder) -> str:
    """Returns what is served after a reload that did not end, and what to do."""
    state = folder.read()
    if state is None or not state.is_supervised():
        return f"Nothing is served from {folder.folder}. Start a server with `triptych serve`."
    return (
        f"{state.release or state.repository} is served again within some seconds: see `{folder.command('status')}`. "
        "Then run the same command again."
    )


def _read_ready(folder: StateFolder) -> ServerState:
    """Raises:
    OpsError: no server is ready, or an earlier version of `ops` started it.
    """
    state = folder.read()
    if state is None or state.phase != "ready" or not state.is_alive():
        raise OpsError(f"No server is ready in {folder.folder}. Start one with `triptych serve --repository ...`.")
    if state.folder is None:
        raise OpsError(
            "An earlier version, with another layout, started the server. Stop it with "
            f"`{folder.command('stop')}` and start it again."
        )
    return state


def _check_golden(release: Release, state: ServerState, startup_timeout_s: float) -> None:
    """Raises:
    OpsError: the release does not load, or its answers differ from its manifest.
    """
    trial = Settings(
        release.folder,
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        profile=state.profile,
        cache_mb=0,
        startup_timeout_s=startup_timeout_s,
    )
    still_served = f"The server keeps serving {state.release or state.repository}."
    try:
        with LocalServer(trial) as server:
            differences = find_differences(server.grpc_target, release.folder, release.golden, GOLDEN_TIMEOUT_S)
    except ServerFailed as error:
        raise OpsError(f"Refused {release.name}: {error}\n{still_served}") from error
    if differences:
        shown = "; ".join(differences[:DIFFERENCES_SHOWN])
        reason = f"its answers to the golden requests differ from its manifest. {shown}."
        raise OpsError(f"Refused {release.name}: {reason}\n{still_served}")
