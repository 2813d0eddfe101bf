"""What a model of this package is, to the adapter and to a test: a config, arrays in, arrays out. Imports no Triton."""

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

# Tensor name -> array, rows first: of numpy, or one that speaks DLPack.
Arrays = Mapping[str, Any]


class Request(Protocol):
    """One request of a batch."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Parameters of KServe v2 beside the tensors."""

    def array(self, name: str) -> Any:
        """A tensor of the request as a numpy array; None where an optional one was not sent."""

    def on_device(self, name: str) -> Any:
        """A tensor where it lies, for `from_dlpack`."""


class Server(Protocol):
    """What a model may ask of the server that runs it."""

    def log(self, line: str) -> None:
        """One line of information in the server's log."""

    def infer(self, model: str, inputs: Arrays, output: str) -> Any:
        """One output of another model, as a numpy array.

        Raises:
            InvalidRequest: that model refused it or failed; with its code and sentence.
        """


@dataclass(frozen=True)
class ModelConfig:
    """`config.pbtxt`, or the profile's, as Triton hands it over, and which instance this is.

    Attributes:
        files: of the release that the model is of.
        inputs, outputs: tensor name -> dims without the batch.
        instance: number of this instance.
        device: "cpu", or "cuda:0".
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
        """From what Triton passes to `initialize`, and the file that it loaded: `models/<model>/1/model.py`."""
        config = json.loads(args["model_config"])
        is_gpu = args["model_instance_kind"] == "GPU"
        return cls(
            files=PlacedFiles(shim.resolve().parents[2]),
            parameters={name: value["string_value"] for name, value in config.get("parameters", {}).items()},
            inputs=_dims(config["input"]),
            outputs=_dims(config["output"]),
            max_batch_size=int(config["max_batch_size"]),
            # Each instance runs each sample by itself, in one execution whatever its batch size.
            warm_ups=sum(max(1, int(sample.get("count", 0))) for sample in config.get("model_warmup", [])),
            instance=int(args["model_instance_name"].rpartition("_")[2]),
            device=f"cuda:{args['model_instance_device_id']}" if is_gpu else "cpu",
        )


def _dims(tensors: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, ...]]:
    return {tensor["name"]: tuple(int(dim) for dim in tensor["dims"]) for tensor in tensors}


class Model(ABC):
    """One instance of a model. A subclass loads its files in `__init__` and answers; the adapter does the rest.

    Attributes:
        role: value of the label `model` in metrics and logs, whatever name the model is loaded under.
        codes: with which it may refuse, beside `REQUEST_INVALID` and `INTERNAL`.
        keeps_buffers: whether it makes the same large buffers for every photo (see `triton.allocator`).
    """

    role: ClassVar[str]
    keeps_buffers: ClassVar[bool] = False
    codes: ClassVar[tuple[Code, ...]] = ()

    @abstractmethod
    def __init__(self, config: ModelConfig, metrics: MetricRegistry, server: Server) -> None:
        """Raises:
        Exception: the model cannot be served; the message says what to do.
        """

    def answer_batch(self, requests: Sequence[Request]) -> Sequence[Arrays | Exception]:
        """An answer, or why there is none, for each of the requests that Triton batched."""
        return [self._answer_or_error(request) for request in requests]

    def answer(self, request: Request) -> Arrays:
        """Raises:
        ServingError: what the caller is told, with its code. Any other exception is a fault of ours.
        """
        raise NotImplementedError

    def _answer_or_error(self, request: Request) -> Arrays | Exception:
        try:
            return self.answer(request)
        except Exception as error:
            return error
