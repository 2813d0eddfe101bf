"""Serves the torch program beside it (`model.pt2`): the `gpu-torch` profile's counterpart of `model.py`.

Half precision on a GPU, one CUDA graph a batch size, tensors taken and handed over where they are (DLPack). On a CPU
device it runs in float32, without graphs. Must not know what the network computes: the classifier is this same file.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import torch
import triton_python_backend_utils as pb_utils
from torch.export.passes import move_to_device_pass


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        program_file = Path(__file__).with_name("model.pt2")
        if not program_file.is_file():
            raise pb_utils.TritonModelException(
                f"{config['name']}: no weights for torch at {program_file}. "
                "Place them with `python -m export place --profiles cpu,gpu-torch`."
            )
        is_gpu = args["model_instance_kind"] == "GPU"
        self.device = torch.device(f"cuda:{args['model_instance_device_id']}" if is_gpu else "cpu")
        program = move_to_device_pass(torch.export.load(program_file), str(self.device))
        self.network = Network(program.module(), self.device, config["max_batch_size"])
        self.input_name = config["input"][0]["name"]
        self.output_names = [output["name"] for output in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        tensors = [pb_utils.get_input_tensor_by_name(request, self.input_name) for request in requests]
        batches = [torch.utils.dlpack.from_dlpack(tensor.to_dlpack()).to(self.device) for tensor in tensors]
        outputs = self.network.run(torch.cat(batches))
        split = [torch.split(output, [len(batch) for batch in batches]) for output in outputs]
        return [
            pb_utils.InferenceResponse(
                output_tensors=[
                    pb_utils.Tensor.from_dlpack(name, rows.contiguous())
                    for name, rows in zip(self.output_names, parts, strict=True)
                ]
            )
            for parts in zip(*split, strict=True)
        ]


class Network:
    """A program that is recorded once a batch size and then replayed: a launch costs a GPU more than a small layer.

    Args:
        program: batch -> tuple of float tensors, the batch first.
        max_batch_size: recorded are the powers of two up to it; a batch is filled up to the next one.
    """

    def __init__(self, program: Any, device: torch.device, max_batch_size: int) -> None:
        self._program = program
        self._device = device
        self._max_batch_size = max_batch_size
        self._recorded: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor, tuple[torch.Tensor, ...]]] = {}

    def run(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The program's outputs for the whole batch, float32."""
        with torch.inference_mode():
            if self._device.type == "cpu":
                return tuple(output.float() for output in self._program(batch))
            size = _bucket(len(batch), self._max_batch_size)
            graph, static_input, static_outputs = self._recorded.get(size) or self._record(size, batch)
            static_input[: len(batch)].copy_(batch)
            graph.replay()
            # The next replay writes into the same memory.
            return tuple(output[: len(batch)].float().clone() for output in static_outputs)

    def _record(
        self, size: int, like: torch.Tensor
    ) -> tuple[torch.cuda.CUDAGraph, torch.Tensor, tuple[torch.Tensor, ...]]:
        static_input = torch.zeros((size, *like.shape[1:]), dtype=like.dtype, device=self._device)
        # Libraries choose their algorithms and allocate on the first runs; none of that may be in the recording.
        stream: Any = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream), _half(self._device):
            for _ in range(3):
                self._program(static_input)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph), _half(self._device):
            static_outputs = tuple(self._program(static_input))
        self._recorded[size] = graph, static_input, static_outputs
        return self._recorded[size]


def _half(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    # Without the cache of casts: a recording must hold the casts it replays.
    return torch.autocast(device.type, dtype=torch.float16, cache_enabled=False)


def _bucket(size: int, largest: int) -> int:
    """The next power of two, or `largest`."""
    return min(1 << (size - 1).bit_length(), largest)
