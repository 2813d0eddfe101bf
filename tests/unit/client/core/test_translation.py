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
from triptych._core.failures.codes import ERROR_OF_STATUS, MEANINGS, coded
from triptych._core.failures.translation import Sent, find_rule, is_refused_unseen, translate
from triptych._core.failures.uncoded_messages import OLDER_SERVER, RULES
from triptych._core.protocol import TransportError

SENT = Sent(target="shop:8001", timeout_s=2.5, model="recognizer", request_id="abc123")

# Class and code of each status whose text says nothing more.
OF_STATUS = {
    "OK": (ServerFault, "server_fault"),
    "CANCELLED": (ConnectionFailed, "connection_failed"),
    "UNKNOWN": (ServerFault, "server_fault"),
    "INVALID_ARGUMENT": (InvalidInput, "request_invalid"),
    "DEADLINE_EXCEEDED": (DeadlineExceeded, "deadline_exceeded"),
    "NOT_FOUND": (ContractMismatch, "contract_mismatch"),
    "ALREADY_EXISTS": (ServerFault, "server_fault"),
    "PERMISSION_DENIED": (PermissionDenied, "access_denied"),
    "UNAUTHENTICATED": (PermissionDenied, "access_denied"),
    "RESOURCE_EXHAUSTED": (Overloaded, "queue_full"),
    "FAILED_PRECONDITION": (ServerFault, "server_fault"),
    "ABORTED": (ServerFault, "server_fault"),
    "OUT_OF_RANGE": (ServerFault, "server_fault"),
    "UNIMPLEMENTED": (ContractMismatch, "contract_mismatch"),
    "INTERNAL": (ServerFault, "server_fault"),
    "UNAVAILABLE": (ConnectionFailed, "connection_failed"),
    "DATA_LOSS": (ServerFault, "server_fault"),
}
RETRYABLE = {Overloaded, NotReady, ConnectionFailed}

