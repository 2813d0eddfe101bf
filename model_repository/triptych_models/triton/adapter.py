"""Adapts a `Model` to Triton's Python backend: parameters, batches, errors, log lines, metrics. Besides the publisher,
the only module that imports `triton_python_backend_utils`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

import triptych_models
from triptych_models.errors import Code, InvalidRequest, ServingError, Status, split_wire_text
from triptych_models.metrics.model_metrics import RefusalMetrics, record_shared_memory
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.triton.allocator import retain_freed_memory
from triptych_models.triton.log_lines import describe
from triptych_models.triton.model import Arrays, Model, ModelConfig
from triptych_models.triton.publisher import Publisher

# Names, because Triton fills the module with its content only after it has imported the model.
_STATUS = {
    Status.INVALID_ARGUMENT: "INVALID_ARG",
    Status.UNAVAILABLE: "UNAVAILABLE",
    Status.INTERNAL: "INTERNAL",
}


def adapt(model: type[Model], shim: str) -> Any:
    """The class `TritonPythonModel` of a shim.

    Args:
        model: class of the model.
        shim: `__file__` of the shim, which identifies the release.
    """
    return functools.partial(Adapter, model, Path(shim))


class Adapter:
    """The interface that Triton expects of a Python model."""

    def __init__(self, model: type[Model], shim: Path) -> None:
        self._model_class = model
        self._shim = shim

    def initialize(self, args: dict[str, str]) -> None:
        if self._model_class.reuses_buffers:
            retain_freed_memory()
        role = self._model_class.role
        try:
            config = ModelConfig.parse(args, self._shim)
            _refuse_other_package(config)
            self._metrics = MetricRegistry(role, config.warm_ups)
            self._refusals = RefusalMetrics(self._metrics, self._model_class.codes)
            record_shared_memory(self._metrics)
            self._model = self._model_class(config, self._metrics, TritonServer())
        except Exception as error:
            raise pb_utils.TritonModelException(f"{role}: {error}") from error
        Publisher(self._metrics).start()

    def execute(self, requests: list[Any]) -> list[Any]:
        with self._metrics.execution():
            try:
                answers: Sequence[Arrays | Exception] = self._model.answer_batch([*map(TritonRequest, requests)])
            except Exception as error:
                answers = [error] * len(requests)
            return [self._respond(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def _respond(self, request: Any, answer: Arrays | Exception) -> Any:
        if isinstance(answer, Exception):
            return pb_utils.InferenceResponse(error=self._refuse(answer, request.request_id()))
        requested = request.requested_output_names()
        tensors = [_tensor(name, array) for name, array in answer.items() if name in requested]
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _refuse(self, error: Exception, request_id: str) -> Any:
        """The error of a request. Returned, not raised: a raised error fails the whole batch and is counted twice."""
        role = self._model_class.role
        told = error if isinstance(error, ServingError) and self._refusals.knows(error.code) else None
        code = Code.INTERNAL if told is None else told.code
        self._refusals.count(code)
        fields = {"model": role, "code": code.text, "request_id": request_id or "-"}
        if code.is_servers_fault:
            pb_utils.Logger.log_error(describe("failed", **fields, message=f"{type(error).__name__}: {error}"))
        else:
            cause = {"cause": str(error.__cause__)} if error.__cause__ is not None else {}
            pb_utils.Logger.log_info(describe("refused", **fields, message=str(error), **cause))
        if told is not None:
            return _error(told.wire_text, code)
        sentence = f"{role} failed; the request is not the cause. Send it again; the server's log has the details."
        return _error(f"[{code.text}] {sentence}", code)


class TritonRequest:
    """See `Request`."""

    def __init__(self, request: Any) -> None:
        self._request = request

    @property
    def parameters(self) -> Mapping[str, Any]:
        parameters: dict[str, Any] = json.loads(self._request.parameters() or "{}")
        return parameters

    def array(self, name: str) -> Any:
        tensor = pb_utils.get_input_tensor_by_name(self._request, name)
        return None if tensor is None else tensor.as_numpy()

    def on_device(self, name: str) -> Any:
        return pb_utils.get_input_tensor_by_name(self._request, name).to_dlpack()


class TritonServer:
    """See `Server`."""

    def log(self, line: str) -> None:
        pb_utils.Logger.log_info(line)

    def infer(self, model: str, inputs: Arrays, output: str) -> Any:
        answer = pb_utils.InferenceRequest(
            model_name=model,
            requested_output_names=[output],
            inputs=[pb_utils.Tensor(name, array) for name, array in inputs.items()],
        ).exec()
        if answer.has_error():
            code, sentence = split_wire_text(answer.error().message())
            is_full = answer.error().code() == pb_utils.TritonError.UNAVAILABLE
            # An error without a code is Triton's: a full queue, or a model that is loading, unloaded or dead.
            raise InvalidRequest(sentence, code or (Code.QUEUE_FULL if is_full else Code.MODEL_NOT_READY))
        return pb_utils.get_output_tensor_by_name(answer, output).as_numpy()


def _tensor(name: str, array: Any) -> Any:
    if isinstance(array, np.ndarray):
        return pb_utils.Tensor(name, array)
    return pb_utils.Tensor.from_dlpack(name, array)


def _error(text: str, code: Code) -> Any:
    return pb_utils.TritonError(text, getattr(pb_utils.TritonError, _STATUS[code.status]))


def _refuse_other_package(config: ModelConfig) -> None:
    """Refuses to serve a model with the package of another release, which could return different answers."""
    expected = config.files.models.parent
    got = Path(triptych_models.__file__).resolve().parents[1]
    if got == expected:
        return
    if not (expected / triptych_models.__name__).is_dir():
        raise RuntimeError(
            f"{expected} has no folder triptych_models beside models, and the package of {got} is of another release. "
            "Serve a complete release, or place the weights there with `triptych build --repository`."
        )
    raise RuntimeError(
        f"the model is of {expected}, but package triptych_models is of {got}. Start tritonserver with {expected} as "
        "its working directory and as PYTHONPATH."
    )
