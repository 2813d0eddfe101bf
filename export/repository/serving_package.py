"""The serving package as files, and the photo decoder of a repository.

Every command decodes photos with the serving package that it imports. Its results are valid for a repository only if
the repository contains the same package, byte for byte; `require_same_package` checks this.
"""

from __future__ import annotations

import json
from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelConfig

import triptych_models
from export.errors import RepositoryError
from export.repository.configs import read_config
from export.repository.layout import PACKAGE, TRANSFORM, list_files
from export.repository.manifest import sha256
from triptych_models.recognition.preprocessing import Limits
from triptych_models.recognition.transform import Transform, read_transform

# The package that this process imports.
IMPORTED = Path(triptych_models.__file__).resolve().parent


def package_files() -> dict[str, bytes]:
    """Path inside a repository -> content, for each file of the imported package."""
    return {f"{PACKAGE}/{name}": file.read_bytes() for name, file in list_files(IMPORTED)}


def package_digest() -> str:
    """SHA-256 over the names and contents of the imported package."""
    return sha256(json.dumps(_digests(IMPORTED)).encode())


def require_same_package(repository: Path) -> None:
    """Raises:
    RepositoryError: the package in `repository` is missing, or differs from the imported one; names the files.
    """
    folder = repository / PACKAGE
    found, expected = _digests(folder), _digests(IMPORTED)
    if found == expected:
        return
    if not found:
        what = "is missing"
    else:
        changed = [name for name in expected.keys() & found.keys() if expected[name] != found[name]]
        differences = [f"{name} differs" for name in sorted(changed)]
        differences += [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
        differences += [f"{name} must be removed" for name in sorted(found.keys() - expected.keys())]
        what = f"differs from the imported package, {IMPORTED} ({', '.join(differences[:3])})"
    raise RepositoryError(f"{folder} {what}. Run `triptych build --repository {repository}` again.")


def read_decoder(repository: Path) -> tuple[Transform, Limits]:
    """The transform and the limits that the repository's `preprocess` uses.

    Raises:
        RepositoryError: the repository's package differs from the imported one, or the config cannot be read.
        OSError: no transform is placed in the repository.
    """
    transform = read_transform(repository / TRANSFORM)
    require_same_package(repository)
    return transform, limits_of(read_config(repository, "preprocess"))


def limits_of(config: ModelConfig) -> Limits:
    """The limits in the config of `preprocess`."""
    return Limits.from_parameters({name: value.string_value for name, value in config.parameters.items()})


def _digests(package: Path) -> dict[str, str]:
    return {name: sha256(file.read_bytes()) for name, file in list_files(package)}
