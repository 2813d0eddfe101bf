"""The model repository that Triton is pointed at: its own folders, with links to the files of another repository.

A release can therefore be read-only, because Python writes byte code here, and another release can replace it model by
model while the server runs. Code that resolves its own path (`Path(__file__).resolve()`) finds its own release.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format

from ops.repository import list_models, models_folder, package_folder, read_config
from ops.server.state import PRIVATE_FOLDER


class ServingFolder:
    """A folder with the layout of a repository.

    Its folders are real folders, because Triton detects a changed model by their modification time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, repository: Path) -> None:
        """Replaces the content with links to every model of `repository` and to its package."""
        self.clear()
        self.folder.mkdir(PRIVATE_FOLDER)
        models_folder(self.folder).mkdir(PRIVATE_FOLDER)
        self.put_package(repository)
        for model in list_models(repository):
            self.put(repository, model)

    def put_package(self, repository: Path) -> None:
        """Replaces the package by that of `repository`, if it has one.

        A running model keeps the code that it has imported; models loaded later import the new package.
        """
        here = package_folder(self.folder)
        staged, former = (here.with_name(f"{here.name}.{suffix}") for suffix in ("new", "old"))
        for left in (staged, former):  # left by a killed reload
            shutil.rmtree(left, ignore_errors=True)
        source = package_folder(repository).resolve()
        if source.is_dir():
            _link_files(source, staged)
        if here.is_dir():
            here.rename(former)
        if staged.is_dir():
            staged.rename(here)
        shutil.rmtree(former, ignore_errors=True)

    def put(self, repository: Path, model: str, name: str | None = None) -> None:
        """Replaces a model, or the model called `name`, by the model of `repository`."""
        self.remove(name or model)
        # Resolved, so that changing a link `current` does not change the files of a running server.
        _link_files((models_folder(repository) / model).resolve(), self.model(name or model))

    def put_renamed(
        self, repository: Path, model: str, profile: str | None, name: str, steps: Mapping[str, str]
    ) -> None:
        """Adds a model of `repository` under another name, and replaces the steps' names of an ensemble.

        Args:
            repository: holds the model.
            model: its name in the repository.
            profile: the profile whose config is used.
            name: the new name.
            steps: name of a step -> name that replaces it.
        """
        config = read_config(models_folder(repository) / model, profile)
        assert config is not None  # the repository was checked and its models loaded before
        config.name = name
        for step in config.ensemble_scheduling.step:
            step.model_name = steps.get(step.model_name, step.model_name)
        self.put(repository, model, name)
        folder = self.model(name)
        shutil.rmtree(folder / "configs", ignore_errors=True)
        (folder / "config.pbtxt").unlink()
        (folder / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")

    def touch(self, model: str) -> None:
        """Makes Triton treat an unchanged model as changed; otherwise Triton ignores the load of a loaded model."""
        for folder in (self.model(model), *self.model(model).rglob("*/")):
            if not folder.is_symlink():  # the files belong to the release
                os.utime(folder)

    def models(self) -> list[str]:
        return list_models(self.folder)

    def model(self, name: str) -> Path:
        """Returns the folder of a model."""
        return models_folder(self.folder) / name

    def remove(self, name: str) -> None:
        shutil.rmtree(self.model(name), ignore_errors=True)

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _link_files(source: Path, folder: Path) -> None:
    folder.mkdir(PRIVATE_FOLDER)
    for path in source.iterdir():
        if path.name == "__pycache__":
            continue
        if path.is_dir():
            _link_files(path, folder / path.name)
        else:
            (folder / path.name).symlink_to(path)
