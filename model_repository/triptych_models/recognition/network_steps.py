"""Models `embedder` and `classifier` on a CPU: steps of ensemble `recognizer`, one process each. Loads no decoder."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from triptych_models.errors import InvalidRequest
from triptych_models.metrics.recognitions import DECODED, RecognitionMetrics, plausible_duration
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.stages import EmbedMetrics, Floats, StageMetrics
from triptych_models.placed_files import PlacedFiles
from triptych_models.recognition.onnx_session import open_session
from triptych_models.recognition.stage_metrics import open_classify_metrics, open_embed_metrics
from triptych_models.triton.model import Arrays, Model, ModelConfig, Request, Server

# Features of photos are below 100. From about 1e34 on, scores would not be finite, nor the metrics of all later photos.
MAX_FEATURE = 1e30


class NetworkStep(Model):
    """Runs one ONNX file, with the tensors of the model's config.pbtxt."""

    def __init__(self, config: ModelConfig, metrics: MetricRegistry, server: Server) -> None:
        onnx_file = self._onnx_file(config.files)
        config.files.require(onnx_file)
        self._session = open_session(onnx_file, int(config.parameters["intra_op_threads"]))
        self._outputs = list(config.outputs)
        self._refuse_other_dims(config)
        self._stage = self._open_stage(config, metrics)

    @property
    @abstractmethod
    def _input(self) -> str:
        """Name of the network's input tensor."""

    @abstractmethod
    def _onnx_file(self, files: PlacedFiles) -> Path:
        """The network's file."""

    @abstractmethod
    def _open_stage(self, config: ModelConfig, metrics: MetricRegistry) -> StageMetrics:
        """The metrics of the stage."""

    @abstractmethod
    def _record(self, request: Request, answer: Mapping[str, Floats], started_s: float) -> None:
        """Records the metrics of a request whose run began at `started_s` of the monotonic clock."""

    def _refuse_other_dims(self, config: ModelConfig) -> None:
        """Refuses placed weights of other shapes than the config: then only the placed profiles have the right dims."""
        tensors = (*self._session.get_inputs(), *self._session.get_outputs())
        shapes = {tensor.name: tuple(tensor.shape[1:]) for tensor in tensors}
        for name, stated in {self._input: config.inputs[self._input], **config.outputs}.items():
            if shapes.get(name) != stated:
                raise ValueError(
                    f"the config says {name} is {list(stated)}, the placed ONNX file has {list(shapes.get(name, ()))}. "
                    "Serve a profile placed with it, for example `--model-config-name cpu`, or run `make build`."
                )

    def answer_batch(self, requests: Sequence[Request]) -> list[Arrays | Exception]:
        """See `Model`. One run for all requests: all of them fail when the run fails."""
        started_s = time.monotonic()
        batches = [request.array(self._input) for request in requests]
        stacked = batches[0] if len(batches) == 1 else np.concatenate(batches)
        with self._stage.timed(len(requests)):
            arrays = self._session.run(self._outputs, {self._input: stacked})
        outputs: dict[str, Floats] = dict(zip(self._outputs, arrays, strict=True))
        stops = np.cumsum([len(batch) for batch in batches])
        answers = [
            {name: array[stop - len(batch) : stop] for name, array in outputs.items()}
            for batch, stop in zip(batches, stops, strict=True)
        ]
        for request, answer in zip(requests, answers, strict=True):
            self._record(request, answer, started_s)
        return [*answers]


class Embedder(NetworkStep):
    """Pixels -> pooled features and the embedding."""

    role = "embedder"
    reuses_buffers = True
    _input = "pixels"

    def _onnx_file(self, files: PlacedFiles) -> Path:
        return files.embedder

    def _open_stage(self, config: ModelConfig, metrics: MetricRegistry) -> StageMetrics:
        self._embed = open_embed_metrics(config, metrics)
        return self._embed

    def _record(self, request: Request, answer: Mapping[str, Floats], started_s: float) -> None:
        self._embed.record_answer(answer["embedding"], request.source)


class Classifier(NetworkStep):
    """Features -> scores of each attribute. The last step of the ensemble, so it also records whole recognitions.

    Where `embedder` runs in a native backend, which records no metrics, the profile passes its embedding to this model.
    """

    role = "classifier"
    reuses_buffers = True
    _input = "features"

    def answer_batch(self, requests: Sequence[Request]) -> list[Arrays | Exception]:
        """See `NetworkStep`. Refuses the requests with numbers that no photo has."""
        faults = [_find_fault(request) for request in requests]
        sound = [request for request, fault in zip(requests, faults, strict=True) if fault is None]
        answers = iter(super().answer_batch(sound) if sound else [])
        return [next(answers) if fault is None else fault for fault in faults]

    def _onnx_file(self, files: PlacedFiles) -> Path:
        return files.classifier

    def _open_stage(self, config: ModelConfig, metrics: MetricRegistry) -> StageMetrics:
        self._classify = open_classify_metrics(config, metrics)
        self._recognitions = RecognitionMetrics(metrics)
        is_handed = "embedding" in config.inputs
        self._native_embedder = open_embed_metrics(config, metrics, model=Embedder.role) if is_handed else None
        return self._classify

    def _record(self, request: Request, answer: Mapping[str, Floats], started_s: float) -> None:
        self._classify.record_answer(answer["category_scores"], request.source)
        self._recognitions.record(request.array("timing"), request.source)
        if self._native_embedder is not None:
            _record_embedding(self._native_embedder, request, started_s)


def _find_fault(request: Request) -> InvalidRequest | None:
    for name in ("features", "embedding"):
        array = request.array(name)
        if array is not None and not (np.abs(array) < MAX_FEATURE).all():
            return InvalidRequest(f"`{name}` has numbers that no photo has; expected numbers below {MAX_FEATURE:g}.")
    return None


def _record_embedding(embed: EmbedMetrics, request: Request, started_s: float) -> None:
    embedding, timing = request.array("embedding"), request.array("timing")
    if embedding is None or timing is None:
        return  # not a request of the ensemble
    embed.record_answer(embedding, request.source)
    duration_s = plausible_duration(timing, DECODED, started_s)
    if duration_s is not None:
        embed.observe(duration_s, 1)
