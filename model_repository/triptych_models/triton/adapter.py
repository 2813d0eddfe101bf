"""Adapts a `Model` to Triton's Python backend: parameters, batches, errors, log lines, metrics. Besides the publisher,
the only module that imports `triton_python_backend_utils`.
"""

from __future__ import annotations

import functools
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

import triptych_models
from triptych_models.errors import CallerGone, Code, InvalidRequest, QueueFull, ServingError, Status, split_wire_text
from triptych_models.metrics.model_metrics import (
    RefusalMetrics,
    free_shared_memory,
    record_life,
    record_restarts,
    record_shared_memory,
)
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.sources import OTHER, PARAMETER, parse_source
from triptych_models.triton.allocator import retain_freed_memory
from triptych_models.triton.lanes import MAX_WAITING, Lanes
from triptych_models.triton.log_lines import as_unicode, describe, write
from triptych_models.triton.model import Arrays, Model, ModelConfig
from triptych_models.triton.publisher import Publisher
from triptych_models.triton.server_folder import open_server_folder

# An answer of this size has room in the memory that the model's process holds already.
SMALL_BYTES = 2**16

# Names, because Triton fills the module with its content only after it has imported the model.
_STATUS = {
    Status.INVALID_ARGUMENT: "INVALID_ARG",
    Status.UNAVAILABLE: "UNAVAILABLE",
    Status.DEADLINE_EXCEEDED: "CANCELLED",
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
            record_life(self._metrics, _count_instances(args))
            record_restarts(self._metrics, open_server_folder())
        except Exception as error:
            raise pb_utils.TritonModelException(as_unicode(f"{role}: {error}")) from error
        lanes = self._model_class.lanes
        self._lanes: Lanes[TritonRequest] | None = Lanes(lanes, self._answer_later) if lanes else None
        Publisher(self._metrics).start()

    def execute(self, requests: list[Any]) -> list[Any] | None:
        """Must not raise: Triton would send the error's text, with files and names of the server, to the callers."""
        taken = [*map(TritonRequest, requests)]
        with self._metrics.execution():
            if self._lanes is None:
                return self._answer(taken)
            for request in taken:
                request.open_sender()
                try:
                    if not self._lanes.offer(request, self._model.lane_of(request)):
                        raise QueueFull(f"{MAX_WAITING} requests are waiting already")
                except Exception as error:
                    self._send(request, self._respond(request, error))
        return None

    def _answer(self, requests: list[TritonRequest]) -> list[Any]:
        try:
            answers: Sequence[Arrays | Exception] = self._model.answer_batch(requests)
        except Exception as error:
            answers = [error] * len(requests)
        return [self._respond(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def _answer_later(self, request: TritonRequest) -> None:
        try:
            if request.is_abandoned():
                raise CallerGone
            (response,) = self._answer([request])
        except Exception as error:
            response = self._respond(request, error)
        self._send(request, response)

    def _send(self, request: TritonRequest, response: Any) -> None:
        try:
            request.send(response)
        except Exception as error:  # shared memory has filled meanwhile: the caller waits until its deadline
            fields = {"model": self._model_class.role, "message": f"{type(error).__name__}: {error}"}
            write(pb_utils.Logger.log_error, describe("unsent", **fields))

    def _respond(self, request: TritonRequest, answer: Arrays | Exception) -> Any:
        try:
            if not isinstance(answer, Exception):
                if self._lanes is not None:
                    _check_room(answer)
                requested = request.outputs()
                tensors = [_tensor(name, array) for name, array in answer.items() if name in requested]
                return pb_utils.InferenceResponse(output_tensors=tensors)
        except Exception as error:
            answer = error
        return pb_utils.InferenceResponse(error=self._refuse(answer, request))

    def _refuse(self, error: Exception, request: TritonRequest) -> Any:
        """The error of a request. Returned, not raised: a raised error fails the whole batch and is counted twice."""
        role = self._model_class.role
        told = error if isinstance(error, ServingError) and self._refusals.knows(error.code) else None
        code = Code.INTERNAL if told is None else told.code
        self._refusals.count(code, request.source)
        error_id = secrets.token_hex(4)
        fields = {"model": role, "code": code.text, "request_id": request.id() or "-"}
        if code.is_servers_fault:
            fields["error_id"] = error_id
            write(pb_utils.Logger.log_error, describe("failed", **fields, message=f"{type(error).__name__}: {error}"))
        else:
            cause = {"cause": str(error.__cause__)} if error.__cause__ is not None else {}
            write(pb_utils.Logger.log_info, describe("refused", **fields, message=str(error), **cause))
        _drop_frames(error)
        if told is not None:
            return _error(told.wire_text, code)
        sentence = (
            f"{role} failed; the request is not the cause. Send it again; the server's log has the details as error "
            f"{error_id}."
        )
        return _error(f"[{code.text}] {sentence}", code)


class TritonRequest:
    """See `Request`. Text of a caller that is not UTF-8 is refused by the methods that read it."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._sender: Any = None
        timeout_us = request.timeout()
        self._end_s = time.monotonic() + timeout_us / 1e6 if timeout_us else None

    @property
    def parameters(self) -> Mapping[str, Any]:
        try:
            parameters: dict[str, Any] = json.loads(self._request.parameters() or "{}")
        except ValueError as error:
            raise InvalidRequest("The request's parameters are invalid; expected UTF-8 and finite numbers.") from error
        return parameters

    @property
    def source(self) -> str:
        try:
            return parse_source(self.parameters.get(PARAMETER))
        except InvalidRequest:
            return OTHER

    def id(self) -> str:
        try:
            return str(self._request.request_id())
        except UnicodeDecodeError:
            return "(not UTF-8)"

    def outputs(self) -> Sequence[str]:
        names: Sequence[str] = self._request.requested_output_names()
        return names

    def is_abandoned(self) -> bool:
        is_late = self._end_s is not None and time.monotonic() > self._end_s
        return is_late or bool(self._request.is_cancelled())

    def open_sender(self) -> None:
        """Prepares `send`, for a request that `execute` does not answer."""
        self._sender = self._request.get_response_sender()

    def send(self, response: Any) -> None:
        """Answers the request, in one message: a second one to a caller who has left ends Triton 2.51.0 (SIGSEGV)."""
        self._sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def array(self, name: str) -> Any:
        tensor = pb_utils.get_input_tensor_by_name(self._request, name)
        return None if tensor is None else tensor.as_numpy()

    def on_device(self, name: str) -> Any:
        return pb_utils.get_input_tensor_by_name(self._request, name).to_dlpack()


class TritonServer:
    """See `Server`."""

    def log(self, line: str) -> None:
        write(pb_utils.Logger.log_info, line)

    def infer(self, model: str, inputs: Arrays, output: str, source: str) -> Any:
        answer = pb_utils.InferenceRequest(
            model_name=model,
            requested_output_names=[output],
            inputs=[pb_utils.Tensor(name, array) for name, array in inputs.items()],
            parameters={PARAMETER: source},
        ).exec()
        if answer.has_error():
            code, sentence = split_wire_text(answer.error().message())
            is_full = answer.error().code() == pb_utils.TritonError.UNAVAILABLE
            # An error without a code is Triton's: a full queue, or a model that is loading, unloaded or dead.
            raise InvalidRequest(sentence, code or (Code.QUEUE_FULL if is_full else Code.MODEL_NOT_READY))
        return pb_utils.get_output_tensor_by_name(answer, output).as_numpy()


def _drop_frames(error: BaseException | None) -> None:
    """Drops the tracebacks, whose frames hold the request and its photos until the next full garbage collection."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _count_instances(args: Mapping[str, str]) -> int:
    """Processes of the model: on each GPU of a group as many as its count."""
    groups = json.loads(args["model_config"]).get("instance_group", [])
    return sum(max(1, int(group.get("count", 1))) * max(1, len(group.get("gpus", []))) for group in groups)


def _check_room(answer: Arrays) -> None:
    """Checks that shared memory has room for an answer: one that does not fit cannot be sent, nor an error after it.

    Raises:
        QueueFull: shared memory is full.
    """
    size_bytes = sum(_size_bytes(array) for array in answer.values())
    if size_bytes > SMALL_BYTES and size_bytes > free_shared_memory():
        raise QueueFull("Shared memory has no room for the answer")


def _size_bytes(array: Any) -> int:
    if array.dtype == object:
        return sum(4 + len(text) for text in array.reshape(-1))
    return int(array.nbytes)


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
