"""Replaces the release of a running server. No request is lost, and no answer mixes two releases.

1. A second server starts on the release, on free ports, and gets the release's golden requests. After a failure it is
   stopped, without effect on the running server.
2. The release's package replaces the old one; running models have already imported their code.
3. The steps of the new release are loaded beside the old ones, under temporary names, and each ensemble is loaded with
   those steps. From here on every answer of an ensemble comes from the new release.
4. Every model is loaded with its new files under its own name. No ensemble depends on these names meanwhile; otherwise
   Triton would reload it with some steps of each release. The ensembles are loaded last and call the final names again.
Under every name, Triton answers from the old model until the new one is ready.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path

from ops.errors import OpsError, ServerFailed
from ops.release import DIGITS, Release, open_release
from ops.repository import check_repository, list_models, models_folder, read_config
from ops.server.local_server import LocalServer
from ops.server.model_control import LoadRefused, ModelControl
from ops.server.serving_folder import ServingFolder
from ops.server.state import ServerState, StateFolder
from ops.settings import Settings
from ops.supervision.golden import find_differences

GOLDEN_TIMEOUT_S = 30.0
DIFFERENCES_SHOWN = 5


def reload(state_dir: Path, repository: Path | None, load_timeout_s: float) -> str:
    """Makes the server of `state_dir` serve the release.

    Args:
        state_dir: the server's state folder.
        repository: the release, or a link to it; None resolves the path that the server was started from again.
        load_timeout_s: of one model.

    Returns:
        A sentence that says what was done.

    Raises:
        WrongUsage: the folder is not a release.
        OpsError: no server of this version runs, or the release was refused; the server keeps serving the old one.
        ServerFailed: a model did not load in the running server; the message says what is served.
    """
    folder = StateFolder(state_dir)
    if not folder.folder.is_dir():
        raise OpsError(f"No server is ready in {folder.folder}. Start one with `triptych serve`.")
    with folder.loading():
        state = _read_ready(folder)
        named = (repository or Path(state.repository)).absolute()
        release = open_release(named, "The server keeps serving the old release.")
        if release.name == state.release:
            return f"Already serving {release.name}."
        check_repository(release.folder, state.profile)
        started_s = time.monotonic()
        _check_golden(release, state, load_timeout_s)
        control = ModelControl(state.ports, folder.read_key(), load_timeout_s)
        try:
            _Exchange(ServingFolder(folder.serving), control, release, state.profile).run()
        except LoadRefused as error:
            raise ServerFailed(
                f"{release.name} passed its checks, but then a model did not load: {error}. Each model answers from "
                "the old release or from the new one. Run the same command again."
            ) from error
        taken = dataclasses.replace(state, repository=str(named), release=release.name, folder=str(release.folder))
        folder.write(taken)
    before = f" in place of {state.release}" if state.release else ""
    return f"Serving {release.name}{before} after {time.monotonic() - started_s:.1f} s."


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


class _Exchange:
    """The exchange of one release for another in a running server."""

    def __init__(self, serving: ServingFolder, control: ModelControl, release: Release, profile: str | None) -> None:
        self._serving = serving
        self._control = control
        self._new = release.folder
        self._profile = profile
        self._models = list_models(self._new)
        steps_of = {model: _steps(models_folder(self._new) / model, profile) for model in self._models}
        self._ensembles = [model for model, steps in steps_of.items() if steps]
        # The digest keeps the remains of a killed reload apart from this one's models.
        self._beside = {step: f"{step}-{release.digest[:DIGITS]}" for step in sorted(set().union(*steps_of.values()))}

    def run(self) -> None:
        before = self._serving.models()
        were_ensembles = [model for model in before if _steps(self._serving.model(model), self._profile)]
        self._serving.put_package(self._new)
        for step, name in self._beside.items():
            self._serving.put_renamed(self._new, step, self._profile, name, self._beside)
        for model in self._ensembles:  # loading an ensemble loads its steps
            self._serving.put_renamed(self._new, model, self._profile, model, self._beside)
            self._control.load(model)
        self._remove([model for model in before if model not in (*self._models, *self._beside.values())])
        for model in self._models:
            self._serving.put(self._new, model)
        # Former ensembles come first: they must not depend on the models that are loaded next.
        for model in sorted(self._models, key=lambda model: model not in were_ensembles):
            if model not in self._beside:
                self._control.load(model)
        self._remove(list(self._beside.values()))

    def _remove(self, names: list[str]) -> None:
        for name in names:
            with contextlib.suppress(LoadRefused):  # the model was not loaded
                self._control.unload(name)
            self._serving.remove(name)


def _steps(model: Path, profile: str | None) -> list[str]:
    """Returns the models that an ensemble calls; empty for any other model."""
    config = read_config(model, profile)
    return [] if config is None else [step.model_name for step in config.ensemble_scheduling.step]
