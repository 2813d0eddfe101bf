"""A transport's failures become Triptych's: every gRPC status, and every text that changes what a status means."""

from __future__ import annotations

import grpc
import pytest

from triptych import (
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
from triptych.translation import RULES, Sent, find_rule, translate

SENT = Sent(target="shop:8001", timeout_s=2.5, model="recognizer", request_id="abc123")

# The meaning of each status whose text says nothing more.
MEANINGS = {
    "OK": ServerFault,
    "CANCELLED": ConnectionFailed,
    "UNKNOWN": ServerFault,
    "INVALID_ARGUMENT": InvalidInput,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "NOT_FOUND": ContractMismatch,
    "ALREADY_EXISTS": ServerFault,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAUTHENTICATED": PermissionDenied,
    "RESOURCE_EXHAUSTED": Overloaded,
    "FAILED_PRECONDITION": ServerFault,
    "ABORTED": ServerFault,
    "OUT_OF_RANGE": ServerFault,
    "UNIMPLEMENTED": ContractMismatch,
    "INTERNAL": ServerFault,
    "UNAVAILABLE": ConnectionFailed,
    "DATA_LOSS": ServerFault,
}
RETRYABLE = {Overloaded, NotReady, ConnectionFailed}

# Seen from Triton 2.51.0 and grpcio 1.85.1, except: queue and restricted protocol, whose texts are the server's source.
SPOKEN = [
    (
        "INVALID_ARGUMENT",
        "Permission denied: `catalogue` got no key, expected the one in the server's key file.",
        PermissionDenied,
    ),
    (
        "INVALID_ARGUMENT",
        "in ensemble 'searcher', Incompatible index: the catalogue has the fingerprint 'a', expected 'b'.",
        IncompatibleIndex,
    ),
    (
        "INVALID_ARGUMENT",
        "[request id: 9cc1] unexpected shape for input 'embedding' for model 'index'. Expected [-1,1280], got [1,7]. "
        "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension",
        InvalidInput,
    ),
    ("INVALID_ARGUMENT", "No product has the field 'permission denied' that the filter names.", InvalidInput),
    ("NOT_FOUND", "Request for unknown model: 'searcher' is not found", ContractMismatch),
    ("NOT_FOUND", "Request for unknown model: 'explainer' is not found", ContractMismatch),
    ("INVALID_ARGUMENT", "in ensemble 'recognizer', unreadable image: got 0 bytes", UnreadableImage),
    ("INVALID_ARGUMENT", "in ensemble 'recognizer', image too large: 21.0 MB, the limit is 20 MB", ImageTooLarge),
    ("INVALID_ARGUMENT", "unexpected inference input 'image' for model 'recognizer'", ContractMismatch),
    ("INVALID_ARGUMENT", "unexpected inference output 'embedding' for model 'recognizer'", ContractMismatch),
    (
        "INVALID_ARGUMENT",
        "[request id: <id_unknown>] unexpected shape for input 'image' for model 'recognizer'. Expected [-1,1]",
        ContractMismatch,
    ),
    (
        "INVALID_ARGUMENT",
        "[request id: a] inference input 'image' data-type is 'FP32', but model 'recognizer' expects 'BYTES'",
        ContractMismatch,
    ),
    ("INVALID_ARGUMENT", "expected 2 inputs but got 1 inputs for model 'recognizer'", ContractMismatch),
    ("INVALID_ARGUMENT", "expected 1 inputs but got 0 inputs for model 'embedder'. Got input(s) []", ServerFault),
    ("UNAVAILABLE", "[request id: a] Exceeds maximum queue size", Overloaded),
    ("UNAVAILABLE", "in ensemble 'recognizer', Request timeout expired", DeadlineExceeded),
    ("UNAVAILABLE", "Request for unknown model: 'recognizer' version 1 is not at ready state", NotReady),
    ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped accepting new inference requests", NotReady),
    ("NOT_FOUND", "Request for unknown model: 'recognizer' has no available versions", NotReady),
    ("NOT_FOUND", "Request for unknown model: 'recognizer' is not found", ContractMismatch),
    ("UNAVAILABLE", "This protocol is restricted, expecting header 'triton-grpc-protocol-key'", PermissionDenied),
    ("UNAVAILABLE", "explicit model load / unload is not allowed if polling is enabled", PermissionDenied),
    (
        "UNAVAILABLE",
        "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:8001: Tls handshake failed "
        "(TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:"
        "CERTIFICATE_VERIFY_FAILED: certificate has expired: OK",
        PermissionDenied,
    ),
    (
        "UNAVAILABLE",
        "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:8001: Custom verification check "
        "failed with error: UNAUTHENTICATED: Hostname Verification Check failed.",
        PermissionDenied,
    ),
    (
        "UNAVAILABLE",
        "connection lost: [ssl: tlsv13_alert_certificate_required] tlsv13 alert certificate required (_ssl.c:2580)",
        PermissionDenied,
    ),
    (
        "UNAVAILABLE",
        "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:8001: Tls handshake failed "
        "(TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER: "
        "Invalid certificate verification context: OK",
        ConnectionFailed,
    ),
    ("UNAVAILABLE", "Socket closed", ConnectionFailed),
    ("INTERNAL", "Stub process 'recognizer_0_0' is not healthy.", NotReady),
    ("INTERNAL", "Failed to increase the shared memory pool size for key 'x' to 1048576 bytes.", Overloaded),
    (
        "UNAVAILABLE",
        "connections to all backends failing; last error: UNAVAILABLE: ipv4:127.0.0.1:1: Connection reset",
        ConnectionFailed,
    ),
    (
        "UNAVAILABLE",
        "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:8000: Socket closed",
        ConnectionFailed,
    ),
    ("RESOURCE_EXHAUSTED", "CLIENT: Sent message larger than max (9 vs. 8)", ImageTooLarge),
]


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_error_has_the_class_of_its_status_when_the_text_says_nothing(code: grpc.StatusCode) -> None:
    error = translate(TransportError(code.name, "words of the server"), SENT)
    assert type(error) is MEANINGS[code.name]
    assert error.retryable is (type(error) in RETRYABLE)
    assert (error.model, error.request_id) == ("recognizer", "abc123")
    assert str(error).endswith(".")


@pytest.mark.parametrize(("status", "text", "meaning"), SPOKEN, ids=[text[-40:] for _, text, _ in SPOKEN])
def test_error_has_the_class_of_its_text_when_the_text_decides(
    status: str, text: str, meaning: type[TriptychError]
) -> None:
    error = translate(TransportError(status, text), SENT)
    assert type(error) is meaning
    assert error.retryable is (meaning in RETRYABLE)


def test_every_rule_names_a_real_status() -> None:
    assert {rule.status for rule in RULES} <= set(grpc.StatusCode.__members__)


def test_every_rule_is_reached_when_all_examples_arrive() -> None:
    examples = [*((status, "words") for status in MEANINGS), *((status, text) for status, text, _ in SPOKEN)]
    assert {find_rule(status, text) for status, text in examples} >= set(RULES)


def test_error_keeps_only_words_for_the_caller_when_the_server_adds_its_own() -> None:
    text = "[request id: abc] in ensemble 'recognizer', unreadable image: got 0 bytes. Send the file's bytes unchanged."
    error = translate(TransportError("INVALID_ARGUMENT", text), SENT)
    assert str(error) == "unreadable image: got 0 bytes. Send the file's bytes unchanged."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "
            "Failed to connect to remote host: Connection refused",
            "connection refused",
        ),
        (
            "errors resolving shop:8001: [field:hostname lookup error:address lookup failed for shop:8001: "
            "Domain name not found]",
            "domain name not found",
        ),
    ],
)
def test_error_says_where_why_and_what_next_when_no_server_answers(text: str, reason: str) -> None:
    message = str(translate(TransportError("UNAVAILABLE", text), SENT))
    assert message == (
        f"No Triptych server answers at shop:8001 ({reason}). "
        "Start one with `make serve`, or pass the right target (`--target`)."
    )


def test_error_points_at_the_grpc_port_when_the_port_speaks_http() -> None:
    text = "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:8000: Socket closed"
    assert "8000 speaks HTTP" in str(translate(TransportError("UNAVAILABLE", text), SENT))


def test_error_names_the_time_allowed_when_the_deadline_passes() -> None:
    assert "within 2.5 s" in str(translate(TransportError("DEADLINE_EXCEEDED", "Deadline Exceeded"), SENT))


def test_error_names_status_and_request_id_when_the_server_fails() -> None:
    message = str(translate(TransportError("INTERNAL", "the stub {died}"), SENT))
    assert "INTERNAL: the stub {died}" in message
    assert "abc123" in message


@pytest.mark.parametrize(("status", "text"), [("INTERNAL", ""), ("NEW_CODE", "?")])
def test_error_is_a_server_fault_when_nothing_is_known(status: str, text: str) -> None:
    assert type(translate(TransportError(status, text), SENT)) is ServerFault
