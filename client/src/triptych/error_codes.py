"""Each error code -> the class of the error, and what its message says. No codes but these are known to this client.

The codes are the server's: `model_repository/triptych_models/errors.py` is their home, ERRORS.md their table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
from triptych.protocol import TransportError


@dataclass(frozen=True)
class Meaning:
    """What a code means.

    Attributes:
        status: gRPC's name of the status that a server sends with it.
        error: the class of the client's error.
        sentence: its message, with fields for what is known of the call; `{detail}` is the server's own sentence.
    """

    status: str
    error: type[TriptychError]
    sentence: str = "{detail}."


_REFUSED = "The server at {target} refused the request ({detail}). Change what it names and send it again."
_FAULT = "The server at {target} failed ({status}: {detail}). Tell its operator, with request id {request_id}."
_KEYLESS = (
    "The server at {target} refuses this client ({detail}). Pass the catalogue's key (`Client(catalogue_key=...)`, "
    "`--catalogue-key-file`); searching needs none."
)
_INCOMPATIBLE = (
    "The catalogue at {target} is of another embedder ({detail}). Import the catalogue anew with the embedder that "
    "serves now, or serve the one that made it."
)
_FULL = "The server at {target} has more work than it takes ({detail}). Try again in a moment, or add replicas."
_LATE = (
    "No answer from {target} within {timeout_s:g} s. Allow more time (`timeout_s`, `--timeout`) or send less at once."
)
_NOT_READY = "Model {model} at {target} is not ready ({detail}). Try again in a moment."
_DENIED = "The server at {target} refuses this client ({detail}). Ask its operator for an address or a right to use it."
_MISMATCH = (
    "The server at {target} and this client disagree about model {model} ({detail}). "
    "Serve the model repository of this client's release, or install the triptych-client of the server's."
)
_NO_CATALOGUE = (
    "The server at {target} serves no catalogue ({detail}). Serve a model repository with `searcher`, `index` and "
    "`catalogue`, or pass the target of a server that has them."
)
_NO_EXPLAINER = (
    "The server at {target} explains nothing ({detail}). Serve a model repository with `explainer`, placed by this "
    "release's `python -m export place`."
)
_OVER_MESSAGE = "The photo does not fit into one message ({detail}). Send a smaller copy of the photo."
_UNREACHED = (
    "No Triptych server answers at {target} ({detail}). "
    "Start one with `make serve`, or pass the right target (`--target`)."
)
_UNTRUSTED = (
    "The certificate of the server at {target} is not trusted ({detail}). Pass the authority that signed it or the "
    "name it holds (`TLS(root_certificates=..., server_name=...)`, `--tls-ca`), or have it renewed."
)

_INVALID, _AWAY, _FAILED = "INVALID_ARGUMENT", "UNAVAILABLE", "INTERNAL"

MEANINGS: Mapping[str, Meaning] = {
    # A model says these.
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
    # Triton says these without a code: `uncoded_messages` finds them.
    "queue_full": Meaning(_AWAY, Overloaded, _FULL),
    "deadline_exceeded": Meaning("DEADLINE_EXCEEDED", DeadlineExceeded, _LATE),
    "model_not_ready": Meaning(_AWAY, NotReady, _NOT_READY),
    "access_denied": Meaning("PERMISSION_DENIED", PermissionDenied, _DENIED),
    "contract_mismatch": Meaning(_INVALID, ContractMismatch, _MISMATCH),
    "catalogue_missing": Meaning("NOT_FOUND", ContractMismatch, _NO_CATALOGUE),
    "explainer_missing": Meaning("NOT_FOUND", ContractMismatch, _NO_EXPLAINER),
    "message_too_large": Meaning("RESOURCE_EXHAUSTED", ImageTooLarge, _OVER_MESSAGE),
    "server_fault": Meaning(_FAILED, ServerFault, _FAULT),
    # The client says these itself.
    "input_invalid": Meaning(_INVALID, InvalidInput),
    "photo_not_fetched": Meaning(_AWAY, FetchFailed),
    "connection_failed": Meaning(_AWAY, ConnectionFailed, _UNREACHED),
    "certificate_refused": Meaning("PERMISSION_DENIED", PermissionDenied, _UNTRUSTED),
}

# Of a code that is not above, which a newer server sends; ServerFault where the status is none of these either.
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
    """What arrives of a model that says `code`."""
    return TransportError(MEANINGS[code].status, f"[{code}] {sentence}")
