"""Hardware profiles: what each model's `config.pbtxt` becomes on another machine, under the same tensors.

Owns: the names of the profiles, the arithmetic from cores to instances and threads, the text placed beside each config
as `configs/<profile>.pbtxt`. A profile has a file for each model, so that it alone says what is served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from export import gpu_profiles
from export.contract import MODELS, Configs
from export.layout import model_file
from export.native_steps import observe_embedder
from export.queues import size_queue

# Beyond this the backbone's layers at 7 x 7 pixels have less work than a thread costs. Not measured above 2 cores.
MAX_LONE_THREADS = 8

# Photos in a run when many wait. Larger: whoever comes next waits longer for those who can wait. Smaller: an instance
# waits more often for Triton's batcher, which with priorities prepares no run ahead (DECISIONS.md, "Two photos a run").
PREFERRED_BATCH_SIZE = 2

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


def render_profiles(configs: Configs, sizing: CpuSizing, names: Sequence[str]) -> dict[str, str]:
    """Path inside the repository -> text, for each model of each profile."""
    texts = {}
    for name in names:
        header = f"# Written by `python -m export place` from config.pbtxt for {sizing.cores} cores.\n"
        for model, config in PROFILES[name](configs, sizing).items():
            texts[model_file(model, f"configs/{name}.pbtxt")] = header + text_format.MessageToString(config)
    return texts


def _cpu(configs: Configs, sizing: CpuSizing) -> Configs:
    """`recognizer` is one Python model instead of an ensemble. The steps stay, for callers who want pixels or features,
    one instance each.
    """
    served = copy_configs(configs)
    served["embedder"].instance_group[0].count = 1
    served["embedder"].parameters["intra_op_threads"].string_value = str(sizing.lone_threads)
    served["recognizer"] = _fused_recognizer(configs, sizing)
    _remove_input(served["classifier"], "timing")  # no ensemble ends in it
    _search_behind(served["searcher"], served["recognizer"])
    return served


def _cpu_native(configs: Configs, sizing: CpuSizing) -> Configs:
    """Triton's own onnxruntime backend, as in NVIDIA's container, runs the network; `recognizer` is the ensemble."""
    served = copy_configs(configs)
    served["preprocess"].instance_group[0].count = sizing.cores
    size_queue(served["preprocess"], sizing.cores)
    embedder = served["embedder"]
    embedder.backend = "onnxruntime"
    embedder.instance_group[0].count = sizing.cores
    embedder.parameters.clear()
    # Threads of an instance; the backend's default is one a core for each.
    embedder.parameters["intra_op_thread_count"].string_value = "1"
    observe_embedder(served)
    return served


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
    """The fused model in place of the steps before `index`: one hop instead of two, and its cache."""
    (search,) = [step for step in searcher.ensemble_scheduling.step if step.model_name == "index"]
    del searcher.ensemble_scheduling.step[:]
    step = searcher.ensemble_scheduling.step.add(model_name=recognizer.name, model_version=-1)
    step.input_map["image"] = "image"
    step.output_map["embedding"] = "embedding"
    searcher.ensemble_scheduling.step.append(search)


def copy_configs(configs: Mapping[str, ModelConfig]) -> Configs:
    """Copies that may be changed."""
    copies = {}
    for model in MODELS:
        copies[model] = ModelConfig()
        copies[model].CopyFrom(configs[model])
    return copies


PROFILES: dict[str, Callable[[Configs, CpuSizing], Configs]] = {
    "cpu": _cpu,
    "cpu-native": _cpu_native,
    "gpu": lambda configs, sizing: gpu_profiles.tensorrt(copy_configs(configs), sizing.cores),
    "gpu-torch": lambda configs, sizing: gpu_profiles.torch(copy_configs(configs)),
}

# What costs nothing but text; `gpu-torch` also places a copy of the weights for torch.
DEFAULT_PROFILES = ("cpu", "cpu-native", "gpu")
