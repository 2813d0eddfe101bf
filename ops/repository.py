"""The layout of a model repository, the checks before it is served, and how many processes its configs ask for.

A repository holds `models/<model>/`, which Triton is pointed at; `triptych_models/`, the package that our models import
(other models may need none); `manifest.json`, which describes the placed files or the release.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from loky import cpu_count
from tritonclient.grpc import model_config_pb2

from ops.errors import OpsError, WrongUsage
from ops.settings import DEFAULT_PROFILE

MODELS = "models"
PACKAGE = "triptych_models"


def models_folder(repository: Path) -> Path:
    """Returns Triton's `--model-repository`, which has one folder for each model."""
    return repository / MODELS


def package_folder(repository: Path) -> Path:
    """Returns the serving package. Its parent is the server's working directory and PYTHONPATH."""
    return repository / PACKAGE


def check_repository(repository: Path, profile: str | None) -> None:
    """Refuses a repository that the server would refuse later, and a profile that no model has, which Triton ignores.

    The check looks only for files that `config.pbtxt` names, so it holds for any repository; a model that needs other
    files reports them while it loads.

    Raises:
        OpsError: there is no repository, it holds no model, or a file that a config names is missing.
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
        raise OpsError(f"The models in {repository} are not placed: missing {shown}. Place them with `make build`.")
    profiles = sorted({config.stem for config in models_folder(repository).glob("*/configs/*.pbtxt")})
    if profile not in (None, DEFAULT_PROFILE, *profiles):
        having = f"Its profiles: {', '.join(profiles)}" if profiles else "It has no profiles"
        raise WrongUsage(
            f"No model in {repository} has the profile {profile!r}. {having}; --profile '' serves config.pbtxt."
        )


def check_layout(repository: Path) -> None:
    """Raises:
    OpsError: the repository has no folder `models`, as in the layout of earlier versions.
    """
    if models_folder(repository).is_dir():
        return
    parent = repository.absolute().parent
    if repository.name == MODELS and package_folder(parent).is_dir():
        raise OpsError(f"{repository} is only the folder `models` of a repository. Name the repository: {parent}.")
    if any(repository.glob("*/config.pbtxt")):
        raise OpsError(
            f"{repository} has the layout of an earlier version: its models are not in a folder `models`. "
            "Make the release again with `triptych release`, or place the models again with `make build`."
        )
    raise _no_model(repository)


def _no_model(repository: Path) -> OpsError:
    return OpsError(f"{repository} holds no model: expected models/<model>/config.pbtxt. Check --repository.")


def list_models(repository: Path) -> list[str]:
    return sorted(config.parent.name for config in models_folder(repository).glob("*/config.pbtxt"))


def has_finalizers(repository: Path, profile: str | None) -> bool:
    """Returns whether a served Python model, or the package that it imports, has a `finalize` to run at unload."""
    sources = []
    for model in list_models(repository):
        folder = models_folder(repository) / model
        config = read_config(folder, profile)
        if config is None or config.backend == "python":
            sources += [file.read_text(encoding="utf-8") for file in folder.glob("[0-9]*/*.py")]
    if any(PACKAGE in source for source in sources):
        sources += [file.read_text(encoding="utf-8") for file in package_folder(repository).rglob("*.py")]
    return any("def finalize" in source for source in sources)


def missing_files(model: Path, profile: str | None) -> list[Path]:
    """Returns label files and warm-up data that the model's config names but its folder lacks."""
    config = read_config(model, profile)
    if config is None:
        return []
    named = [model / output.label_filename for output in config.output if output.label_filename]
    for sample in config.model_warmup:
        named += [model / "warmup" / one.input_data_file for one in sample.inputs.values() if one.input_data_file]
    return [path for path in dict.fromkeys(named) if not path.is_file()]


def read_config(model: Path, profile: str | None) -> Any | None:
    """Returns None when the config cannot be parsed: the server reports line and column."""
    chosen = model / "configs" / f"{profile}.pbtxt"
    config: Any = model_config_pb2.ModelConfig()
    try:
        text_format.Parse((chosen if chosen.is_file() else model / "config.pbtxt").read_text(), config)
    except text_format.ParseError:
        return None
    return config


def read_python_models(repository: Path, profile: str | None) -> dict[str, Any]:
    """Returns the config of each model that runs in Python processes, by model."""
    configs = {model: read_config(models_folder(repository) / model, profile) for model in list_models(repository)}
    return {model: config for model, config in configs.items() if config is not None and config.backend == "python"}


def count_instances(config: Any) -> int:
    return sum(group.count for group in config.instance_group)


def describe_sizing(repository: Path, profile: str | None) -> str:
    """Returns the processes of each model, as in "recognizer x 2 (threads 2), embedder x 1"."""
    parts = []
    for model, config in read_python_models(repository, profile).items():
        notes = [
            f"{wording} {config.parameters[name].string_value}"
            for name, wording in (("intra_op_threads", "threads"), ("lone_threads", "threads for a lone request"))
            if name in config.parameters
        ]
        parts.append(f"{model} x {count_instances(config)}" + (f" ({', '.join(notes)})" if notes else ""))
    return ", ".join(parts)


def describe_misfit(repository: Path, profile: str | None) -> str | None:
    """Returns a sentence when the profile was sized for another number of cores than this process may use."""
    try:
        placed = int(
            json.loads((repository / "manifest.json").read_text(encoding="utf-8"))["inputs"]["sizing"]["cores"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if profile is None or placed == cpu_count():
        return None
    return (
        f"The {profile} profile was sized for {placed} cores; {cpu_count()} are available here. "
        "Run `make build` to size it for this machine, or `triptych build --cores N` for another."
    )
