"""The profiles of a machine without a GPU: the fused Python recogniser, and Triton's onnxruntime backend."""

from __future__ import annotations

from dataclasses import dataclass

from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from export.profiles.adjustments import observe_embedder, size_queue
from export.repository.configs import Configs

# With more threads, the backbone's 7 x 7 px layers have less work than a thread costs. Not measured above 2 cores.
MAX_LONE_THREADS = 8

# Batch size under load. A larger batch delays requests of higher priority. With a smaller one, instances wait more
# often for Triton's batcher, which prepares no batch ahead when priorities are on (docs/decisions/0055).
PREFERRED_BATCH_SIZE = 2

CACHE_MB = 64


@dataclass(frozen=True)
class CpuSizing:
    """Model instances and ONNX Runtime threads for a number of cores.

    Attributes:
        recognizer_instances: one per core; under load each runs one thread.
        lone_threads: threads of a request that arrives while all instances are idle.
    """

    cores: int
    recognizer_instances: int
    lone_threads: int


def size_for(cores: int) -> CpuSizing:
    """Sizing in which instances x threads do not exceed the cores while more than one request runs."""
    return CpuSizing(cores=cores, recognizer_instances=cores, lone_threads=min(cores, MAX_LONE_THREADS))


def fused(configs: Configs, sizing: CpuSizing) -> Configs:
    """`recognizer` is one fused Python model instead of an ensemble.

    Its steps stay available with one instance each, for clients that need pixels or features.
    """
    configs["embedder"].instance_group[0].count = 1
    configs["embedder"].parameters["intra_op_threads"].string_value = str(sizing.lone_threads)
    configs["recognizer"] = _fused_recognizer(configs, sizing)
    _remove_input(configs["classifier"], "timing")  # no ensemble ends in it in this profile
    for step in ("embedder", "classifier"):  # nor has it as a later step, so that its queue may refuse
        size_queue(configs[step], sizing.cores)
    _search_behind(configs["searcher"], configs["recognizer"])
    return configs


def native(configs: Configs, sizing: CpuSizing) -> Configs:
    """Triton's onnxruntime backend, part of NVIDIA's container, runs the network; `recognizer` is the ensemble."""
    configs["preprocess"].instance_group[0].count = sizing.cores
    size_queue(configs["preprocess"], sizing.cores)
    embedder = configs["embedder"]
    embedder.backend = "onnxruntime"
    embedder.instance_group[0].count = sizing.cores
    embedder.parameters.clear()
    # Threads per instance; the backend's default is one per core.
    embedder.parameters["intra_op_thread_count"].string_value = "1"
    observe_embedder(configs)
    return configs


def _fused_recognizer(configs: Configs, sizing: CpuSizing) -> ModelConfig:
    ensemble, preprocess, classifier = configs["recognizer"], configs["preprocess"], configs["classifier"]
    labels = {output.name: output.label_filename for output in classifier.output}
    fused = ModelConfig(name=ensemble.name, backend="python", max_batch_size=ensemble.max_batch_size)
    fused.input.extend(ensemble.input)
    fused.output.extend(ensemble.output)
    for output in fused.output:
        output.label_filename = labels.get(output.name, "")
    fused.instance_group.add(kind=ModelInstanceGroup.KIND_CPU, count=sizing.recognizer_instances)
    fused.dynamic_batching.CopyFrom(preprocess.dynamic_batching)
    fused.dynamic_batching.preferred_batch_size.append(PREFERRED_BATCH_SIZE)
    size_queue(fused, sizing.recognizer_instances)
    fused.model_warmup.extend(preprocess.model_warmup)
    for name, parameter in preprocess.parameters.items():
        fused.parameters[name].CopyFrom(parameter)
    fused.parameters["abstain_below"].CopyFrom(classifier.parameters["abstain_below"])
    fused.parameters["lone_threads"].string_value = str(sizing.lone_threads)
    fused.parameters["cache_mb"].string_value = str(CACHE_MB)
    return fused


def _remove_input(config: ModelConfig, name: str) -> None:
    kept = [tensor for tensor in config.input if tensor.name != name]
    del config.input[:]
    config.input.extend(kept)


def _search_behind(searcher: ModelConfig, recognizer: ModelConfig) -> None:
    """Replaces the steps before `index` by the fused model: one step instead of two, with a result cache."""
    (search,) = [step for step in searcher.ensemble_scheduling.step if step.model_name == "index"]
    del searcher.ensemble_scheduling.step[:]
    step = searcher.ensemble_scheduling.step.add(model_name=recognizer.name, model_version=-1)
    step.input_map["image"] = "image"
    step.output_map["embedding"] = "embedding"
    searcher.ensemble_scheduling.step.append(search)
