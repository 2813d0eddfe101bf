"""The `cpu` profile: what each model's `config.pbtxt` becomes on a machine of so many cores.

Owns the arithmetic from cores to instances and threads. The tensors stay those of `config.pbtxt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from export.errors import RepositoryError

PROFILE = "cpu"
LABELS = "labels.txt"

# Beyond this the backbone's layers at 7 x 7 pixels have less work than a thread costs. Not measured above 2 cores.
MAX_LONE_THREADS = 8

# Two instances that take four photos each answer at a p99 of 1.3x the p50; with eight each it is 1.7x (16 callers).
PREFERRED_BATCH_SIZE = 4

CACHE_MB = 64


@dataclass(frozen=True)
class CpuSizing:
    """Processes and ONNX Runtime threads for so many cores.

    Attributes:
        recognizer_instances: one a core; under load each runs one thread.
        lone_threads: threads for a request that finds every instance idle.
    """

    cores: int
    recognizer_instances: int
    lone_threads: int


def size_for(cores: int) -> CpuSizing:
    """Instances x threads stay within the cores whenever more than one request is at work."""
    return CpuSizing(cores=cores, recognizer_instances=cores, lone_threads=min(cores, MAX_LONE_THREADS))


def render_profiles(repository: Path, sizing: CpuSizing) -> dict[str, str]:
    """Path inside the repository -> text, for each model whose `cpu` profile differs from its `config.pbtxt`.

    `recognizer` is one Python model instead of an ensemble. The steps stay, one instance each, for callers who want
    pixels or features.
    """
    embedder = read_config(repository, "embedder")
    embedder.instance_group[0].count = 1
    embedder.parameters["intra_op_threads"].string_value = str(sizing.lone_threads)
    header = f"# Written by `python -m export place` from config.pbtxt for {sizing.cores} cores.\n"
    return {
        f"{config.name}/configs/{PROFILE}.pbtxt": header + text_format.MessageToString(config)
        for config in (embedder, _fused_recognizer(repository, sizing))
    }


def _fused_recognizer(repository: Path, sizing: CpuSizing) -> ModelConfig:
    ensemble = read_config(repository, "recognizer")
    preprocess = read_config(repository, "preprocess")
    classifier = read_config(repository, "classifier")
    labelled = {output.name for output in classifier.output if output.label_filename}
    fused = ModelConfig(name=ensemble.name, backend="python", max_batch_size=ensemble.max_batch_size)
    fused.input.extend(ensemble.input)
    fused.output.extend(ensemble.output)
    for output in fused.output:
        if output.name in labelled:
            output.label_filename = LABELS
    fused.instance_group.add(kind=ModelInstanceGroup.KIND_CPU, count=sizing.recognizer_instances)
    fused.dynamic_batching.preferred_batch_size.append(PREFERRED_BATCH_SIZE)
    fused.model_warmup.extend(preprocess.model_warmup)
    for name, parameter in preprocess.parameters.items():
        fused.parameters[name].CopyFrom(parameter)
    fused.parameters["abstain_below"].CopyFrom(classifier.parameters["abstain_below"])
    fused.parameters["lone_threads"].string_value = str(sizing.lone_threads)
    fused.parameters["cache_mb"].string_value = str(CACHE_MB)
    return fused


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
