"""A model repository: how its folder is laid out, and what is looked at before it is served.

It holds `models/<model>/`, what Triton is pointed at; `triptych_models/`, the package that our models import (models of
others may need none); `manifest.json`, of what was placed or of the release.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from ops.errors import OpsError, WrongUsage
from ops.settings import DEFAULT_PROFILE

MODELS = "models"
PACKAGE = "triptych_models"


def models_folder(repository: Path) -> Path:
    """Triton's `--model-repository`, a folder a model."""
    return repository / MODELS


def package_folder(repository: Path) -> Path:
    """The serving package. The server's working directory, and its PYTHONPATH, is the folder that holds it."""
    return repository / PACKAGE


def check_repository(repository: Path, profile: str | None) -> None:
    """Refuses what the server would refuse later or, for a profile no model has, silently ignore.

    Only what `config.pbtxt` names is looked for, so this holds for any repository; a model that needs more says so
    itself while it loads.

    Raises:
        OpsError: no repository, no model in it, or a file that a config names is missing.
        WrongUsage: no model has the profile.
    """
    if not repository.is_dir():
        raise OpsError(f"No model repository at {repository}. Name an existing folder with --repository.")
    check_layout(repository)
    models = list_models(repository)
    if not models:
        raise _no_model(repository)
    missing = [path for model in models for path in missing_files(models_folder(repository) / model, profile)]
    if missing:
        shown = ", ".join(str(path.relative_to(repository)) for path in missing)
        raise OpsError(f"The models in {repository} are not placed: missing {shown}. Place them with `make export`.")
    if profile is not None and profile != DEFAULT_PROFILE:
        _check_profile(repository, profile)


def check_layout(repository: Path) -> None:
    """Raises:
    OpsError: there is no folder `models` in it, which is so in what an earlier version made.
    """
    if models_folder(repository).is_dir():
        return
    parent = repository.absolute().parent
    if repository.name == MODELS and package_folder(parent).is_dir():
        raise OpsError(f"{repository} is only the folder `models` of a repository. Name the repository: {parent}.")
    if any(repository.glob("*/config.pbtxt")):
        raise OpsError(
            f"{repository} has the layout of an earlier version: its models are not in a folder `models`. "
            "Make the release again with `python -m export release`, or place the models again with `make export`."
        )
    raise _no_model(repository)


def _no_model(repository: Path) -> OpsError:
    return OpsError(f"{repository} holds no model: expected models/<model>/config.pbtxt. Check --repository.")


def list_models(repository: Path) -> list[str]:
    return sorted(config.parent.name for config in models_folder(repository).glob("*/config.pbtxt"))


def list_profiles(repository: Path) -> list[str]:
    return sorted({config.stem for config in models_folder(repository).glob("*/configs/*.pbtxt")})


def has_finalizers(repository: Path, profile: str | None) -> bool:
    """Whether a Python model that is served, or the package it imports, has something to do when it is unloaded."""
    sources = []
    for model in list_models(repository):
        folder = models_folder(repository) / model
        config = read_config(folder, profile)
        if config is None or config.backend == "python":
            sources += [file.read_text(encoding="utf-8") for file in folder.glob("[0-9]*/*.py")]
    if any(PACKAGE in source for source in sources):
        sources += [file.read_text(encoding="utf-8") for file in package_folder(repository).rglob("*.py")]
    return any("def finalize" in source for source in sources)


def _check_profile(repository: Path, profile: str) -> None:
    profiles = list_profiles(repository)
    if profile not in profiles:
        having = f"It has: {', '.join(profiles)}" if profiles else "It has none"
        raise WrongUsage(
            f"No model in {repository} has the profile {profile!r}. {having}; --profile '' serves config.pbtxt."
        )


def missing_files(model: Path, profile: str | None) -> list[Path]:
    """Label files and warm-up data that the model's config names and its folder lacks."""
    config = read_config(model, profile)
    if config is None:
        return []
    named = [model / output.label_filename for output in config.output if output.label_filename]
    for sample in config.model_warmup:
        named += [model / "warmup" / one.input_data_file for one in sample.inputs.values() if one.input_data_file]
    return [path for path in dict.fromkeys(named) if not path.is_file()]


def read_config(model: Path, profile: str | None) -> Any | None:
    """None when it cannot be read: the server says so, with line and column."""
    chosen = model / "configs" / f"{profile}.pbtxt"
    config: Any = model_config_pb2.ModelConfig()
    try:
        text_format.Parse((chosen if chosen.is_file() else model / "config.pbtxt").read_text(), config)
    except text_format.ParseError:
        return None
    return config
