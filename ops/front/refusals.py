"""What the front answers in place of Triton: an HTTP status, a gRPC status, a code of the wire and a sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ops.front.limits import MIB, Limits


@dataclass(frozen=True)
class Refusal:
    """One answer of the front.

    Attributes:
        http: status over HTTP.
        grpc: status over gRPC, by number.
        code: of the wire; `triptych_models.errors` is the home of the codes. "" where the client finds it by the words.
        sentence: what was wrong, what was expected.
    """

    http: int
    grpc: int
    code: str
    sentence: str

    @property
    def text(self) -> str:
        return f"[{self.code}] {self.sentence}" if self.code else self.sentence

    @property
    def body(self) -> str:
        """The body over HTTP, in the form of Triton's own errors."""
        return json.dumps({"error": self.text})


INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE = 3, 4, 8, 12, 14

STOPPING = Refusal(503, UNAVAILABLE, "model_not_ready", "the server is stopping; send the request again, or elsewhere")
AWAY = Refusal(
    503, UNAVAILABLE, "model_not_ready", "the server is starting, stopping or restarting; send the request again later"
)
# Not `model_not_ready`: the request was begun, and the client sends only some of them again.
LOST = Refusal(503, UNAVAILABLE, "", "connection lost: the server ended before it answered")
BUSY = Refusal(503, UNAVAILABLE, "queue_full", "too many requests at once; send the request again later")
LATE = Refusal(504, DEADLINE_EXCEEDED, "deadline_exceeded", "the server did not answer in time")
QUOTED = Refusal(400, INVALID_ARGUMENT, "request_invalid", "a name in the request is longer than an error can quote")
COMPRESSED = Refusal(415, INVALID_ARGUMENT, "request_invalid", "compressed bodies are refused; send the body as it is")
STREAMED = Refusal(501, UNIMPLEMENTED, "request_invalid", "no model here answers a stream; call ModelInfer instead")
DEVICE_MEMORY = Refusal(501, UNIMPLEMENTED, "request_invalid", "CUDA shared memory is not offered")
WRONG_PORT = Refusal(
    404,
    UNIMPLEMENTED,
    "contract_mismatch",
    "this port speaks gRPC; the default ports are 8001 for gRPC and 8000 for HTTP",
)
UNKNOWN_PATH = Refusal(404, UNIMPLEMENTED, "request_invalid", "no such path; the calls of KServe v2 begin with /v2")
GENERATED = Refusal(
    404, UNIMPLEMENTED, "request_invalid", "no model here generates text; send the request to .../infer instead"
)
MALFORMED = Refusal(400, INVALID_ARGUMENT, "request_invalid", "the body is not one message of gRPC without compression")
FOREIGN_SEGMENT = Refusal(
    400,
    INVALID_ARGUMENT,
    "request_invalid",
    "only a segment that the client has created, triptych_client_ and 32 hexadecimal digits, can be registered, as a "
    "region of the same form",
)
ESCAPED_NAME = Refusal(
    400, INVALID_ARGUMENT, "request_invalid", "a name in the JSON is written with a backslash; write it without escapes"
)
NOT_SCORES = Refusal(
    400,
    INVALID_ARGUMENT,
    "request_invalid",
    "the parameter classification is for outputs whose names end with _scores; leave it out for the others",
)
UNREADABLE = Refusal(
    400,
    INVALID_ARGUMENT,
    "request_invalid",
    "the message cannot be read as the request of this call, or has a text that is no UTF-8",
)
UNEXAMINED = Refusal(
    400, INVALID_ARGUMENT, "request_invalid", "the front cannot examine the request; tell the operator of the server"
)
MEMORY_FULL = Refusal(
    503, UNAVAILABLE, "queue_full", "shared memory is full on the server; send the request again in a moment"
)


def too_large(limits: Limits) -> Refusal:
    return Refusal(
        413,
        RESOURCE_EXHAUSTED,
        "message_too_large",
        f"the request exceeds {limits.body_bytes // MIB} MB; send fewer photos",
    )


def headers_too_long(limits: Limits) -> Refusal:
    return Refusal(
        431,
        INVALID_ARGUMENT,
        "request_invalid",
        f"the path and the headers exceed {limits.http_headers_kib} kB; send names and values in the body",
    )


def too_often(limits: Limits) -> Refusal:
    return Refusal(
        429,
        UNAVAILABLE,
        "queue_full",
        f"more than {limits.requests_per_s} requests a second, the limit of serve --requests-per-s; send the request "
        "again later",
    )


def json_unbounded(limits: Limits) -> Refusal:
    sentence = (
        f"the JSON is nested deeper than {limits.json_depth} lists and objects, or has more than {limits.json_values} "
        f"values or {limits.json_escapes} escapes; send tensors as binary data"
    )
    return Refusal(400, INVALID_ARGUMENT, "request_invalid", sentence)


def too_many_fields(limits: Limits) -> Refusal:
    sentence = (
        f"the message has more than {limits.fields} fields, or names and parameters of more than "
        f"{limits.names_bytes} bytes, or whole numbers of more than {limits.packed_bytes} bytes; "
        "send tensors as raw_input_contents"
    )
    return Refusal(400, INVALID_ARGUMENT, "request_invalid", sentence)