# Messages without a code. Seen from Triton 2.51.0 and grpcio 1.85.1, except: queue and restricted protocol, whose texts
# are the server's source.
SPOKEN = [
    (
        "INVALID_ARGUMENT",
        "[request id: 9cc1] unexpected shape for input 'embedding' for model 'index'. Expected [-1,1280], got [1,7]. "
        "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension",
        InvalidInput,
        "embedding_invalid",
    ),
    ("NOT_FOUND", "Request for unknown model: 'searcher' is not found", ContractMismatch, "catalogue_missing"),
    ("NOT_FOUND", "Request for unknown model: 'explainer' is not found", ContractMismatch, "explainer_missing"),
    (
        "INVALID_ARGUMENT",
        "unexpected inference input 'image' for model 'recognizer'",
        ContractMismatch,
        "contract_mismatch",
    ),
    (
        "INVALID_ARGUMENT",
        "unexpected inference output 'embedding' for model 'recognizer'",
        ContractMismatch,
        "contract_mismatch",
    ),
    (
        "INVALID_ARGUMENT",
        "[request id: <id_unknown>] unexpected shape for input 'image' for model 'recognizer'. Expected [-1,1]",
        ContractMismatch,
        "contract_mismatch",
    ),
    (
        "INVALID_ARGUMENT",
        "[request id: a] inference input 'image' data-type is 'FP32', but model 'recognizer' expects 'BYTES'",
        ContractMismatch,
        "contract_mismatch",
    ),
    (
        "INVALID_ARGUMENT",
        "expected 2 inputs but got 1 inputs for model 'recognizer'",
        ContractMismatch,
        "contract_mismatch",
    ),
    (
        "INVALID_ARGUMENT",
        "expected 1 inputs but got 0 inputs for model 'embedder'. Got input(s) []",
        ServerFault,
        "server_fault",
    ),
    ("UNAVAILABLE", "[request id: a] Exceeds maximum queue size", Overloaded, "queue_full"),
    ("UNAVAILABLE", "in ensemble 'recognizer', Request timeout expired", DeadlineExceeded, "deadline_exceeded"),
    (
        "UNAVAILABLE",
        "Request for unknown model: 'recognizer' version 1 is not at ready state",
        NotReady,
        "model_not_ready",
    ),
    (
        "UNAVAILABLE",
        "Server is stopping, scheduler for model has stopped accepting new inference requests",
        NotReady,
        "model_not_ready",
    ),
    ("NOT_FOUND", "Request for unknown model: 'recognizer' has no available versions", NotReady, "model_not_ready"),
    ("NOT_FOUND", "Request for unknown model: 'recognizer' is not found", ContractMismatch, "contract_mismatch"),
    (
        "UNAVAILABLE",
        "This protocol is restricted, expecting header 'triton-grpc-protocol-key'",
        PermissionDenied,
        "access_denied",
    ),
    (
        "UNAVAILABLE",
        "explicit model load / unload is not allowed if polling is enabled",
        PermissionDenied,
        "access_denied",
    ),
    (
        "UNAVAILABLE",
        "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:8001: Tls handshake failed "
        "(TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:"
        "CERTIFICATE_VERIFY_FAILED: certificate has expired: OK",
        PermissionDenied,
        "certificate_refused",
    ),
    (
        "UNAVAILABLE",
        "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:8001: Custom verification check "
        "failed with error: UNAUTHENTICATED: Hostname Verification Check failed.",
        PermissionDenied,
        "certificate_refused",
    ),
    (
        "UNAVAILABLE",
        "connection lost: [ssl: tlsv13_alert_certificate_required] tlsv13 alert certificate required (_ssl.c:2580)",
        PermissionDenied,
        "access_denied",
    ),
    (
        "UNAVAILABLE",
        "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:8001: Tls handshake failed "
        "(TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER: "
        "Invalid certificate verification context: OK",
        ConnectionFailed,
        "connection_failed",
    ),
    ("UNAVAILABLE", "Socket closed", ConnectionFailed, "connection_failed"),
    ("UNAVAILABLE", "unwrap failed (tsi_data_corrupted)", ConnectionFailed, "connection_failed"),
    ("INTERNAL", "Stub process 'recognizer_0_0' is not healthy.", NotReady, "model_not_ready"),
    (
        "INTERNAL",
        "Failed to increase the shared memory pool size for key 'x' to 1048576 bytes.",
        Overloaded,
        "queue_full",
    ),
    (
        "UNAVAILABLE",
        "connections to all backends failing; last error: UNAVAILABLE: ipv4:127.0.0.1:1: Connection reset",
        ConnectionFailed,
        "connection_failed",
    ),
    (
        "UNAVAILABLE",
        "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:8000: Socket closed",
        ConnectionFailed,
        "connection_failed",
    ),
    ("RESOURCE_EXHAUSTED", "CLIENT: Sent message larger than max (9 vs. 8)", ImageTooLarge, "message_too_large"),
    (
        "RESOURCE_EXHAUSTED",
        "Stream removed (received metadata size exceeds hard limit (20155 vs. 16384))",
        InvalidInput,
        "request_invalid",
    ),
]

# What models of the release before error codes said.
OLDER = [
    ("INVALID_ARGUMENT", "unreadable image: got 0 bytes", UnreadableImage, "image_unreadable"),
    ("INVALID_ARGUMENT", "image too large: 21.0 MB, the limit is 20 MB", ImageTooLarge, "image_too_large"),
    (
        "INVALID_ARGUMENT",
        "Permission denied: `catalogue` got no key, expected the one in the server's key file.",
        PermissionDenied,
        "catalogue_key_refused",
    ),
    (
        "INVALID_ARGUMENT",
        "Incompatible index: the catalogue has the fingerprint 'a', expected 'b'.",
        IncompatibleIndex,
        "index_incompatible",
    ),
    (
        "INVALID_ARGUMENT",
        "No product has the field 'permission denied' that the filter names.",
        InvalidInput,
        "request_invalid",
    ),
    (
        "UNAVAILABLE",
        "The catalogue's engine at weaviate:8080 does not answer (Connection refused). Try again.",
        NotReady,
        "catalogue_unavailable",
    ),
    ("INTERNAL", "catalogue failed; the server's log says why.", ServerFault, "server_fault"),
]

