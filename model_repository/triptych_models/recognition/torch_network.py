"""Models `embedder` and `classifier` of profile `gpu-torch`: torch programs (`model.pt2`) in the Python backend.

Half precision on a GPU, one CUDA graph for each batch size, tensors passed on the device (DLPack). On a CPU device they
run in float32, without graphs.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.export.passes import move_to_device_pass

from triptych_models.metrics.recognitions import RecognitionMetrics
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.stages import StageMetrics
from triptych_models.placed_files import NotPlaced
from triptych_models.recognition.stage_metrics import open_classify_metrics, open_embed_metrics
from triptych_models.triton.model import Arrays, Model, ModelConfig, Request, Server


class TorchStep(Model):
    """Runs one torch program, with the tensors of the model's config.pbtxt."""

    _input: str

    def __init__(self, config: ModelConfig, metrics: MetricRegistry, server: Server) -> None:
        program_file = config.files.program(self.role)
        if not program_file.is_file():
            raise NotPlaced(
                f"the torch program {program_file} is missing. "
                "Place them with `triptych build --profiles cpu,gpu-torch`."
            )
        self._device = torch.device(config.device)
        program = move_to_device_pass(torch.export.load(program_file), str(self._device))
        self._network = Network(program.module(), self._device, config.max_batch_size)
        self._outputs = list(config.outputs)
        self._stage = self._open_stage(config, metrics)

    @abstractmethod
    def _open_stage(self, config: ModelConfig, metrics: MetricRegistry) -> StageMetrics:
        """The metrics of the stage."""

    @abstractmethod
    def _record(self, request: Request, answer: Mapping[str, torch.Tensor]) -> None:
        """Records the metrics of a request."""

    def answer_batch(self, requests: Sequence[Request]) -> list[Arrays | Exception]:
        """See `Model`. One run for all requests: all of them fail when the run fails."""
        batches = [torch.utils.dlpack.from_dlpack(one.on_device(self._input)).to(self._device) for one in requests]
        with self._stage.timed(len(requests)):
            outputs = dict(zip(self._outputs, self._network.run(torch.cat(batches)), strict=True))
        split = {name: torch.split(output, [len(batch) for batch in batches]) for name, output in outputs.items()}
        answers = [{name: parts[place].contiguous() for name, parts in split.items()} for place in range(len(requests))]
        for request, answer in zip(requests, answers, strict=True):
            self._record(request, answer)
        return [*answers]


class TorchEmbedder(TorchStep):
    """Pixels -> pooled features and the embedding."""

    role = "embedder"
    _input = "pixels"

    def _open_stage(self, config: ModelConfig, metrics: MetricRegistry) -> StageMetrics:
        self._embed = open_embed_metrics(config, metrics)
        return self._embed

    def _record(self, request: Request, answer: Mapping[str, torch.Tensor]) -> None:
        self._embed.record_answer(answer["embedding"].cpu().numpy(), request.source)


class TorchClassifier(TorchStep):
    """Features -> scores of each attribute; see `network_steps.Classifier`."""

    role = "classifier"
    _input = "features"

    def _open_stage(self, config: ModelConfig, metrics: MetricRegistry) -> StageMetrics:
        self._classify = open_classify_metrics(config, metrics)
        self._recognitions = RecognitionMetrics(metrics)
        return self._classify

    def _record(self, request: Request, answer: Mapping[str, torch.Tensor]) -> None:
        self._classify.record_answer(answer["category_scores"].cpu().numpy(), request.source)
        self._recognitions.record(request.array("timing"), request.source)


class Network:
    """A program that is recorded once for each batch size and replayed: a kernel launch costs more than a small layer.

    Args:
        program: batch -> tuple of float tensors, the batch first.
        device: device of the tensors.
        max_batch_size: programs are recorded for the powers of two up to it; a batch is padded to the next one.
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
        # In the first runs libraries choose algorithms and allocate memory; a recording must contain neither.
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
    # Without the cast cache: a recording must contain its own casts.
    return torch.autocast(device.type, dtype=torch.float16, cache_enabled=False)


def _bucket(size: int, largest: int) -> int:
    """The next power of two, or `largest`."""
    return min(1 << (size - 1).bit_length(), largest)
