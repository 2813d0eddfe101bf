"""The interface of a model to the adapter and to tests: config and arrays in, arrays out. Imports no Triton module."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from triptych_models.errors import Code
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.placed_files import PlacedFiles

# Tensor name -> array, rows first: a numpy array or a DLPack tensor.
Arrays = Mapping[str, Any]


class Request(Protocol):
    """One request of a batch."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The request's KServe v2 parameters."""

    @property
    def source(self) -> str:
        """What the request is for: one of `metrics.sources.SOURCES`. Raises nothing."""

    def array(self, name: str) -> Any:
        """A tensor of the request as a numpy array; None where an optional tensor is missing."""

    def on_device(self, name: str) -> Any:
        """A tensor on its device, for `from_dlpack`."""

    def is_abandoned(self) -> bool:
        """Whether the caller has cancelled the request, or its parameter `timeout` has passed.

        Triton 2.51.0 tells a step of an ensemble nothing of a cancelled request.
        """


class Server(Protocol):
    """The server's functions for a model."""

    def log(self, line: str) -> None:
        """Writes one line to the server's log, at level info."""

    def infer(self, model: str, inputs: Arrays, output: str, source: str) -> Any:
        """One output of another model, as a numpy array; the other model counts the request under `source`.

        Raises:
            InvalidRequest: the other model failed; with its code and sentence.
        """


@dataclass(frozen=True)
class ModelConfig:
    """`config.pbtxt` or a profile's config, as Triton passes it, and the instance.

    Attributes:
        files: files of the model's release.
        inputs, outputs: tensor name -> dims without the batch.
        instance: number of this instance.
        device: "cpu" or "cuda:0".
    """

    files: PlacedFiles
    parameters: Mapping[str, str]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    max_batch_size: int
    warm_ups: int
    instance: int
    device: str

    @classmethod
    def parse(cls, args: Mapping[str, str], shim: Path) -> ModelConfig:
        """The config in Triton's arguments of `initialize`; `shim` is the loaded file `models/<model>/1/model.py`."""
        config = json.loads(args["model_config"])
        is_gpu = args["model_instance_kind"] == "GPU"
        return cls(
            files=PlacedFiles(shim.resolve().parents[2]),
            parameters={name: value["string_value"] for name, value in config.get("parameters", {}).items()},
            inputs=_dims(config["input"]),
            outputs=_dims(config["output"]),
            max_batch_size=int(config["max_batch_size"]),
            # Each instance runs each sample once for each count, whatever its batch size.
            warm_ups=sum(max(1, int(sample.get("count", 0))) for sample in config.get("model_warmup", [])),
            instance=int(args["model_instance_name"].rpartition("_")[2]),
            device=f"cuda:{args['model_instance_device_id']}" if is_gpu else "cpu",
        )


def _dims(tensors: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, ...]]:
    return {tensor["name"]: tuple(int(dim) for dim in tensor["dims"]) for tensor in tensors}


class Model(ABC):
    """One instance of a model. A subclass loads its files in `__init__` and answers requests.

    Attributes:
        role: label `model` in metrics and logs, whatever name the model is loaded under.
        codes: error codes of the model, beside `REQUEST_INVALID` and `INTERNAL`.
        reuses_buffers: whether the model allocates the same large buffers for every photo (see `triton.allocator`).
        lanes: number of queues of the model's own, each with a thread (see `triton.lanes`); with 0, requests wait in
            Triton's queue and `answer_batch` gets whole batches.
    """

    role: ClassVar[str]
    reuses_buffers: ClassVar[bool] = False
    codes: ClassVar[tuple[Code, ...]] = ()
    lanes: ClassVar[int] = 0

    @abstractmethod
    def __init__(self, config: ModelConfig, metrics: MetricRegistry, server: Server) -> None:
        """Loads the model.

        Raises:
            Exception: the model cannot be served; the message says what to do.
        """

    def lane_of(self, request: Request) -> int:
        """The lane of a request, of those that the model has. Must be quick, and must not raise."""
        return 0

    def answer_batch(self, requests: Sequence[Request]) -> Sequence[Arrays | Exception]:
        """An answer or an error for each request of the batch."""
        return [self._answer_or_error(request) for request in requests]

    def answer(self, request: Request) -> Arrays:
        """The answer to one request.

        Raises:
            ServingError: the request fails; with a code and a sentence. Any other exception is an error of the server.
        """
        raise NotImplementedError

    def _answer_or_error(self, request: Request) -> Arrays | Exception:
        try:
            return self.answer(request)
        except Exception as error:
            return error
