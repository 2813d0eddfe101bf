"""The one boundary where a transport's failures become Triptych's errors, by one table. The original stays chained."""

from __future__ import annotations

import re
from dataclasses import dataclass

from triptych.errors import (
    ConnectionFailed,
    ContractMismatch,
    DeadlineExceeded,
    ImageTooLarge,
    IncompatibleIndex,
    InvalidInput,
    NotReady,
    Overloaded,
    PermissionDenied,
    ServerFault,
    TriptychError,
    UnreadableImage,
)
from triptych.protocol import TransportError


@dataclass(frozen=True)
class Sent:
    """What an error message may say about the call that failed."""

    target: str
    timeout_s: float
    model: str
    request_id: str


@dataclass(frozen=True)
class Rule:
    """An error of this status whose text matches `pattern` becomes `error` with this sentence."""

    status: str
    pattern: str
    error: type[TriptychError]
    sentence: str


_MISMATCH = (
    "The server at {target} and this client disagree about model {model} ({detail}). "
    "Serve the model repository of this client's release, or install the triptych-client of the server's."
)
_LATE = (
    "No answer from {target} within {timeout_s:g} s. Allow more time (`timeout_s`, `--timeout`) or send less at once."
)
_QUEUED = "The photo waited too long in the queue at {target} ({detail}). Send less at once, or add replicas."
_NOT_READY = "Model {model} at {target} is not ready ({detail}). Try again in a moment."
_DENIED = "The server at {target} refuses this client ({detail}). Ask its operator for an address or a right to use it."
_FULL = "The server at {target} has more work than it takes ({detail}). Try again in a moment, or add replicas."
_LOST = "The connection to {target} broke before the answer came ({detail}). Send the photo again."
_OVER_MESSAGE = "The photo does not fit into one message ({detail}). Send a smaller copy of the photo."
_UNREACHED = (
    "No Triptych server answers at {target} ({detail}). "
    "Start one with `make serve`, or pass the right target (`--target`)."
)
_UNTRUSTED = (
    "The certificate of the server at {target} is not trusted ({detail}). Pass the authority that signed it or the "
    "name it holds (`TLS(root_certificates=..., server_name=...)`, `--tls-ca`), or have it renewed."
)
_UNKNOWN_CLIENT = (
    "The server at {target} does not accept this client's certificate, or wants one ({detail}). Pass one that its "
    "authority signed (`TLS(certificate=..., private_key=...)`, `--tls-cert`)."
)
_NO_TLS = (
    "What answers at {target} does not speak TLS ({detail}). Pass the address that does, or leave TLS out where the "
    "network is trusted."
)
_FAULT = "The server at {target} failed ({status}: {detail}). Tell its operator, with request id {request_id}."

_NO_CATALOGUE = (
    "The server at {target} serves no catalogue ({detail}). Serve a model repository with `searcher`, `index` and "
    "`catalogue`, or pass the target of a server that has them."
)
_NO_EXPLAINER = (
    "The server at {target} explains nothing ({detail}). Serve a model repository with `explainer`, placed by this "
    "release's `python -m export place`."
)
_KEYLESS = (
    "The server at {target} refuses this client ({detail}). Pass the catalogue's key (`Client(catalogue_key=...)`, "
    "`--catalogue-key-file`); searching needs none."
)
_INCOMPATIBLE = (
    "The catalogue at {target} is of another embedder ({detail}). Import the catalogue anew with the embedder that "
    "serves now, or serve the one that made it."
)
_DIMENSION = (
    "The embedding has another size than the server's catalogue ({detail}). Pass one of `client.embed`, of the server "
    "that is searched."
)
# A model's own words stand at the beginning, or behind what names the request and the step of the ensemble.
_ASKED = "(?:recognizer|searcher|index|catalogue|explainer)'"
_BEGIN = r"(?:^|\] |', )"

