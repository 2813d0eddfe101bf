"""Looks at a model repository before it is served: is it there, does the profile exist, are the named files placed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from ops.errors import OpsError, WrongUsage
from ops.settings import DEFAULT_PROFILE


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
    models = list_models(repository)
    if not models:
        raise OpsError(f"{repository} holds no model: expected folders with a config.pbtxt. Check --repository.")
    missing = [path for model in models for path in missing_files(repository / model, profile)]
    if missing:
        shown = ", ".join(str(path.relative_to(repository)) for path in missing)
        raise OpsError(f"The models in {repository} are not placed: missing {shown}. Place them with `make export`.")
    if profile is not None and profile != DEFAULT_PROFILE:
        _check_profile(repository, profile)


def list_models(repository: Path) -> list[str]:
    return sorted(config.parent.name for config in repository.glob("*/config.pbtxt"))


def list_profiles(repository: Path) -> list[str]:
    return sorted({config.stem for config in repository.glob("*/configs/*.pbtxt")})


def has_finalizers(repository: Path, profile: str | None) -> bool:
    """Whether a Python model that is served has something to do when it is unloaded."""
    for model in list_models(repository):
        config = read_config(repository / model, profile)
        sources = (repository / model).glob("[0-9]*/*.py")
        if (config is None or config.backend == "python") and any("def finalize" in one.read_text() for one in sources):
            return True
    return False


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
