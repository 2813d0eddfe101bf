"""The KServe v2 protocol in plain values: what is asked of a server and what comes back, whatever carries it.

Both ends of every transport; must not import gRPC or an HTTP library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Priority = Literal["interactive", "bulk"]

# Of the queues in each `config.pbtxt`: a lower number is served first. Without one a request has the first.
PRIORITY_LEVELS: Mapping[Priority, int] = {"interactive": 1, "bulk": 2}

JsonObject = dict[str, Any]


class TransportError(Exception):
    """A call failed on the way or was refused by the server.

    Attributes:
        status: gRPC's name of what happened, "UNAVAILABLE" for example, also where HTTP carried the call.
        detail: the server's words, or the transport's own.
    """

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}"


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output to send back: whole, or its `class_count` best classes as labels."""

    name: str
    class_count: int | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output: `content` is the raw little-endian bytes, BYTES elements behind their lengths."""

    datatype: str
    shape: tuple[int, ...]
    content: bytes | memoryview = field(repr=False)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """One inference over encoded photos, sent as BYTES[N,1], or over `inputs` alone where there are none.

    Attributes:
        input_name: of the tensor that takes the photos.
        request_id: the id the server logs.
        inputs: what else goes along, by name.
        parameters: of the request; they may hold a key.
        priority: in the server's queues, also of an ensemble's steps.
    """

    model: str
    input_name: str
    photos: tuple[bytes, ...] = field(repr=False)
    outputs: tuple[RequestedOutput, ...]
    request_id: str
    inputs: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    priority: Priority = "interactive"

    def queueing(self, timeout_s: float) -> dict[str, int]:
        """The parameters that are for the server's queue: `timeout` in microseconds, `priority` unless the first."""
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
        rpc: the method of Triton's gRPC service; `fields` fill its request message.
        verb, path: the same over HTTP; `body` is its JSON.
        model: the model it is about, for error messages.
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
    """-> {}; the server reads the model's files again."""
    path = f"/v2/repository/models/{model}/load"
    return Question("RepositoryModelLoad", "POST", path, {"model_name": model}, body={}, model=model)


def unload_model(model: str) -> Question:
    """-> {}."""
    path = f"/v2/repository/models/{model}/unload"
    return Question("RepositoryModelUnload", "POST", path, {"model_name": model}, body={}, model=model)
