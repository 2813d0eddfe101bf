"""A server's side of the transport, played in memory with tritonclient's own messages."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tritonclient.grpc import InferResult, service_pb2
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

from triptych import Client

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = (b"0.93:454:Grocery: Fresh Produce / Granny Smith", b"0.04:281:tabby cat", b"0.03:770:Shoes / running shoe")
_DIRECTION = np.random.default_rng(0).random(1280, dtype=np.float32)
EMBEDDING = _DIRECTION / np.linalg.norm(_DIRECTION)


def _metadata_of(
    inputs: dict[str, str], outputs: dict[str, str], *, model: str = "recognizer"
) -> service_pb2.ModelMetadataResponse:
    """What a server says about a model with these tensors (name -> datatype)."""
    kind = service_pb2.ModelMetadataResponse.TensorMetadata
    return service_pb2.ModelMetadataResponse(
        name=model,
        inputs=[kind(name=name, datatype=datatype) for name, datatype in inputs.items()],
        outputs=[kind(name=name, datatype=datatype) for name, datatype in outputs.items()],
    )


def _answer_of(*, classes: tuple[bytes, ...] = CLASSES, without: str | None = None, version: str = "1") -> InferResult:
    """A server's answer for one photo, `without` one of its outputs."""
    labels = serialize_byte_tensor(np.array([classes], dtype=object)).item() if classes else b""
    tensors = {
        "category_scores": ("BYTES", [1, len(classes)], labels),
        "retail_score": ("FP32", [1, 1], np.float32(0.97).tobytes()),
        "embedding": ("FP32", [1, 1280], EMBEDDING.tobytes()),
    }
    response = service_pb2.ModelInferResponse(model_name="recognizer", model_version=version)
    for name, (datatype, shape, content) in tensors.items():
        if name != without:
            response.outputs.add(name=name, datatype=datatype, shape=shape)
            response.raw_output_contents.append(content)
    return InferResult(response)


@dataclass
class FakeTransport:
    """Answers every call with `answer`, or raises the next of `errors`; keeps what it was sent."""

    metadata: Any = field(
        default_factory=lambda: _metadata_of(
            {"image": "BYTES"}, {"category_scores": "FP32", "retail_score": "FP32", "embedding": "FP32"}
        )
    )
    answer: Any = field(default_factory=_answer_of)
    errors: list[BaseException | None] = field(default_factory=list)
    metadata_error: InferenceServerException | None = None
    metadata_delay_s: float = 0.0
    metadata_timeouts_s: list[float] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    closed: int = 0
    opened: tuple[str, float] | None = None

    def get_model_metadata(self, model_name: str, *, client_timeout: float) -> Any:
        self.metadata_timeouts_s.append(client_timeout)
        time.sleep(self.metadata_delay_s)
        if self.metadata_error is not None:
            raise self.metadata_error
        return self.metadata

    def infer(self, model_name: str, inputs: list[Any], **options: Any) -> Any:
        self.requests.append({"model_name": model_name, "inputs": inputs, **options})
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return self.answer

    def close(self) -> None:
        self.closed += 1

    def sent_photo(self, index: int = -1) -> bytes:
        """The photo as it left for the wire, without its four-byte length."""
        content: bytes = self.requests[index]["inputs"][0]._get_content()
        assert int.from_bytes(content[:4], "little") == len(content) - 4
        return content[4:]


@pytest.fixture
def metadata_of() -> Callable[..., Any]:
    return _metadata_of


@pytest.fixture
def answer_of() -> Callable[..., InferResult]:
    return _answer_of


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def client(transport: FakeTransport) -> Client:
    return Client("shop:8001", _transport=transport)
