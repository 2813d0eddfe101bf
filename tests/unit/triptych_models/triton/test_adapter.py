"""What the adapter lets out, with a stand-in for Triton's module."""

from __future__ import annotations

import importlib
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from triptych_models.errors import Code, InvalidRequest
from triptych_models.metrics.model_metrics import RefusalMetrics
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.triton.lanes import Lanes
from triptych_models.triton.model import Arrays, Model, Request

UTILS = "triton_python_backend_utils"
PATIENCE_S = 30.0
INSIDE = "/var/lib/triptych/catalogue.sqlite3: segment triptych_1_2_3 of <class 'numpy.ndarray'>"


class Response:
    def __init__(self, output_tensors: Any = (), error: Any = None) -> None:
        self.output_tensors, self.error = output_tensors, error


class Sender:
    """Sends what it is given, or finds shared memory full."""

    def __init__(self, is_full: bool = False) -> None:
        self.sent: list[tuple[Response | None, int]] = []
        self.ended = threading.Event()
        self._is_full = is_full

    def send(self, response: Response | None = None, flags: int = 0) -> None:
        self.sent.append((response, flags))
        self.ended.set()
        if self._is_full:
            raise RuntimeError(INSIDE)


class Call:
    """A request as Triton hands it over."""

    def __init__(self, sender: Sender | None = None, is_cancelled: bool = False, id_: str = "order-7") -> None:
        self.sender = sender or Sender()
        self._is_cancelled, self._id = is_cancelled, id_

    def timeout(self) -> int:
        return 0

    def is_cancelled(self) -> bool:
        return self._is_cancelled

    def parameters(self) -> str:
        return ""

    def request_id(self) -> str:
        return self._id

    def requested_output_names(self) -> list[str]:
        return ["answer"]

    def get_response_sender(self) -> Sender:
        return self.sender


class Stub(Model):
    """Answers, or raises what the test chose."""

    role = "index"
    codes = (Code.FILTER_INVALID, Code.QUEUE_FULL, Code.DEADLINE_EXCEEDED)
    error: ClassVar[Exception | None] = None

    def __init__(self) -> None:
        """Needs no files."""

    def answer(self, request: Request) -> Arrays:
        if self.error is not None:
            raise self.error
        return {"answer": np.zeros(1), "other": np.zeros(1)}


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def adapter(log: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An adapter of `Stub`."""
    utils: Any = ModuleType(UTILS)
    utils.Logger = SimpleNamespace(log_info=log.append, log_error=log.append)
    utils.InferenceResponse = Response
    utils.Tensor = lambda name, array: name
    utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1

    class TritonError(str):
        INVALID_ARG, UNAVAILABLE, CANCELLED, INTERNAL = "INVALID_ARG", "UNAVAILABLE", "CANCELLED", "INTERNAL"
        status: str

        def __new__(cls, text: str, status: str) -> TritonError:
            made = super().__new__(cls, text)
            made.status = status
            return made

    utils.TritonError = TritonError
    monkeypatch.setitem(sys.modules, UTILS, utils)
    monkeypatch.setattr(Stub, "error", None)
    module = importlib.import_module("triptych_models.triton.adapter")
    made = module.Adapter(Stub, Path("model.py"))
    made._metrics = MetricRegistry("index", 0)
    made._refusals = RefusalMetrics(made._metrics, Stub.codes)
    made._model, made._lanes = Stub(), None
    yield made
    for name in ("adapter", "publisher"):
        sys.modules.pop(f"triptych_models.triton.{name}", None)


def test_error_of_the_server_is_told_with_an_id_that_the_log_has(
    adapter: Any, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stub, "error", KeyError(INSIDE))
    (response,) = adapter.execute([Call()])
    assert response.error.status == "INTERNAL"
    found = re.fullmatch(
        r"\[internal\] index failed; the request is not the cause\. Send it again; the server's log has the details as "
        r"error ([0-9a-f]{8})\.",
        response.error,
    )
    assert found is not None
    (line,) = [line for line in log if found[1] in line]
    assert "KeyError" in line
    assert "catalogue.sqlite3" in line
    assert "order-7" in line


def test_error_of_the_request_keeps_its_sentence(adapter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stub, "error", InvalidRequest("The filter \ud800 is odd.", Code.FILTER_INVALID))
    (response,) = adapter.execute([Call()])
    assert response.error.status == "INVALID_ARG"
    assert response.error == "[filter_invalid] The filter \\ud800 is odd."


def test_requested_outputs_alone_are_sent(adapter: Any) -> None:
    (response,) = adapter.execute([Call()])
    assert response.output_tensors == ["answer"]


class Lane(Stub):
    """Has no say about its lanes."""

    def lane_of(self, request: Request) -> int:
        raise KeyError(INSIDE)


@pytest.fixture
def lane_adapter(adapter: Any) -> Any:
    adapter._lanes = Lanes(1, adapter._answer_later, max_waiting=1)
    return adapter


def test_request_in_a_lane_is_answered(lane_adapter: Any) -> None:
    call = Call()
    assert lane_adapter.execute([call]) is None
    assert call.sender.ended.wait(PATIENCE_S)
    assert [flags for _, flags in call.sender.sent] == [1], "a second message would end Triton 2.51.0"


def test_error_in_a_lane_is_one_message(lane_adapter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stub, "error", KeyError(INSIDE))
    call = Call()
    lane_adapter.execute([call])
    assert call.sender.ended.wait(PATIENCE_S)
    ((response, flags),) = call.sender.sent
    assert response is not None
    assert flags == 1
    assert INSIDE not in response.error


def test_answer_without_room_in_shared_memory_is_an_error(lane_adapter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["triptych_models.triton.adapter"]
    monkeypatch.setattr(module, "free_shared_memory", lambda: 0.0)
    monkeypatch.setattr(module, "SMALL_BYTES", 0)
    call = Call()
    lane_adapter.execute([call])
    assert call.sender.ended.wait(PATIENCE_S)
    ((response, _),) = call.sender.sent
    assert response is not None
    assert response.error.startswith("[queue_full] ")


def test_lane_goes_on_after_an_answer_that_could_not_be_sent(lane_adapter: Any, log: list[str]) -> None:
    call, next_call = Call(Sender(is_full=True)), Call()
    lane_adapter.execute([call])
    assert call.sender.ended.wait(PATIENCE_S)
    lane_adapter.execute([next_call])
    assert next_call.sender.ended.wait(PATIENCE_S)
    assert any("unsent" in line for line in log)


def test_request_of_a_caller_who_left_is_not_answered(lane_adapter: Any) -> None:
    call = Call(is_cancelled=True)
    lane_adapter.execute([call])
    assert call.sender.ended.wait(PATIENCE_S)
    ((response, _),) = call.sender.sent
    assert response is not None
    assert response.error.status == "CANCELLED"
    assert response.error.startswith("[deadline_exceeded] ")


def test_fault_of_the_lane_choice_is_an_answer_too(lane_adapter: Any) -> None:
    lane_adapter._model = Lane()
    call = Call()
    lane_adapter.execute([call])
    assert call.sender.ended.wait(PATIENCE_S)
    ((response, _),) = call.sender.sent
    assert response is not None
    assert INSIDE not in response.error
