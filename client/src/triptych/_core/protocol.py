"""The KServe v2 protocol as plain values: requests, questions, answers and tensors, the same for every transport.

Must not import gRPC or an HTTP library.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Priority = Literal["interactive", "bulk"]

# Priority levels of the queues in each `config.pbtxt`: the lower number is served first, and is the default.
PRIORITY_LEVELS: Mapping[Priority, int] = {"interactive": 1, "bulk": 2}

# What a call is for: the values of label `source` in the server's metrics, where a call without one is the shopper's.
Source = Literal["shopper", "import", "search", "bulk", "internal"]
SOURCES: tuple[Source, ...] = get_args(Source)

JsonObject = dict[str, Any]


class TransportError(Exception):
    """A call failed in the transport, or the server refused it.

    Attributes:
        status: the gRPC status, "UNAVAILABLE" for example, also for a call over HTTP.
        detail: the message of the server or of the transport.
    """

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}"


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output to return: all values, or its `class_count` best classes as labels."""

    name: str
    class_count: int | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output: `content` has the raw little-endian bytes; a BYTES element follows its length."""

    datatype: str
    shape: tuple[int, ...]
    content: bytes | memoryview = field(repr=False)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """One inference on encoded photos, sent as BYTES[N,1], or on `inputs` alone where there are none.

    Attributes:
        input_name: name of the tensor of the photos.
        request_id: the id in the server's log.
        inputs: further tensors by name.
        parameters: of the request; they may contain a key.
        priority: in the server's queues, also those of the steps of an ensemble.
        source: what the request is for.
    """

    model: str
    input_name: str
    photos: tuple[bytes, ...] = field(repr=False)
    outputs: tuple[RequestedOutput, ...]
    request_id: str
    inputs: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    priority: Priority = "interactive"
    source: Source | None = None

    def texts(self) -> dict[str, str]:
        """The parameters that are text: `parameters`, and `source` if it is not the server's default."""
        return {**self.parameters} | ({} if self.source in (None, "shopper") else {"source": str(self.source)})

    def queueing(self, timeout_s: float) -> dict[str, int]:
        """The parameters of the server's queue: `timeout` in microseconds, and `priority` if it is not level 1."""
        level = PRIORITY_LEVELS[self.priority]
        return {"timeout": int(timeout_s * 1e6)} | ({} if level == 1 else {"priority": level})


@dataclass(frozen=True, slots=True)
class InferAnswer:
    """The outputs of one inference by name."""

    model_version: str
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Question:
    """A call other than inference; its answer is a JSON object with the field names of the protocol.

    Attributes:
        rpc: the method of Triton's gRPC service; `fields` are those of its request message.
        verb, path: the same call over HTTP; `body` is its JSON.
        model: the model of the call, for error messages.
    """

    rpc: str
    verb: str
    path: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    body: JsonObject | None = None
    model: str | None = None


Call = InferRequest | Question


def server_live() -> Question:
    """-> {"live": bool}."""
    return Question("ServerLive", "GET", "/v2/health/live")


def server_ready() -> Question:
    """-> {"ready": bool}."""
    return Question("ServerReady", "GET", "/v2/health/ready")


def model_ready(model: str) -> Question:
    """-> {"ready": bool}."""
    return Question("ModelReady", "GET", f"/v2/models/{model}/ready", {"name": model}, model=model)


def server_metadata() -> Question:
    """-> {"name", "version", "extensions"}."""
    return Question("ServerMetadata", "GET", "/v2")


def model_metadata(model: str) -> Question:
    """-> {"name", "versions", "inputs": [{"name", "datatype", "shape"}], "outputs"}."""
    return Question("ModelMetadata", "GET", f"/v2/models/{model}", {"name": model}, model=model)


def model_config(model: str) -> Question:
    """-> the model's `config.pbtxt` as JSON, as HTTP spells it: over gRPC it is not wrapped in "config" either."""
    return Question("ModelConfig", "GET", f"/v2/models/{model}/config", {"name": model}, model=model)


def repository_index() -> Question:
    """-> {"models": [{"name", "version", "state", "reason"}]}."""
    return Question("RepositoryIndex", "POST", "/v2/repository/index", body={})


def model_statistics(model: str = "") -> Question:
    """-> {"model_stats": [...]}, of one model or of all."""
    path = f"/v2/models/{model}/stats" if model else "/v2/models/stats"
    return Question("ModelStatistics", "GET", path, {"name": model} if model else {}, model=model or None)


def load_model(model: str) -> Question:
    """-> {}; the server loads the model's files again."""
    path = f"/v2/repository/models/{model}/load"
    return Question("RepositoryModelLoad", "POST", path, {"model_name": model}, body={}, model=model)


def unload_model(model: str) -> Question:
    """-> {}."""
    path = f"/v2/repository/models/{model}/unload"
    return Question("RepositoryModelUnload", "POST", path, {"model_name": model}, body={}, model=model)


def bytes_tensor(values: Sequence[bytes], shape: tuple[int, ...]) -> Tensor:
    """A BYTES tensor: each element follows its length, a little-endian uint32."""
    return Tensor("BYTES", shape, b"".join(part for value in values for part in (struct.pack("<I", len(value)), value)))


def elements(content: bytes | memoryview) -> Iterator[bytes]:
    """The elements of a BYTES tensor's content."""
    at = 0
    while at + 4 <= len(content):
        (length,) = struct.unpack_from("<I", content, at)
        yield bytes(content[at + 4 : at + 4 + length])
        at += 4 + length
