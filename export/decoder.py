"""How the server decodes a photo, with the code that serves: the transform and the limits of one repository."""

from __future__ import annotations

from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.contract import read_config
from export.layout import TRANSFORM
from export.serving_package import require_same_package
from triptych_models.recognition.preprocessing import Limits
from triptych_models.recognition.transform import Transform, read_transform


def read_decoder(repository: Path) -> tuple[Transform, Limits]:
    """What `preprocess` is served with.

    Raises:
        RepositoryError: the package there is not the imported one; or no config can be read.
        OSError: no transform is placed there.
    """
    transform = read_transform(repository / TRANSFORM)
    require_same_package(repository)
    return transform, limits_of(read_config(repository, "preprocess"))


def limits_of(config: ModelConfig) -> Limits:
    """The limits that the config of `preprocess` states."""
    return Limits.from_parameters({name: value.string_value for name, value in config.parameters.items()})
