"""`python -m ops reload`: a running server takes another release, losing no request and giving no half answer.

1. Every model of the new release is loaded under a name of its own, and the golden requests are asked there. Anything
   wrong: these names go, nobody has seen them.
2. Each ensemble is pointed at them: from here it answers from the new release, whole.
3. Every model takes its new files under its own name. No ensemble stands above those that answer, which Triton would
   otherwise reload with some steps new and some old.
4. The ensembles, loaded last, call them again, and the names of step 1 go.
Under any name, Triton goes on answering from the old until the new is ready.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ops.errors import OpsError, ServerFailed
from ops.golden import find_differences
from ops.model_control import LoadRefused, ModelControl
from ops.release import DIGITS, Release, open_release
from ops.repository import check_repository, list_models, read_config
from ops.serving_folder import ServingFolder
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
        OpsError: no server runs, or the release was refused; the old one serves on.
        ServerFailed: a model did not load the second time; the sentence says what serves.
    """
    folder = StateFolder(state_dir)
    with _locked(folder):
        state = folder.read()
        if state is None or state.phase != "ready" or not state.is_alive():
            raise OpsError(f"No server is ready in {state_dir}. Start one with `python -m ops serve --repository ...`.")
        named = (repository or Path(state.repository)).absolute()
        release = open_release(named)
        if release.name == state.release:
            return f"Already serving {release.name}."
        check_repository(release.folder, state.profile)
        started_s = time.monotonic()
        control = ModelControl(state.ports, folder.read_key(), load_timeout_s)
        _Exchange(ServingFolder(folder.serving), control, release, state).run()
        folder.write(dataclasses.replace(state, repository=str(named), release=release.name))
    before = f" in place of {state.release}" if state.release else ""
    return f"Serving {release.name}{before} after {time.monotonic() - started_s:.1f} s."


@contextlib.contextmanager
def _locked(folder: StateFolder) -> Iterator[None]:
    """Raises:
    OpsError: another reload is at work.
    """
    if not folder.folder.is_dir():
        raise OpsError(f"No server is ready in {folder.folder}. Start one with `python -m ops serve`.")
    lock = os.open(folder.folder / "reload.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise OpsError("Another reload is at work. Try again when it is done.") from error
    finally:
        os.close(lock)


class _Exchange:
    """One release for another in one running server."""

    def __init__(self, serving: ServingFolder, control: ModelControl, release: Release, state: ServerState) -> None:
        self._serving = serving
        self._control = control
        self._release = release
        self._state = state
        repository = release.folder
        self._models = list_models(repository)
        self._ensembles = [model for model in self._models if _steps(repository / model, state.profile)]
        # By the digest: what a reload that was killed left is never taken for this one's.
        self._candidates = {model: f"{model}-{release.digest[:DIGITS]}" for model in self._models}
        steps = {step for model in self._ensembles for step in _steps(repository / model, state.profile)}
        # To load an ensemble is to load its steps.
        self._to_load = [model for model in self._models if model not in steps]

    def run(self) -> None:
        try:
            self._load_candidates()
            self._check_golden()
        except BaseException:
            self._remove_candidates()
            raise
        try:
            self._take_over()
        except LoadRefused as error:
            raise ServerFailed(
                f"The release passed its checks, and then a model did not load: {error}. Each model answers from the "
                "old release or from the new. Run the same command again."
            ) from error

    def _load_candidates(self) -> None:
        for model, name in self._candidates.items():
            self._serving.put_renamed(self._release.folder, model, self._state.profile, name, self._candidates)
        for model in self._to_load:
            try:
                self._control.load(self._candidates[model])
            except LoadRefused as error:
                raise OpsError(
                    f"Refused {self._release.name}: its model {model} does not load: {error}. {self._old()} serves on."
                ) from error

    def _check_golden(self) -> None:
        golden = self._release.golden
        name = self._candidates.get(golden["model"])
        if name is None:
            raise OpsError(f"Refused {self._release.name}: it has no model {golden['model']}. {self._old()} serves on.")
        target = self._state.ports.grpc_target
        differences = find_differences(target, name, self._release.folder, golden, GOLDEN_TIMEOUT_S)
        if differences:
            shown = "; ".join(differences[:DIFFERENCES_SHOWN])
            raise OpsError(
                f"Refused {self._release.name}: its golden answers differ from its manifest. {shown}. "
                f"{self._old()} serves on."
            )

    def _take_over(self) -> None:
        before = self._serving.models()
        were_ensembles = [model for model in before if _steps(self._serving.folder / model, self._state.profile)]
        for model in self._ensembles:
            self._serving.put_renamed(self._release.folder, model, self._state.profile, model, self._candidates)
            self._control.load(model)
        kept = {*self._models, *self._candidates.values()}
        self._remove([model for model in before if model not in kept])
        for model in self._models:
            self._serving.put(self._release.folder, model)
        # What was an ensemble first: it must not stand above what is loaded next.
        for model in sorted(self._to_load, key=lambda model: model not in were_ensembles):
            self._control.load(model)
        self._remove_candidates()

    def _remove_candidates(self) -> None:
        """Ensembles before their steps."""
        models = sorted(self._models, key=lambda model: model not in self._to_load)
        self._remove([self._candidates[model] for model in models])

    def _remove(self, names: list[str]) -> None:
        for name in names:
            with contextlib.suppress(LoadRefused):  # it was never loaded
                self._control.unload(name)
            self._serving.remove(name)

    def _old(self) -> str:
        return self._state.release or self._state.repository


def _steps(model: Path, profile: str | None) -> list[str]:
    """The models that an ensemble calls; none for any other model."""
    config = read_config(model, profile)
    return [] if config is None else [step.model_name for step in config.ensemble_scheduling.step]
