"""KServe v2 over HTTP: encodes requests, decodes answers and errors, chooses addresses in turn. Performs no I/O.

Source: Triton's binary tensor extension, https://github.com/triton-inference-server/server/tree/main/docs/protocol.
"""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from triptych._core.protocol import (
    InferAnswer,
    InferRequest,
    JsonObject,
    Question,
    RequestedOutput,
    Tensor,
    TransportError,
)
from triptych._transport.interface import Headers

JSON_LENGTH = "inference-header-content-length"

# An address that failed is skipped for this time, unless all failed: twice gRPC's first pause before a reconnect. The
# channels of `grpc_transport` skip failed addresses themselves.
COOL_OFF_S = 2.0

# The gRPC status of the HTTP statuses of Triton 2.51.0 (400, 403, 404, 409, 499, 500, 501, 503) and of proxies. Others
# are UNKNOWN.
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_NOT_READY = {400, 404, 503}
# Messages of Triton 2.51.0, which have no code.
_LEAVING = (b"erver is stopping", b"no available versions", b"not at ready state")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request: `path` follows the address, headers are in lower case."""

    verb: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer; headers are in lower case."""

    code: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def encode_infer(request: InferRequest, timeout_s: float, headers: Headers) -> HttpRequest:
    """Encodes a JSON header, followed by the photos; each follows its length, a little-endian uint32."""
    parts: list[bytes | memoryview] = [
        part for photo in request.photos for part in (struct.pack("<I", len(photo)), photo)
    ]
    inputs = []
    if request.photos:
        inputs.append(_sent(request.input_name, "BYTES", (len(request.photos), 1), sum(map(len, parts))))
    for name, tensor in request.inputs.items():
        parts.append(tensor.content)
        inputs.append(_sent(name, tensor.datatype, tensor.shape, len(tensor.content)))
    header = json.dumps(
        {
            "id": request.request_id,
            "parameters": {**request.queueing(timeout_s), **request.texts()},
            "inputs": inputs,
            "outputs": [_wanted(output) for output in request.outputs],
        }
    ).encode()
    sent = {**_lower(headers), "content-type": "application/octet-stream", JSON_LENGTH: str(len(header))}
    return HttpRequest("POST", f"/v2/models/{request.model}/infer", sent, b"".join((header, *parts)))


def encode_question(question: Question, headers: Headers) -> HttpRequest:
    """Encodes any other call."""
    body = b"" if question.body is None else json.dumps(question.body).encode()
    return HttpRequest(question.verb, question.path, {**_lower(headers), "content-type": "application/json"}, body)


def decode_infer(answer: HttpAnswer) -> InferAnswer:
    """The outputs of an inference.

    Raises:
        TransportError: the server refused it, or what came is no such answer.
    """
    _raise_for(answer)
    try:
        header_size = int(answer.headers.get(JSON_LENGTH, len(answer.body)))
        header = json.loads(answer.body[:header_size])
        tensors, at = {}, header_size
        for output in header["outputs"]:
            size = int(output["parameters"]["binary_data_size"])
            # A copy, because numbers in the body would be unaligned.
            content = answer.body[at : at + size]
            tensors[output["name"]] = Tensor(output["datatype"], tuple(output["shape"]), content)
            at += size
    except (ValueError, KeyError, TypeError) as error:
        raise _no_protocol(answer) from error
    if at != len(answer.body):
        raise TransportError("INTERNAL", f"an answer of {len(answer.body)} bytes announced {at}")
    return InferAnswer(header.get("model_version", ""), tensors)


def decode_answer(question: Question, answer: HttpAnswer) -> JsonObject:
    """The answer to a question in the form of gRPC.

    Raises:
        TransportError: the server refused it, or what came is no such answer.
    """
    health = question.path.rpartition("/")[2]
    if health in ("live", "ready"):
        if answer.code not in _NOT_READY:
            _raise_for(answer)
        return {health: answer.code == 200}
    _raise_for(answer)
    try:
        found = json.loads(answer.body) if answer.body else {}
    except ValueError as error:
        raise _no_protocol(answer) from error
    if question.rpc == "RepositoryIndex":
        found = {"models": found}
    if not isinstance(found, dict):
        raise _no_protocol(answer)
    return found


def is_leaving(answer: HttpAnswer) -> bool:
    """Whether a server refused because it shuts down or has not loaded the model; another server may serve it."""
    return answer.code in _NOT_READY and any(words in answer.body for words in _LEAVING)


class Addresses:
    """The servers of one client, used in turn; one that failed is skipped for a time. Threads may share it.

    Args:
        stay: whether to keep to one server until it fails, instead of going round.
    """

    def __init__(self, addresses: Sequence[str], *, stay: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._failed_s = dict.fromkeys(addresses, float("-inf"))
        self._order = list(addresses)
        self._stay = stay
        self._clock = clock
        self._lock = threading.Lock()

    def take(self) -> str:
        """The next address that is not skipped, otherwise the one that failed longest ago."""
        with self._lock:
            now_s = self._clock()
            rested = (address for address in self._order if now_s - self._failed_s[address] >= COOL_OFF_S)
            address = next(rested, None) or min(self._order, key=self._failed_s.__getitem__)
            if not self._stay:
                self._order.remove(address)
                self._order.append(address)
            return address

    def note_failure(self, address: str) -> None:
        """Records that an address did not answer, or that its connection broke."""
        with self._lock:
            self._failed_s[address] = self._clock()


def _sent(name: str, datatype: str, shape: Sequence[int], size_bytes: int) -> JsonObject:
    return {
        "name": name,
        "datatype": datatype,
        "shape": list(shape),
        "parameters": {"binary_data_size": size_bytes},
    }


def _wanted(output: RequestedOutput) -> JsonObject:
    parameters: JsonObject = {"binary_data": True}
    if output.class_count is not None:
        parameters["classification"] = output.class_count
    return {"name": output.name, "parameters": parameters}


def _lower(headers: Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _raise_for(answer: HttpAnswer) -> None:
    if 200 <= answer.code < 300:
        return
    if answer.code == 413:
        raise TransportError("RESOURCE_EXHAUSTED", f"message larger than max: {_words(answer)}")
    status = "UNIMPLEMENTED" if answer.code < 400 else _STATUSES.get(answer.code, "UNKNOWN")
    raise TransportError(status, _words(answer))


def _words(answer: HttpAnswer) -> str:
    """The message of the server, if it sent one; HTML pages of proxies and gateways are not repeated."""
    try:
        return str(json.loads(answer.body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.code}"


def _no_protocol(answer: HttpAnswer) -> TransportError:
    kind = answer.headers.get("content-type", "content of no stated type")
    return TransportError("UNIMPLEMENTED", f"HTTP {answer.code} with {kind} instead of the inference protocol")
