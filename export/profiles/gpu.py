"""The profiles for NVIDIA GPUs: TensorRT through the onnxruntime backend, and torch."""

from __future__ import annotations

from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from export.profiles.adjustments import observe_embedder, size_queue
from export.profiles.cpu import CpuSizing
from export.repository.configs import Configs

# Photos per batch; with eight, a GPU is mostly idle.
MAX_BATCH_SIZE = 64

# Batches that may wait before a new photo; an estimate, not measured on a GPU.
QUEUED_BATCHES = 8

# Maximum delay to fill a batch: a tenth of the decoding time of one photo.
QUEUE_DELAY_US = 500

# Building an engine for one GPU, driver and TensorRT version takes minutes: mount this folder from outside the
# container.
CACHE_FOLDER = "/var/cache/triptych/tensorrt"

WORKSPACE_BYTES = 2 << 30

TORCH_MODEL = "torch_model.py"


def tensorrt(configs: Configs, sizing: CpuSizing) -> Configs:
    """The network runs on TensorRT through Triton's onnxruntime backend; decoding and linear heads run on the CPU.

    Source of the keys: github.com/triton-inference-server/onnxruntime_backend, README, "Parameter mapping".
    """
    configs["preprocess"].instance_group[0].count = sizing.cores
    size_queue(configs["preprocess"], sizing.cores)
    embedder = configs["embedder"]
    embedder.backend = "onnxruntime"
    embedder.parameters.clear()
    _on_gpu(embedder)
    accelerator = embedder.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
    for key, value in _tensorrt_options(embedder).items():
        accelerator.parameters[key] = value
    _take_batches(configs["classifier"])
    observe_embedder(configs)
    return configs


def _tensorrt_options(config: ModelConfig) -> dict[str, str]:
    """Options for one cached engine for all batch sizes, built at warm-up."""
    (tensor,) = config.input
    shape = "x".join(str(dim) for dim in tensor.dims)
    return {
        "precision_mode": "FP16",
        "max_workspace_size_bytes": str(WORKSPACE_BYTES),
        "trt_engine_cache_enable": "true",
        "trt_engine_cache_path": f"{CACHE_FOLDER}/{config.name}",
        "trt_timing_cache_enable": "true",
        "trt_timing_cache_path": f"{CACHE_FOLDER}/{config.name}",
        # Sums of squares overflow half precision.
        "trt_layer_norm_fp32_fallback": "true",
        "trt_profile_min_shapes": f"{tensor.name}:1x{shape}",
        "trt_profile_opt_shapes": f"{tensor.name}:{MAX_BATCH_SIZE // 2}x{shape}",
        "trt_profile_max_shapes": f"{tensor.name}:{MAX_BATCH_SIZE}x{shape}",
    }


def torch(configs: Configs, _sizing: CpuSizing) -> Configs:
    """All three steps run torch in the Python backend: the GPU decodes JPEG, and tensors stay in GPU memory."""
    for model in ("preprocess", "embedder", "classifier"):
        config = configs[model]
        config.default_model_filename = TORCH_MODEL
        _on_gpu(config)
        # By default, Triton copies every input to host memory first.
        config.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value = "no"
        config.parameters.pop("intra_op_threads", None)
    configs["preprocess"].dynamic_batching.default_queue_policy.max_queue_size = QUEUED_BATCHES * MAX_BATCH_SIZE
    # The encoded bytes are read by the CPU.
    del configs["preprocess"].parameters["FORCE_CPU_ONLY_INPUT_TENSORS"]
    return configs


def _on_gpu(config: ModelConfig) -> None:
    del config.instance_group[:]
    config.instance_group.add(kind=ModelInstanceGroup.KIND_GPU, count=1)
    _take_batches(config)
    config.dynamic_batching.max_queue_delay_microseconds = QUEUE_DELAY_US


def _take_batches(config: ModelConfig) -> None:
    config.max_batch_size = MAX_BATCH_SIZE
    for sample in config.model_warmup:
        if sample.batch_size > 1:
            sample.batch_size = MAX_BATCH_SIZE
