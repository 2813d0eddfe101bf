"""The model repository that Triton is pointed at: its own folders, with links to the files of another repository.

A release can therefore be read-only, because Python writes byte code here, and another release can replace it model by
model while the server runs. Code that resolves its own path (`Path(__file__).resolve()`) finds its own release.

A model's process that ends is started again from these files, unverified. Of a release whose signature was checked, the
links therefore lead to a copy in this folder, which was compared with the signed manifest and which only this user can
write.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format

from ops.errors import OpsError
from ops.release import DIGITS, FAULTS_SHOWN, Release, find_faults
from ops.repository import list_models, models_folder, package_folder, read_config
from ops.server.state import PRIVATE_FOLDER

COPY_PREFIX = "signed-"


class ServingFolder:
    """A folder with the layout of a repository.

    Its folders are real folders, because Triton detects a changed model by their modification time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, repository: Path, signed: Release | None = None) -> None:
        """Replaces the content with links to every model of `repository` and to its package.

        Args:
            repository: a model repository or a release.
            signed: the release, if its signature was checked.

        Raises:
            OpsError: a file of the signed release was changed since.
        """
        self.clear()
        self.folder.mkdir(PRIVATE_FOLDER)
        if signed is not None:
            repository = self.copy(signed)
        models_folder(self.folder).mkdir(PRIVATE_FOLDER)
        self.put_package(repository)
        for model in list_models(repository):
            self.put(repository, model)

    def copy(self, release: Release) -> Path:
        """Returns the folder of a copy of the release's models and package, compared with its manifest.

        Copies of two releases are kept: of this one, and of the one that is served now.

        Raises:
            OpsError: a file was changed since the release was verified.
        """
        target = self.folder / f"{COPY_PREFIX}{release.digest[:DIGITS]}"
        for former in self._unused_copies():
            shutil.rmtree(former, ignore_errors=True)
        needed = (f"{models_folder(Path())}/", f"{package_folder(Path())}/")
        files = {name: digest for name, digest in release.files.items() if name.startswith(needed)}
        target.mkdir(PRIVATE_FOLDER, exist_ok=True)
        for name in files:
            (target / name).parent.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
            if not (target / name).exists():
                shutil.copyfile(release.folder / name, target / name)
        faults = find_faults(target, files)
        if faults:
            shutil.rmtree(target, ignore_errors=True)
            raise OpsError(
                f"{release.folder} is refused: since its signature was checked, {', '.join(faults[:FAULTS_SHOWN])}. "
                "Download or make the release again."
            )
        return target

    def _unused_copies(self) -> list[Path]:
        copies = list(self.folder.glob(f"{COPY_PREFIX}*"))
        links = [path for path in models_folder(self.folder).rglob("*") if path.is_symlink()] if copies else []
        used = {parent for link in links for parent in Path(os.readlink(link)).parents}
        return [copy for copy in copies if copy not in used]

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
