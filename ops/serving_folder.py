"""The model repository that the server is told to serve: folders of its own, full of links to the files of another one.

So a release can be read-only, and another release can take its place model by model while the server runs. A Python
model that looks beside itself (`Path(__file__).resolve()`) looks in its own release.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format

from ops.repository import list_models, read_config


class ServingFolder:
    """Real folders, so that Triton sees by their time that a model has changed, however old the files are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, repository: Path) -> None:
        """Links to every model of `repository`, and to nothing else."""
        self.clear()
        self.folder.mkdir(parents=True)
        for model in list_models(repository):
            self.put(repository, model)

    def put(self, repository: Path, model: str, name: str | None = None) -> None:
        """The model as it is there, in place of what has its name, or the other name, here."""
        self.remove(name or model)
        # Resolved: a `current` that is pointed elsewhere must not change files under a server that runs.
        _link_files((repository / model).resolve(), self.folder / (name or model))

    def put_renamed(
        self, repository: Path, model: str, profile: str | None, name: str, steps: Mapping[str, str]
    ) -> None:
        """The model under another name; an ensemble with its steps' names replaced.

        Args:
            repository: where it is.
            model: its name there.
            profile: whose config it gets.
            name: the new one.
            steps: name of a step -> the name to call instead.
        """
        config = read_config(repository / model, profile)
        assert config is not None  # `check_repository` and the loading of candidates come first
        config.name = name
        for step in config.ensemble_scheduling.step:
            step.model_name = steps.get(step.model_name, step.model_name)
        self.put(repository, model, name)
        folder = self.folder / name
        shutil.rmtree(folder / "configs", ignore_errors=True)
        (folder / "config.pbtxt").unlink()
        (folder / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")

    def touch(self, model: str) -> None:
        """Makes Triton take a model that has not changed for changed: else a load of it does nothing."""
        for folder in (self.folder / model, *(self.folder / model).rglob("*/")):
            if not folder.is_symlink():  # the files belong to the release
                os.utime(folder)

    def models(self) -> list[str]:
        return list_models(self.folder)

    def remove(self, name: str) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _link_files(source: Path, folder: Path) -> None:
    folder.mkdir()
    for path in source.iterdir():
        if path.name == "__pycache__":
            continue
        if path.is_dir():
            _link_files(path, folder / path.name)
        else:
            (folder / path.name).symlink_to(path)
