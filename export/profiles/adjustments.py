"""Changes to configs that several profiles share: queue sizes, metrics of the embedder."""

from __future__ import annotations

from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from export.repository.configs import Configs

# Photos that one core processes in 1.4 s (45 photos/s, `make bench`); decoding alone takes 0.3 s for as many. A longer
# queue would only delay all requests.
QUEUE_SIZE_PER_CORE = 64


def size_queue(config: ModelConfig, cores: int) -> None:
    """Limits the queue of each priority."""
    config.dynamic_batching.default_queue_policy.max_queue_size = QUEUE_SIZE_PER_CORE * cores


def observe_embedder(configs: Configs) -> None:
    """Passes the embedding to `classifier`, which records the embedder's metrics: native backends record none."""
    (embedding,) = [output for output in configs["embedder"].output if output.name == "embedding"]
    configs["classifier"].input.add(
        name="embedding", data_type=DataType.TYPE_FP32, dims=list(embedding.dims), optional=True
    )
    for step in configs["recognizer"].ensemble_scheduling.step:
        if step.model_name == "classifier":
            step.input_map["embedding"] = "embedding"
