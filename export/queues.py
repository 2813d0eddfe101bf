"""How many requests may wait in a model's queue: more than it answers in a moment only makes everybody late."""

from __future__ import annotations

from tritonclient.grpc.model_config_pb2 import ModelConfig

# What a core answers in 1.4 s (45 photos a second, `make bench`); decoding alone, it is 0.3 s.
SIZE_A_CORE = 64


def size_queue(config: ModelConfig, cores: int) -> None:
    """Of each of its priorities."""
    config.dynamic_batching.default_queue_policy.max_queue_size = SIZE_A_CORE * cores
