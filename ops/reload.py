"""`python -m ops reload`: a running server takes another release, losing no request and giving no half answer.

1. A server of its own is started on the release, on free ports, and asked its golden requests. Anything wrong: it is
   stopped, and neither the serving one nor its callers have seen anything of it.
2. The release's package takes the place of the old one: what runs has imported its code already.
3. Each ensemble is pointed at steps of the new release, loaded beside the old ones: from here it answers whole from the
   new release.
4. Every model takes its new files under its own name; no ensemble stands above those that answer, which Triton would
   otherwise reload with some steps new and some old. The ensembles, loaded last, call them again.
Under any name, Triton goes on answering from the old until the new is ready.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path

from ops.errors import OpsError, ServerFailed
from ops.golden import find_differences
from ops.local_server import LocalServer
from ops.model_control import LoadRefused, ModelControl
from ops.release import DIGITS, Release, open_release
from ops.repository import check_repository, list_models, models_folder, read_config
from ops.serving_folder import ServingFolder
from ops.settings import Settings
from ops.state import ServerState, StateFolder

GOLDEN_TIMEOUT_S = 30.0
DIFFERENCES_SHOWN = 5


def reload(state_dir: Path, repository: Path | None, load_timeout_s: float) -> str:
    """Makes the server of `state_dir` take the release.

    Args:
        state_dir: of the server.
        repository: the release, or a link to it; None is where the server was started from, looked up anew.
        load_timeout_s: for one model.

    Returns:
        A sentence about what was done.

    Raises:
        WrongUsage: no release is there.
        OpsError: no server of this version runs, or the release was refused; the old one serves on.
        ServerFailed: a model did not load the second time; the sentence says what serves.
    """
    folder = StateFolder(state_dir)
    if not folder.folder.is_dir():
        raise OpsError(f"No server is ready in {folder.folder}. Start one with `python -m ops serve`.")
    with folder.loading():
        state = _read_ready(folder)
        named = (repository or Path(state.repository)).absolute()
        release = open_release(named)
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
                f"{release.name} passed its checks, and then a model did not load: {error}. Each model answers from "
                "the old release or from the new. Run the same command again."
            ) from error
        taken = dataclasses.replace(state, repository=str(named), release=release.name, folder=str(release.folder))
        folder.write(taken)
    before = f" in place of {state.release}" if state.release else ""
    return f"Serving {release.name}{before} after {time.monotonic() - started_s:.1f} s."


def _read_ready(folder: StateFolder) -> ServerState:
    """Raises:
    OpsError: no server is ready, or an earlier version of this program started it.
    """
    state = folder.read()
    if state is None or state.phase != "ready" or not state.is_alive():
        raise OpsError(f"No server is ready in {folder.folder}. Start one with `python -m ops serve --repository ...`.")
    if state.folder is None:
        raise OpsError(
            "The server was started by an earlier version, which serves another layout. Stop it with "
            "`python -m ops stop` and start it anew."
        )
    return state


def _check_golden(release: Release, state: ServerState, startup_timeout_s: float) -> None:
    """Raises:
    OpsError: the release does not load, or does not answer what its manifest says.
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
    serves_on = f"{state.release or state.repository} serves on."
    try:
        with LocalServer(trial) as server:
            differences = find_differences(server.grpc_target, release.folder, release.golden, GOLDEN_TIMEOUT_S)
    except ServerFailed as error:
        raise OpsError(f"Refused {release.name}: {error}\n{serves_on}") from error
    if differences:
        shown = "; ".join(differences[:DIFFERENCES_SHOWN])
        raise OpsError(f"Refused {release.name}: its golden answers differ from its manifest. {shown}.\n{serves_on}")


class _Exchange:
    """One release for another in one running server."""

    def __init__(self, serving: ServingFolder, control: ModelControl, release: Release, profile: str | None) -> None:
        self._serving = serving
        self._control = control
        self._new = release.folder
        self._profile = profile
        self._models = list_models(self._new)
        self._ensembles = [model for model in self._models if self._steps(model)]
        steps = {step for model in self._ensembles for step in self._steps(model)}
        # By the digest: what a reload that was killed left is never taken for this one's.
        self._beside = {step: f"{step}-{release.digest[:DIGITS]}" for step in sorted(steps)}

    def run(self) -> None:
        before = self._serving.models()
        were_ensembles = [model for model in before if _steps(self._serving.model(model), self._profile)]
        self._serving.put_package(self._new)
        for step, name in self._beside.items():
            self._serving.put_renamed(self._new, step, self._profile, name, self._beside)
        for model in self._ensembles:  # to load an ensemble is to load its steps
            self._serving.put_renamed(self._new, model, self._profile, model, self._beside)
            self._control.load(model)
        self._remove([model for model in before if model not in (*self._models, *self._beside.values())])
        for model in self._models:
            self._serving.put(self._new, model)
        # What was an ensemble first: it must not stand above what is loaded next.
        for model in sorted(self._models, key=lambda model: model not in were_ensembles):
            if model not in self._beside:
                self._control.load(model)
        self._remove(list(self._beside.values()))

    def _steps(self, model: str) -> list[str]:
        return _steps(models_folder(self._new) / model, self._profile)

    def _remove(self, names: list[str]) -> None:
        for name in names:
            with contextlib.suppress(LoadRefused):  # it was not loaded
                self._control.unload(name)
            self._serving.remove(name)


def _steps(model: Path, profile: str | None) -> list[str]:
    """The models that an ensemble calls; none for any other model."""
    config = read_config(model, profile)
    return [] if config is None else [step.model_name for step in config.ensemble_scheduling.step]
