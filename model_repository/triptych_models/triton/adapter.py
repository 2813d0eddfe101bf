"""A `Model` as Triton's Python backend wants it: parameters, batches, refusals, log lines, metrics. Nothing else knows
`triton_python_backend_utils` but the publisher of metrics.
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
from triptych_models.metrics.process import record_shared_memory
from triptych_models.metrics.refusals import RefusalMetrics
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.triton.allocator import keep_buffers
from triptych_models.triton.log_lines import describe
from triptych_models.triton.model import Arrays, Model, ModelConfig
from triptych_models.triton.publisher import Publisher

# Names, because Triton fills the module in only after it has imported the model.
_STATUS = {
    Status.INVALID_ARGUMENT: "INVALID_ARG",
    Status.UNAVAILABLE: "UNAVAILABLE",
    Status.INTERNAL: "INTERNAL",
}


def adapt(model: type[Model], shim: str) -> Any:
    """What a shim calls `TritonPythonModel`.

    Args:
        model: the class behind the shim.
        shim: the shim's own `__file__`, which tells the release that it is of.
    """
    return functools.partial(Adapter, model, Path(shim))


class Adapter:
    """Triton's interface of a Python model."""

    def __init__(self, model: type[Model], shim: Path) -> None:
        self._model_class = model
        self._shim = shim

    def initialize(self, args: dict[str, str]) -> None:
        if self._model_class.keeps_buffers:
            keep_buffers()
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
        asked = request.requested_output_names()
        tensors = [_tensor(name, array) for name, array in answer.items() if name in asked]
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _refuse(self, error: Exception, request_id: str) -> Any:
        """Returned, not raised: a raised error fails the others of the batch too, and Triton counts it twice."""
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
        sentence = f"{role} failed; the request is not at fault. Send it again; the server's log says why."
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
            # Without a code it is Triton that speaks: of a queue, or of a model that is loading, gone or dead.
            raise InvalidRequest(sentence, code or (Code.QUEUE_FULL if is_full else Code.MODEL_NOT_READY))
        return pb_utils.get_output_tensor_by_name(answer, output).as_numpy()


def _tensor(name: str, array: Any) -> Any:
    if isinstance(array, np.ndarray):
        return pb_utils.Tensor(name, array)
    return pb_utils.Tensor.from_dlpack(name, array)


def _error(text: str, code: Code) -> Any:
    return pb_utils.TritonError(text, getattr(pb_utils.TritonError, _STATUS[code.status]))


def _refuse_other_package(config: ModelConfig) -> None:
    """The code of one release with the weights of another would answer, and differently from both."""
    expected = config.files.models.parent
    got = Path(triptych_models.__file__).resolve().parents[1]
    if got == expected:
        return
    if not (expected / triptych_models.__name__).is_dir():
        raise RuntimeError(
            f"{expected} has no folder triptych_models beside models, and the one of {got} is another release's. Serve "
            "a whole release, or place the weights there with `python -m export place --repository`."
        )
    raise RuntimeError(
        f"the model is of {expected}, the package triptych_models of {got}. Start tritonserver with {expected} as "
        "its working directory and as PYTHONPATH."
    )
