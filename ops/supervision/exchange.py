"""Exchanges the models of a running server for those of a release. No request is lost, and no answer mixes the two.

1. The release's package replaces the old one; running models have already imported their code.
2. Its steps are loaded beside the old ones, under temporary names, and each ensemble is loaded with those steps. From
   here on every answer of an ensemble comes from the release.
3. Every model is loaded with its new files under its own name. No ensemble depends on these names meanwhile; otherwise
   Triton would reload it with some steps of each. The ensembles are loaded last and call the final names again.
Under every name, Triton answers from the old model until the new one is ready.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from ops.repository import list_models, models_folder, read_config
from ops.server.model_control import LoadRefused, ModelControl
from ops.server.serving_folder import ServingFolder


class Exchange:
    """One exchange.

    Args:
        serving: what the server is pointed at.
        control: of the server.
        repository: the release, or a model repository.
        digits: in the temporary names; others than those of an exchange that was killed.
        profile: of the server.
    """

    def __init__(
        self, serving: ServingFolder, control: ModelControl, repository: Path, digits: str, profile: str | None
    ) -> None:
        self._serving = serving
        self._control = control
        self._new = repository
        self._profile = profile
        self._models = list_models(self._new)
        steps_of = {model: _steps(models_folder(self._new) / model, profile) for model in self._models}
        self._ensembles = [model for model, steps in steps_of.items() if steps]
        self._beside = {step: f"{step}-{digits}" for step in sorted(set().union(*steps_of.values()))}

    def run(self) -> None:
        """Raises:
        OpsError: a model was refused, or the server does not answer.
        OSError: the server was restarted, and what it was pointed at is gone.
        """
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
