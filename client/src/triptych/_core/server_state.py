"""Health, models and statistics of a server, as plain values. Performs no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from triptych._core.protocol import JsonObject


@dataclass(frozen=True, slots=True)
class Health:
    """The health of a server.

    Attributes:
        live: the server runs.
        ready: all its models are ready.
        recognizer_ready: the model `recognizer` is ready.
        server: name and version of the server.
    """

    live: bool
    ready: bool
    recognizer_ready: bool
    server: str


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output; `shape` has no batch dimension, and -1 for a dimension of any length."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """One version of a model in the server's repository.

    Attributes:
        state: "READY", "LOADING", "UNLOADING" or "UNAVAILABLE"; empty if it was never loaded.
        reason: the server's message why it is not ready.
        max_batch_size: largest number of photos in one request; 0 for a model without batching.
        inputs, outputs: tensors of a ready model.
    """

    name: str
    version: str
    state: str
    reason: str
    max_batch_size: int = 0
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether the model accepts requests."""
        return self.state == "READY"


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """Counts and times of a model since the server started; times are means over its successes.

    Attributes:
        inferences: photos inferred; one request may contain several.
        executions: executions of the model; fewer than inferences where the server batches requests.
        failures: failed requests. A refused photo counts as a success.
        queue_s, compute_s: mean queue time and mean compute time of a request, in seconds.
    """

    name: str
    version: str
    inferences: int
    executions: int
    successes: int
    failures: int
    queue_s: float
    compute_s: float


def read_model(entry: JsonObject, config: JsonObject | None) -> Model:
    """Reads an entry of the repository's index, with the configuration of a ready model."""
    config = config or {}
    return Model(
        name=entry["name"],
        version=entry.get("version", ""),
        state=entry.get("state", ""),
        reason=entry.get("reason", ""),
        max_batch_size=int(config.get("max_batch_size", 0)),
        inputs=_tensors(config.get("input", [])),
        outputs=_tensors(config.get("output", [])),
    )


def read_statistics(answer: JsonObject) -> tuple[ModelStatistics, ...]:
    """Reads the statistics, one entry for each model and version."""
    return tuple(_model_statistics(entry) for entry in answer.get("model_stats", []))


def _tensors(entries: Sequence[JsonObject]) -> tuple[TensorInfo, ...]:
    return tuple(
        TensorInfo(
            entry["name"], entry["data_type"].removeprefix("TYPE_"), tuple(int(length) for length in entry["dims"])
        )
        for entry in entries
    )


def _model_statistics(entry: JsonObject) -> ModelStatistics:
    # gRPC omits zeros, and its 64-bit numbers are strings.
    times = entry.get("inference_stats", {})
    successes = _count(times, "success")
    return ModelStatistics(
        name=entry["name"],
        version=entry.get("version", ""),
        inferences=int(entry.get("inference_count", 0)),
        executions=int(entry.get("execution_count", 0)),
        successes=successes,
        failures=_count(times, "fail"),
        queue_s=_mean_s(times, "queue", successes),
        compute_s=sum(_mean_s(times, f"compute_{part}", successes) for part in ("input", "infer", "output")),
    )


def _count(times: dict[str, Any], name: str) -> int:
    return int(times.get(name, {}).get("count", 0))


def _mean_s(times: dict[str, Any], name: str, successes: int) -> float:
    return int(times.get(name, {}).get("ns", 0)) / 1e9 / max(1, successes)