# Read from the top, the first match wins. A pattern is a case-insensitive regular expression.
# The client makes every tensor itself, so a complaint about tensors is the deployment's fault and never the caller's;
# any other INVALID_ARGUMENT comes from a model that looked at what the caller sent.
RULES = (
    Rule("INVALID_ARGUMENT", r"unreadable image:", UnreadableImage, "{detail}."),
    Rule("INVALID_ARGUMENT", r"image too large:", ImageTooLarge, "{detail}."),
    Rule("INVALID_ARGUMENT", _BEGIN + r"permission denied", PermissionDenied, _KEYLESS),
    Rule("INVALID_ARGUMENT", _BEGIN + r"incompatible index", IncompatibleIndex, _INCOMPATIBLE),
    Rule(
        "INVALID_ARGUMENT",
        r"unexpected shape for input 'embedding' for model '(index|catalogue)'",
        InvalidInput,
        _DIMENSION,
    ),
    # Between the steps of the ensemble; the client's agreement is with the ensemble alone.
    Rule(
        "INVALID_ARGUMENT",
        r"expected \d+ inputs.* for model '(?!(recognizer|searcher|index|catalogue|explainer)')",
        ServerFault,
        _FAULT,
    ),
    Rule(
        "INVALID_ARGUMENT",
        r"unexpected (inference (in|out)put|shape|datatype)|data-type is|expected \d+ inputs|batch-size must be",
        ContractMismatch,
        _MISMATCH,
    ),
    Rule(
        "INVALID_ARGUMENT",
        r"",
        InvalidInput,
        "The server at {target} refused the request ({detail}). Change what it names and send it again.",
    ),
    Rule("UNAVAILABLE", r"protocol is restricted", PermissionDenied, _DENIED),
    Rule("UNAVAILABLE", r"exceeds maximum queue size", Overloaded, _FULL),
    Rule("UNAVAILABLE", r"request timeout expired", DeadlineExceeded, _QUEUED),
    Rule("UNAVAILABLE", r"not at ready state|server is stopping|no available versions", NotReady, _NOT_READY),
    Rule("UNAVAILABLE", r"model load / unload is not allowed", PermissionDenied, _DENIED),
    # Not worth a retry: until somebody changes a file, the answer stays the same.
    Rule("UNAVAILABLE", r"certificate_verify_failed|hostname verification check", PermissionDenied, _UNTRUSTED),
    Rule("UNAVAILABLE", r"_alert_.*(certificate|unknown_ca|access_denied)", PermissionDenied, _UNKNOWN_CLIENT),
    Rule("UNAVAILABLE", r"wrong_version_number|handshake read failed|unexpected_eof", ConnectionFailed, _NO_TLS),
    # gRPC does not tell a refused certificate from a balancer with no server behind it, which may pass: retried.
    Rule(
        "UNAVAILABLE",
        r"(failed to connect|all backends failing).*(socket closed|http1)",
        ConnectionFailed,
        "Something at {target} closes the connection ({detail}). It may want TLS or a client's certificate "
        "(`TLS(...)`, `--tls-ca`, `--tls-cert`), or not be the server's gRPC port: that is 8001 unless set otherwise, "
        "8000 speaks HTTP.",
    ),
    Rule("UNAVAILABLE", r"all backends failing", ConnectionFailed, _UNREACHED),
    Rule(
        "UNAVAILABLE", r"socket closed|connection (reset|lost)|broken pipe|goaway|ping timeout", ConnectionFailed, _LOST
    ),
    Rule("UNAVAILABLE", r"", ConnectionFailed, _UNREACHED),
    Rule("CANCELLED", r"", ConnectionFailed, _LOST),
    Rule("NOT_FOUND", r"not at ready state|no available versions", NotReady, _NOT_READY),
    Rule("NOT_FOUND", r"model:? '(searcher|index|catalogue)'", ContractMismatch, _NO_CATALOGUE),
    Rule("NOT_FOUND", r"model:? 'explainer'", ContractMismatch, _NO_EXPLAINER),
    Rule("NOT_FOUND", r"", ContractMismatch, _MISMATCH),
    Rule(
        "UNIMPLEMENTED",
        r"",
        ContractMismatch,
        "What answers at {target} does not offer Triton's inference calls ({detail}). Pass the address of a Triptych "
        "server: gRPC is port 8001 unless set otherwise, HTTP 8000.",
    ),
    # The process behind a model died or stands still: another server has its own, and this one gets a new one.
    Rule("INTERNAL", r"stub process .*(is not healthy|is not running)", NotReady, _NOT_READY),
    # /dev/shm is full: what is in flight leaves it again, and another server has its own.
    Rule("INTERNAL", r"failed to increase the shared memory pool size", Overloaded, _FULL),
    Rule("DEADLINE_EXCEEDED", r"", DeadlineExceeded, _LATE),
    Rule("UNAUTHENTICATED", r"", PermissionDenied, _DENIED),
    Rule("PERMISSION_DENIED", r"", PermissionDenied, _DENIED),
    Rule("RESOURCE_EXHAUSTED", r"message larger than max", ImageTooLarge, _OVER_MESSAGE),
    Rule("RESOURCE_EXHAUSTED", r"", Overloaded, _FULL),
)

_ADDRESSED_TO_OPERATORS = re.compile(r"^(?:\[request id: [^\]]*\]\s*|in ensemble '[^']*',\s*)+")
_WHY_UNREACHED = re.compile(
    r"^(?:failed to connect to all addresses|connections to all backends failing|errors resolving).*: (.+?)\]?$",
    re.IGNORECASE | re.DOTALL,
)
_WHY_UNTRUSTED = re.compile(
    r"certificate_verify_failed\W+(?:certificate verify failed: )?(.+?)(?:: ok| \(_ssl[^)]*\))?$",
    re.IGNORECASE | re.DOTALL,
)


def translate(failure: TransportError, sent: Sent) -> TriptychError:
    """The Triptych error that a failure means; `ServerFault` where no rule fits."""
    text = failure.detail or "no details"
    rule = find_rule(failure.status, text)
    message = rule.sentence.format(
        target=sent.target,
        timeout_s=sent.timeout_s,
        model=sent.model,
        request_id=sent.request_id,
        status=failure.status,
        detail=_detail(text),
    )
    return rule.error(message, model=sent.model, request_id=sent.request_id)


def find_rule(status: str, text: str) -> Rule:
    """The first rule that fits, else that of a server's fault."""
    for rule in RULES:
        if rule.status == status and re.search(rule.pattern, text, re.IGNORECASE | re.DOTALL):
            return rule
    return Rule(status, "", ServerFault, _FAULT)


def is_refused_unseen(failure: TransportError) -> bool:
    """Whether a server that loads or goes away refused before any work."""
    rule = find_rule(failure.status, failure.detail)
    return rule.error is NotReady and rule.status in ("UNAVAILABLE", "NOT_FOUND")


def deadline_exceeded(sent: Sent) -> DeadlineExceeded:
    """The error for a deadline that passed here, between two calls to the server."""
    message = _LATE.format(target=sent.target, timeout_s=sent.timeout_s)
    return DeadlineExceeded(message, model=sent.model, request_id=sent.request_id)


def _detail(text: str) -> str:
    """The server's words without what only its log needs; of a failed connection, only why it failed."""
    text = _ADDRESSED_TO_OPERATORS.sub("", text).partition(". NOTE: Setting a non-zero max_batch_size")[0].rstrip(".")
    cause = _WHY_UNTRUSTED.search(text) or _WHY_UNREACHED.match(text)
    return text if cause is None else cause[1].lower()
