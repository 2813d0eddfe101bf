"""Messages without a code -> the code that the client gives them: Triton's, the transports', and an older server's.

Models say their codes themselves, so no rule here is about a model's sentence, but for `OLDER_SERVER`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A message of this status whose text matches has this code.

    Attributes:
        status: gRPC's name of it.
        pattern: a case-insensitive regular expression, searched for in the text behind request id and ensemble.
        code: one of `MEANINGS`.
        seen_on: the version of Triton that says so, the transport, or the release of Triptych.
        sentence: of the client's error, where it is another than the code's own.
    """

    status: str
    pattern: str
    code: str
    seen_on: str
    sentence: str | None = None

    def fits(self, status: str, text: str) -> bool:
        """Whether this message is meant."""
        return self.status == status and re.search(self.pattern, text, re.IGNORECASE | re.DOTALL) is not None


_TRITON = "2.51.0"
_GRPC = "gRPC core"
_BOTH = "gRPC core, httpcore"

_DIMENSION = (
    "The embedding has another size than the server's catalogue ({detail}). Pass one of `client.embed`, of the server "
    "that is searched."
)
_QUEUED = "The photo waited too long in the queue at {target} ({detail}). Send less at once, or add replicas."
_LOST = "The connection to {target} broke before the answer came ({detail}). Send the photo again."
_UNKNOWN_CLIENT = (
    "The server at {target} does not accept this client's certificate, or wants one ({detail}). Pass one that its "
    "authority signed (`TLS(certificate=..., private_key=...)`, `--tls-cert`)."
)
_NO_TLS = (
    "What answers at {target} does not speak TLS ({detail}). Pass the address that does, or leave TLS out where the "
    "network is trusted."
)
_CLOSED = (
    "Something at {target} closes the connection ({detail}). It may want TLS or a client's certificate (`TLS(...)`, "
    "`--tls-ca`, `--tls-cert`), or not be the server's gRPC port: that is 8001 unless set otherwise, 8000 speaks HTTP."
)
_NO_INFERENCE = (
    "What answers at {target} does not offer Triton's inference calls ({detail}). Pass the address of a Triptych "
    "server: gRPC is port 8001 unless set otherwise, HTTP 8000."
)
_OURS = "recognizer|searcher|index|catalogue|explainer"

# Read from the top, the first that fits wins.
RULES = (
    # The client makes every tensor itself but the embedding, so a complaint about others is the deployment's fault and
    # never the caller's. Between the steps of an ensemble it is the server's: the contract is with the ensemble alone.
    Rule(
        "INVALID_ARGUMENT",
        r"unexpected shape for input 'embedding' for model '(index|catalogue)'",
        "embedding_invalid",
        _TRITON,
        _DIMENSION,
    ),
    Rule("INVALID_ARGUMENT", rf"expected \d+ inputs.* for model '(?!({_OURS})')", "server_fault", _TRITON),
    Rule(
        "INVALID_ARGUMENT",
        r"unexpected (inference (in|out)put|shape|datatype)|data-type is|expected \d+ inputs|batch-size must be",
        "contract_mismatch",
        _TRITON,
    ),
    Rule("UNAVAILABLE", r"protocol is restricted", "access_denied", _TRITON),
    Rule("UNAVAILABLE", r"exceeds maximum queue size", "queue_full", _TRITON),
    Rule("UNAVAILABLE", r"request timeout expired", "deadline_exceeded", _TRITON, _QUEUED),
    Rule("UNAVAILABLE", r"not at ready state|server is stopping|no available versions", "model_not_ready", _TRITON),
    Rule("UNAVAILABLE", r"model load / unload is not allowed", "access_denied", _TRITON),
    # Not worth a retry: until somebody changes a file, the answer stays the same.
    Rule("UNAVAILABLE", r"certificate_verify_failed|hostname verification check", "certificate_refused", _BOTH),
    Rule("UNAVAILABLE", r"_alert_.*(certificate|unknown_ca|access_denied)", "access_denied", _BOTH, _UNKNOWN_CLIENT),
    Rule(
        "UNAVAILABLE", r"wrong_version_number|handshake read failed|unexpected_eof", "connection_failed", _BOTH, _NO_TLS
    ),
    # gRPC does not tell a refused certificate from a balancer with no server behind it, which may pass: retried.
    Rule(
        "UNAVAILABLE",
        r"(failed to connect|all backends failing).*(socket closed|http1)",
        "connection_failed",
        _GRPC,
        _CLOSED,
    ),
    Rule("UNAVAILABLE", r"all backends failing", "connection_failed", _GRPC),
    Rule(
        "UNAVAILABLE",
        r"socket closed|connection (reset|lost)|broken pipe|goaway|ping timeout",
        "connection_failed",
        _BOTH,
        _LOST,
    ),
    Rule("NOT_FOUND", r"not at ready state|no available versions", "model_not_ready", _TRITON),
    Rule("NOT_FOUND", r"model:? '(searcher|index|catalogue)'", "catalogue_missing", _TRITON),
    Rule("NOT_FOUND", r"model:? 'explainer'", "explainer_missing", _TRITON),
    # The process behind a model died or stands still: another server has its own, and this one gets a new one.
    Rule("INTERNAL", r"stub process .*(is not healthy|is not running)", "model_not_ready", _TRITON),
    # /dev/shm is full: what is in flight leaves it again, and another server has its own.
    Rule("INTERNAL", r"failed to increase the shared memory pool size", "queue_full", _TRITON),
    # Over HTTP a proxy's 413, which `http_wire` puts into gRPC's words.
    Rule("RESOURCE_EXHAUSTED", r"message larger than max", "message_too_large", _BOTH),
    # A server whose model echoes 16 kB of the caller's own words.
    Rule("RESOURCE_EXHAUSTED", r"received metadata size exceeds", "request_invalid", _GRPC),
)

# What models of the release before ERRORS.md say, which sent no codes. A server may be one release older than its
# client: delete these rules with the release after the next.
_UNTIL_CODES = "Triptych before ERRORS.md"
OLDER_SERVER = (
    Rule("INVALID_ARGUMENT", r"^unreadable image:", "image_unreadable", _UNTIL_CODES),
    Rule("INVALID_ARGUMENT", r"^image too large:", "image_too_large", _UNTIL_CODES),
    Rule("INVALID_ARGUMENT", r"^permission denied:", "catalogue_key_refused", _UNTIL_CODES),
    Rule("INVALID_ARGUMENT", r"^incompatible index:", "index_incompatible", _UNTIL_CODES),
    Rule("UNAVAILABLE", r"^the catalogue's engine at .* does not answer", "catalogue_unavailable", _UNTIL_CODES),
)

# Of any other message -> its code, and its sentence where that is another; server_fault where the status is none of
# these. INVALID_ARGUMENT is most likely of an older server's model, which looked at what the caller sent.
OTHERS: Mapping[str, tuple[str, str | None]] = {
    "INVALID_ARGUMENT": ("request_invalid", None),
    "UNAVAILABLE": ("connection_failed", None),
    "CANCELLED": ("connection_failed", _LOST),
    "NOT_FOUND": ("contract_mismatch", None),
    "UNIMPLEMENTED": ("contract_mismatch", _NO_INFERENCE),
    "DEADLINE_EXCEEDED": ("deadline_exceeded", None),
    "UNAUTHENTICATED": ("access_denied", None),
    "PERMISSION_DENIED": ("access_denied", None),
    "RESOURCE_EXHAUSTED": ("queue_full", None),
}
