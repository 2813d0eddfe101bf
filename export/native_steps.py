"""What the ensemble needs where `embedder` runs in a native backend, which records none of the product's metrics."""

from __future__ import annotations

from tritonclient.grpc.model_config_pb2 import DataType

from export.contract import Configs


def observe_embedder(configs: Configs) -> None:
    """Hands the embedding to `classifier`, which runs in Python whatever the profile, and counts it there."""
    (embedding,) = [output for output in configs["embedder"].output if output.name == "embedding"]
    configs["classifier"].input.add(
        name="embedding", data_type=DataType.TYPE_FP32, dims=list(embedding.dims), optional=True
    )
    for step in configs["recognizer"].ensemble_scheduling.step:
        if step.model_name == "classifier":
            step.input_map["embedding"] = "embedding"
