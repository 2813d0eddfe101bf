"""Rules that assign a code to messages without one: of Triton, of the transports, of an older server.

Models send codes, so no rule matches a model's message, except those of `OLDER_SERVER`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A message of this status that matches the pattern has this code.

    Attributes:
        status: the gRPC status.
        pattern: a case-insensitive regular expression, searched in the text after request id and ensemble.
        code: one of `MEANINGS`.
        seen_on: the version of Triton, the transport, or the release of Triptych that sends the message.
        sentence: template of the client's error, where it differs from that of the code.
    """

    status: str
    pattern: str
    code: str
    seen_on: str
    sentence: str | None = None

    def fits(self, status: str, text: str) -> bool:
        """Whether the rule matches a message."""
        return self.status == status and re.search(self.pattern, text, re.IGNORECASE | re.DOTALL) is not None


_TRITON = "2.51.0"
_GRPC = "gRPC core"
_BOTH = "gRPC core, httpcore"

_DIMENSION = (
    "The embedding has another size than those of the server's catalogue ({detail}). Pass an embedding of this server "
    "(`client.embed`)."
)
_QUEUED = "The photo waited too long in the queue at {target} ({detail}). Send fewer photos at once, or add replicas."
_LOST = "The connection to {target} broke before the answer came ({detail}). Send the photo again."
_UNKNOWN_CLIENT = (
    "The server at {target} does not accept this client's certificate, or requires one ({detail}). Pass one that "
    "its authority signed (`TLS(certificate=..., private_key=...)`, `--tls-cert`)."
)
_NO_TLS = (
    "The server at {target} does not speak TLS ({detail}). Pass an address that does, or leave TLS out if the network "
    "is trusted."
)
_CLOSED = (
    "The server at {target} closes the connection ({detail}). It may require TLS or a client's certificate "
    "(`TLS(...)`, `--tls-ca`, `--tls-cert`), or may not speak gRPC on this port: the default ports are 8001 for gRPC "
    "and 8000 for HTTP."
)
_NO_INFERENCE = (
    "The server at {target} does not offer Triton's inference calls ({detail}). Pass the address of a Triptych "
    "server: the default ports are 8001 for gRPC and 8000 for HTTP."
)
_OURS = "recognizer|searcher|index|catalogue|explainer"

# In this order; the first rule that matches applies.
RULES = (
    # The client builds every tensor except the embedding, so an error about another tensor is a deployment fault, not
    # the caller's. Between the steps of an ensemble it is a fault of the server: the contract covers only the ensemble.
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
    # Not retryable: the answer stays the same until somebody changes a file.
    Rule("UNAVAILABLE", r"certificate_verify_failed|hostname verification check", "certificate_refused", _BOTH),
    Rule("UNAVAILABLE", r"_alert_.*(certificate|unknown_ca|access_denied)", "access_denied", _BOTH, _UNKNOWN_CLIENT),
    Rule(
        "UNAVAILABLE", r"wrong_version_number|handshake read failed|unexpected_eof", "connection_failed", _BOTH, _NO_TLS
    ),
    Rule("UNAVAILABLE", r"tsi_data_corrupted", "connection_failed", _BOTH, _CLOSED),
    # gRPC does not distinguish a refused certificate from a load balancer without servers, which may pass: retryable.
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
    # The process of a model died or hangs: this server restarts it, and another server has its own.
    Rule("INTERNAL", r"stub process .*(is not healthy|is not running)", "model_not_ready", _TRITON),
    # /dev/shm is full: requests in flight free it again, and another server has its own.
    Rule("INTERNAL", r"failed to increase the shared memory pool size", "queue_full", _TRITON),
    # Over HTTP this is a proxy's status 413, for which `http_encoding` uses the same words.
    Rule("RESOURCE_EXHAUSTED", r"message larger than max", "message_too_large", _BOTH),
    # The model's message repeats 16 kB of the request.
    Rule("RESOURCE_EXHAUSTED", r"received metadata size exceeds", "request_invalid", _GRPC),
)

# Messages of the release before error codes, whose models sent none. A server may be one release older than its
# client: delete these rules in the release after the next.
_UNTIL_CODES = "Triptych before error codes"
OLDER_SERVER = (
    Rule("INVALID_ARGUMENT", r"^unreadable image:", "image_unreadable", _UNTIL_CODES),
    Rule("INVALID_ARGUMENT", r"^image too large:", "image_too_large", _UNTIL_CODES),
    Rule("INVALID_ARGUMENT", r"^permission denied:", "catalogue_key_refused", _UNTIL_CODES),
    Rule("INVALID_ARGUMENT", r"^incompatible index:", "index_incompatible", _UNTIL_CODES),
    Rule("UNAVAILABLE", r"^the catalogue's engine at .* does not answer", "catalogue_unavailable", _UNTIL_CODES),
)

# Status of any other message -> code, and the template where it differs; server_fault for any other status.
# INVALID_ARGUMENT is most likely the message of an older server's model about the caller's input.
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
