"""The contents of a model repository or a release as plain data: models, tensors, profiles, sizes, facts, digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from tritonclient.grpc.model_config_pb2 import DataType

from export.errors import RepositoryError, WrongUsage
from export.release.assembly import find_files
from export.release.folder import sha256_of
from export.release.model_card import flatten
from export.repository.configs import parse_config
from export.repository.layout import CONFIG, MODELS_FOLDER, find_configs, model_file
from export.repository.manifest import MANIFEST

# Facts that are shown elsewhere, or too long to read (embeddings of golden requests).
_NO_FACTS = ("files", "golden")


def describe(folder: Path) -> dict[str, Any]:
    """The contents of a model repository or a release.

    Raises:
        WrongUsage: `folder` contains no models.
        RepositoryError: a config cannot be read, or the layout is of an earlier version.
    """
    configs = find_configs(folder)
    if not configs:
        raise WrongUsage(
            f"{folder} contains no model: expected folders with a {CONFIG} in {MODELS_FOLDER}/. Name a model "
            "repository or a release."
        )
    files = dict(find_files(folder))
    manifest = read_facts(folder)
    return {
        "folder": str(folder),
        "digest": sha256_of(folder / MANIFEST) if "release" in manifest else None,
        "models": {config.parent.name: _describe_model(config, files) for config in configs},
        "facts": {key: value for key, value in manifest.items() if key not in _NO_FACTS},
        "golden_requests": len(manifest.get("golden", {}).get("requests", [])),
        "size_bytes": sum(path.stat().st_size for path in files.values()),
    }


def read_facts(folder: Path) -> dict[str, Any]:
    """The manifest; empty if nothing is placed."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise RepositoryError(f"{folder / MANIFEST} cannot be read: {error}") from error
    return manifest


def _describe_model(file: Path, files: dict[str, Path]) -> dict[str, Any]:
    config, model = parse_config(file), file.parent
    return {
        "backend": config.platform or config.backend,
        "max_batch_size": config.max_batch_size,
        "versions": sorted((one.name for one in model.iterdir() if one.name.isdigit()), key=int),
        "inputs": {tensor.name: _describe_tensor(tensor) for tensor in config.input},
        "outputs": {tensor.name: _describe_tensor(tensor) for tensor in config.output},
        "profiles": sorted(profile.stem for profile in model.glob("configs/*.pbtxt")),
        "size_bytes": sum(
            path.stat().st_size for name, path in files.items() if name.startswith(model_file(model.name, ""))
        ),
    }


def _describe_tensor(tensor: Any) -> str:
    dims = ",".join(str(dim) for dim in tensor.dims)
    return f"{DataType.Name(tensor.data_type).removeprefix('TYPE_')}[{dims}]"


def config_fields(file: Path) -> dict[str, Any]:
    """Every field that is set, by its path: `instance_group.0.count` -> 2."""
    fields = json_format.MessageToDict(parse_config(file), preserving_proto_field_name=True)
    return dict(flatten(fields))
