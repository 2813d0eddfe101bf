"""From the cores seen to instances and threads. Owns the arithmetic and the `cpu` profile rendered from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.errors import RepositoryError

PROFILE = "cpu"


@dataclass(frozen=True)
class CpuSizing:
    """Instances (processes) and ONNX Runtime threads of each; instances x threads stay within the cores."""

    cores: int
    preprocess_instances: int
    embedder_instances: int
    embedder_threads: int


def size_for(cores: int) -> CpuSizing:
    """One single-threaded embedder a core; a decoder for every four (decoding takes a third of a forward's time)."""
    return CpuSizing(
        cores=cores,
        preprocess_instances=math.ceil(cores / 4),
        embedder_instances=cores,
        embedder_threads=1,
    )


def render_profiles(repository: Path, sizing: CpuSizing) -> dict[str, str]:
    """`<model>/configs/cpu.pbtxt` for each model whose size follows the cores: `config.pbtxt` with other counts."""
    preprocess = read_config(repository, "preprocess")
    preprocess.instance_group[0].count = sizing.preprocess_instances
    embedder = read_config(repository, "embedder")
    embedder.instance_group[0].count = sizing.embedder_instances
    embedder.parameters["intra_op_threads"].string_value = str(sizing.embedder_threads)
    header = f"# Written by `python -m export place` from config.pbtxt for {sizing.cores} cores.\n"
    return {
        f"{config.name}/configs/{PROFILE}.pbtxt": header + text_format.MessageToString(config)
        for config in (preprocess, embedder)
    }


def read_config(repository: Path, model: str) -> ModelConfig:
    """The model's `config.pbtxt`, parsed by Triton's own schema.

    Raises:
        RepositoryError: there is no such file, or it has a key Triton does not know.
    """
    file = repository / model / "config.pbtxt"
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), ModelConfig())
    except OSError as error:
        raise RepositoryError(
            f"Cannot read {file} ({error.strerror}). Pass the model repository's folder with --repository."
        ) from error
    except text_format.ParseError as error:
        raise RepositoryError(f"{file} is not a Triton model configuration: {error}") from error
