"""Error codes: the class of the error and its message. This client knows no other codes.

The server defines the codes: `model_repository/triptych_models/errors.py` is their home.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from triptych._core.protocol import TransportError
from triptych.errors import (
    ConnectionFailed,
    ContractMismatch,
    DeadlineExceeded,
    FetchFailed,
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


@dataclass(frozen=True)
class Meaning:
    """The meaning of a code.

    Attributes:
        status: the gRPC status that a server sends with the code.
        error: the class of the client's error.
        sentence: template of its message, with fields of the call; `{detail}` is the server's message.
    """

    status: str
    error: type[TriptychError]
    sentence: str = "{detail}."


_REFUSED = (
    "The server at {target} refused the request ({detail}). Correct the named argument and send the request again."
)
_FAULT = "The server at {target} failed ({status}: {detail}). Tell its operator, with request id {request_id}."
_KEYLESS = (
    "The server at {target} refuses this client ({detail}). Pass the catalogue's key (`Client(catalogue_key=...)`, "
    "`--catalogue-key-file`); searches need no key."
)
_INCOMPATIBLE = (
    "Another embedder embedded the catalogue at {target} ({detail}). Import the catalogue again with the embedder that "
    "serves now, or serve the previous embedder."
)
_FULL = "The queue of the server at {target} is full ({detail}). Send the call again later, or add replicas."
_LATE = (
    "No answer from {target} within {timeout_s:g} s. Allow more time (`timeout_s`, `--timeout`) or send fewer photos."
)
_NOT_READY = "Model {model} at {target} is not ready ({detail}). Send the call again later."
_DENIED = "The server at {target} refuses this client ({detail}). Ask its operator for access."
_MISMATCH = (
    "Model {model} at {target} differs from the model that this client expects ({detail}). "
    "Serve the model repository of this client's release, or install the triptych-client of the server's."
)
_NO_CATALOGUE = (
    "The catalogue is not deployed at {target} ({detail}). Serve a model repository with `searcher`, `index` and "
    "`catalogue`, or pass the target of a server that has them."
)
_NO_EXPLAINER = (
    "Model `explainer` is not deployed at {target} ({detail}). Serve a model repository with `explainer`, built with "
    "`make build` of this release."
)
_OVER_MESSAGE = "The photo exceeds the size limit of a message ({detail}). Send a smaller copy of the photo."
_UNREACHED = (
    "No Triptych server answers at {target} ({detail}). "
    "Start one with `make serve`, or pass the right target (`--target`, TRIPTYCH_TARGET)."
)
_UNTRUSTED = (
    "The certificate of the server at {target} is not trusted ({detail}). Pass the authority that signed it or the "
    "name that it contains (`TLS(root_certificates=..., server_name=...)`, `--tls-ca`), or have it renewed."
)

_INVALID, _AWAY, _FAILED = "INVALID_ARGUMENT", "UNAVAILABLE", "INTERNAL"

MEANINGS: Mapping[str, Meaning] = {
    # Codes that a model sends.
    "image_unreadable": Meaning(_INVALID, UnreadableImage),
    "image_too_large": Meaning(_INVALID, ImageTooLarge),
    "request_invalid": Meaning(_INVALID, InvalidInput, _REFUSED),
    "filter_invalid": Meaning(_INVALID, InvalidInput, _REFUSED),
    "embedding_invalid": Meaning(_INVALID, InvalidInput, _REFUSED),
    "product_unknown": Meaning(_INVALID, InvalidInput, _REFUSED),
    "class_unknown": Meaning(_INVALID, InvalidInput, _REFUSED),
    "explanation_unsupported": Meaning(_INVALID, InvalidInput, _REFUSED),
    "catalogue_key_refused": Meaning(_INVALID, PermissionDenied, _KEYLESS),
    "index_incompatible": Meaning(_INVALID, IncompatibleIndex, _INCOMPATIBLE),
    "rebuild_running": Meaning(_AWAY, NotReady),
    "catalogue_unavailable": Meaning(_AWAY, NotReady),
    "catalogue_unusable": Meaning(_FAILED, ServerFault, _FAULT),
    "internal": Meaning(_FAILED, ServerFault, _FAULT),
    # Codes for messages of Triton, which have none: `uncoded_messages` assigns them.
    "queue_full": Meaning(_AWAY, Overloaded, _FULL),
    "deadline_exceeded": Meaning("DEADLINE_EXCEEDED", DeadlineExceeded, _LATE),
    "model_not_ready": Meaning(_AWAY, NotReady, _NOT_READY),
    "access_denied": Meaning("PERMISSION_DENIED", PermissionDenied, _DENIED),
    "contract_mismatch": Meaning(_INVALID, ContractMismatch, _MISMATCH),
    "catalogue_missing": Meaning("NOT_FOUND", ContractMismatch, _NO_CATALOGUE),
    "explainer_missing": Meaning("NOT_FOUND", ContractMismatch, _NO_EXPLAINER),
    "message_too_large": Meaning("RESOURCE_EXHAUSTED", ImageTooLarge, _OVER_MESSAGE),
    "server_fault": Meaning(_FAILED, ServerFault, _FAULT),
    # Codes that the client assigns.
    "input_invalid": Meaning(_INVALID, InvalidInput),
    "photo_not_fetched": Meaning(_AWAY, FetchFailed),
    "connection_failed": Meaning(_AWAY, ConnectionFailed, _UNREACHED),
    "certificate_refused": Meaning("PERMISSION_DENIED", PermissionDenied, _UNTRUSTED),
}

# The class for an unknown code of a newer server; ServerFault for any other status.
ERROR_OF_STATUS: Mapping[str, type[TriptychError]] = {
    "INVALID_ARGUMENT": InvalidInput,
    "UNAVAILABLE": NotReady,
    "NOT_FOUND": ContractMismatch,
    "UNIMPLEMENTED": ContractMismatch,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "RESOURCE_EXHAUSTED": Overloaded,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAUTHENTICATED": PermissionDenied,
}


def coded(code: str, sentence: str) -> TransportError:
    """The failure that a transport reports for a model's error `code`."""
    return TransportError(MEANINGS[code].status, f"[{code}] {sentence}")
