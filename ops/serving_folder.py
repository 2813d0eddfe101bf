"""The model repository that the server is told to serve: folders of its own, full of links to the files of another one.

So a release can be read-only (byte code is written here), and another release can take its place model by model while
the server runs. Code that looks beside itself (`Path(__file__).resolve()`) looks in its own release.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format

from ops.repository import list_models, models_folder, package_folder, read_config


class ServingFolder:
    """Laid out as a repository. Its folders are real: by their time Triton sees that a model has changed, however old
    the files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, repository: Path) -> None:
        """Links to every model of `repository` and to its package, and to nothing else."""
        self.clear()
        models_folder(self.folder).mkdir(parents=True)
        self.put_package(repository)
        for model in list_models(repository):
            self.put(repository, model)

    def put_package(self, repository: Path) -> None:
        """The package as it is there, if there is one, in place of the one here.

        A model that runs keeps the code that it has imported; what is loaded from now on imports this one.
        """
        here = package_folder(self.folder)
        staged, former = (here.with_name(f"{here.name}.{suffix}") for suffix in ("new", "old"))
        for left in (staged, former):  # by a reload that was killed
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
        """The model as it is there, in place of what has its name, or the other name, here."""
        self.remove(name or model)
        # Resolved: a `current` that is pointed elsewhere must not change files under a server that runs.
        _link_files((models_folder(repository) / model).resolve(), self.model(name or model))

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
        config = read_config(models_folder(repository) / model, profile)
        assert config is not None  # `check_repository` and the loading of candidates come first
        config.name = name
        for step in config.ensemble_scheduling.step:
            step.model_name = steps.get(step.model_name, step.model_name)
        self.put(repository, model, name)
        folder = self.model(name)
        shutil.rmtree(folder / "configs", ignore_errors=True)
        (folder / "config.pbtxt").unlink()
        (folder / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")

    def touch(self, model: str) -> None:
        """Makes Triton take a model that has not changed for changed: else a load of it does nothing."""
        for folder in (self.model(model), *self.model(model).rglob("*/")):
            if not folder.is_symlink():  # the files belong to the release
                os.utime(folder)

    def models(self) -> list[str]:
        return list_models(self.folder)

    def model(self, name: str) -> Path:
        """Folder of a model here."""
        return models_folder(self.folder) / name

    def remove(self, name: str) -> None:
        shutil.rmtree(self.model(name), ignore_errors=True)

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