# What a newer server may send: an unknown code -> the class of its status.
NEWER = [
    ("INVALID_ARGUMENT", InvalidInput),
    ("UNAVAILABLE", NotReady),
    ("NOT_FOUND", ContractMismatch),
    ("UNIMPLEMENTED", ContractMismatch),
    ("DEADLINE_EXCEEDED", DeadlineExceeded),
    ("RESOURCE_EXHAUSTED", Overloaded),
    ("PERMISSION_DENIED", PermissionDenied),
    ("UNAUTHENTICATED", PermissionDenied),
    ("INTERNAL", ServerFault),
    ("UNKNOWN", ServerFault),
]

# What Triton may put before a model's own words, also more than once.
PREFIXES = [
    "",
    "[request id: 9cc1] ",
    "[request id: <id_unknown>] ",
    "in ensemble 'recognizer', ",
    "[request id: 9cc1] in ensemble 'searcher', ",
    "in ensemble 'searcher', [request id: 9cc1] in ensemble 'recognizer', ",
]


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_error_has_the_class_of_its_status_when_the_text_says_nothing(code: grpc.StatusCode) -> None:
    error = translate(TransportError(code.name, "words of the server"), SENT)
    assert (type(error), error.code) == OF_STATUS[code.name]
    assert error.retryable is (type(error) in RETRYABLE)
    assert (error.model, error.request_id) == ("recognizer", "abc123")
    assert str(error).endswith(".")


@pytest.mark.parametrize(("status", "text", "kind", "code"), SPOKEN, ids=[text[-40:] for _, text, *_ in SPOKEN])
def test_error_has_the_code_of_its_text_when_the_text_has_none(
    status: str, text: str, kind: type[TriptychError], code: str
) -> None:
    error = translate(TransportError(status, text), SENT)
    assert (type(error), error.code) == (kind, code)
    assert error.retryable is (kind in RETRYABLE)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("status", "text", "kind", "code"), OLDER, ids=[code for *_, code in OLDER])
def test_error_is_the_same_when_the_server_is_a_release_older(
    prefix: str, status: str, text: str, kind: type[TriptychError], code: str
) -> None:
    error = translate(TransportError(status, prefix + text), SENT)
    assert (type(error), error.code) == (kind, code)
    assert text.rstrip(".") in str(error)
    assert prefix in ("", " ") or prefix not in str(error)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("code", MEANINGS)
def test_error_has_the_code_and_a_clean_sentence_when_the_server_says_the_code(prefix: str, code: str) -> None:
    failure = coded(code, "no wine left. Buy some.")
    error = translate(TransportError(failure.status, prefix + failure.detail), SENT)
    assert (type(error), error.code) == (MEANINGS[code].error, code)
    assert f"[{code}]" not in str(error)
    assert "request id:" not in str(error)
    assert "in ensemble" not in str(error)
    assert code in ("deadline_exceeded",) or "no wine left. Buy some" in str(error)


def test_code_decides_when_the_words_are_those_of_another() -> None:
    failure = coded("filter_invalid", "unreadable image: connection reset, Exceeds maximum queue size")
    error = translate(failure, SENT)
    assert (type(error), error.code) == (InvalidInput, "filter_invalid")


@pytest.mark.parametrize("status", ["INTERNAL", "UNAVAILABLE", "UNKNOWN"])
def test_code_decides_when_the_status_is_another(status: str) -> None:
    error = translate(TransportError(status, "[image_unreadable] unreadable image: got 0 bytes."), SENT)
    assert (type(error), error.code) == (UnreadableImage, "image_unreadable")


def test_outer_code_decides_when_a_model_passes_anothers_error_on() -> None:
    text = "in ensemble 'searcher', [internal] in ensemble 'recognizer', [image_unreadable] no photo."
    error = translate(TransportError("INTERNAL", text), SENT)
    assert (type(error), error.code) == (ServerFault, "internal")
    assert "in ensemble 'recognizer', [image_unreadable] no photo)" in str(error)


