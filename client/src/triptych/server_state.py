"""What a server says about itself, as plain values. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from triptych.protocol import JsonObject


@dataclass(frozen=True, slots=True)
class Health:
    """How a server is.

    Attributes:
        live: it runs.
        ready: it serves all its models.
        recognizer_ready: it serves the model that this client calls.
        server: its name and version.
    """

    live: bool
    ready: bool
    recognizer_ready: bool
    server: str


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output: `shape` without the batch, -1 where any length goes."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """One version of a model in the server's repository.

    Attributes:
        state: "READY", "LOADING", "UNLOADING" or "UNAVAILABLE"; empty when it was never loaded.
        reason: why it is not ready, in the server's words.
        max_batch_size: photos in one request; 0 for a model without batches.
        inputs, outputs: of a ready model.
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
        """Whether it takes requests."""
        return self.state == "READY"


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """What a model did since the server started; times are means over its successes.

    Attributes:
        inferences: photos answered; one request may hold several.
        executions: runs of the model; fewer than inferences where batching works.
        failures: requests that failed. A refused photo counts as a success of the server.
        queue_s, compute_s: mean wait and mean work of a request.
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
    """An entry of the repository's index, with the model's configuration where it is ready."""
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
    """One entry a model and version."""
    return tuple(_model_statistics(entry) for entry in answer.get("model_stats", []))


def _tensors(entries: Sequence[JsonObject]) -> tuple[TensorInfo, ...]:
    return tuple(
        TensorInfo(
            entry["name"], entry["data_type"].removeprefix("TYPE_"), tuple(int(length) for length in entry["dims"])
        )
        for entry in entries
    )


def _model_statistics(entry: JsonObject) -> ModelStatistics:
    # gRPC leaves zeros out, and its 64-bit numbers are strings.
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
