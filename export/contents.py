"""What a model repository or a release holds, as plain data: models, tensors, profiles, sizes, facts, digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from export.errors import RepositoryError, WrongUsage
from export.layout import CONFIG, MODELS_FOLDER, find_configs, model_file
from export.model_card import flatten
from export.placement import MANIFEST
from export.release import find_files
from export.release_folder import sha256_of

# Told elsewhere, or too long for a person: the embeddings of golden requests.
_NO_FACTS = ("files", "golden")


def describe(folder: Path) -> dict[str, Any]:
    """Raises:
    WrongUsage: there are no models in `folder`.
    RepositoryError: a config cannot be read; or the layout is an earlier one.
    """
    configs = find_configs(folder)
    if not configs:
        raise WrongUsage(
            f"{folder} holds no model: expected folders with a {CONFIG} in {MODELS_FOLDER}/. Name a model repository, "
            "or a release."
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
    """The manifest; empty where nothing is placed."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
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


def parse_config(file: Path) -> ModelConfig:
    """`config.pbtxt` or a profile of it.

    Raises:
        RepositoryError: not a model configuration.
    """
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), ModelConfig())
    except (OSError, text_format.ParseError) as error:
        raise RepositoryError(f"{file} is not a Triton model configuration: {error}") from error


def config_fields(file: Path) -> dict[str, Any]:
    """Every field that is set, by its path: `instance_group.0.count` -> 2."""
    fields = json_format.MessageToDict(parse_config(file), preserving_proto_field_name=True)
    return dict(flatten(fields))