def test_sentence_of_a_model_is_left_as_it_is_when_it_begins_with_what_looks_like_a_code() -> None:
    error = translate(TransportError("INVALID_ARGUMENT", "[request_invalid] [internal] is no option."), SENT)
    assert error.code == "request_invalid"
    assert "[internal] is no option" in str(error)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("status", "kind"), NEWER, ids=[status for status, _ in NEWER])
def test_error_has_the_class_of_its_status_when_the_code_is_of_a_newer_server(
    prefix: str, status: str, kind: type[TriptychError]
) -> None:
    error = translate(TransportError(status, f"{prefix}[photo_of_2_moons] It has {{two}} moons. Send one."), SENT)
    assert (type(error), error.code) == (kind, "photo_of_2_moons")
    assert str(error) == "It has {two} moons. Send one."


@pytest.mark.parametrize("text", ["[image_unreadable]no space", "[Image] x", "[0] x", "[a b] x", "x [internal] y"])
def test_text_has_no_code_when_it_begins_otherwise(text: str) -> None:
    error = translate(TransportError("INVALID_ARGUMENT", text), SENT)
    assert error.code == "request_invalid"
    assert text in str(error)


def test_server_that_leaves_is_told_from_one_that_is_busy() -> None:
    assert is_refused_unseen(TransportError("UNAVAILABLE", "Server is stopping, scheduler has stopped"))
    assert is_refused_unseen(TransportError("NOT_FOUND", "'recognizer' has no available versions"))
    assert not is_refused_unseen(TransportError("INTERNAL", "Stub process 'recognizer_0_0' is not healthy."))
    assert not is_refused_unseen(coded("rebuild_running", "A rebuild is running."))
    assert not is_refused_unseen(TransportError("UNAVAILABLE", "[of_tomorrow] Come back."))


def test_every_rule_names_a_status_a_code_and_where_it_was_seen() -> None:
    assert {rule.status for rule in (*RULES, *OLDER_SERVER)} <= set(grpc.StatusCode.__members__)
    assert {rule.code for rule in (*RULES, *OLDER_SERVER)} <= set(MEANINGS)
    assert {rule.seen_on for rule in RULES} == {"2.51.0", "gRPC core", "gRPC core, httpcore"}
    assert len({rule.seen_on for rule in OLDER_SERVER}) == 1
    assert set(ERROR_OF_STATUS) <= set(grpc.StatusCode.__members__)


def test_every_rule_is_reached_when_all_examples_arrive() -> None:
    assert {find_rule(status, text) for status, text, *_ in (*SPOKEN, *OLDER)} >= {*RULES, *OLDER_SERVER}


def test_error_keeps_only_words_for_the_caller_when_the_server_adds_its_own() -> None:
    words = "unreadable image: got 0 bytes. Send the file's bytes unchanged."
    text = f"[request id: abc] in ensemble 'recognizer', [image_unreadable] {words}"
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
        "Start one with `make serve`, or pass the right target (`--target`, TRIPTYCH_TARGET)."
    )


def test_error_points_at_the_grpc_port_when_the_port_speaks_http() -> None:
    text = "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:8000: Socket closed"
    assert "8000 for HTTP" in str(translate(TransportError("UNAVAILABLE", text), SENT))


def test_error_names_the_time_allowed_when_the_deadline_passes() -> None:
    assert "within 2.5 s" in str(translate(TransportError("DEADLINE_EXCEEDED", "Deadline Exceeded"), SENT))


def test_error_names_status_and_request_id_when_the_server_fails() -> None:
    message = str(translate(TransportError("INTERNAL", "the stub {died}"), SENT))
    assert "INTERNAL: the stub {died}" in message
    assert "abc123" in message


@pytest.mark.parametrize(("status", "text"), [("INTERNAL", ""), ("NEW_CODE", "?")])
def test_error_is_a_server_fault_when_nothing_is_known(status: str, text: str) -> None:
    assert type(translate(TransportError(status, text), SENT)) is ServerFault
