"""The errors of the calls, grouped by what the caller should do. Must not import gRPC or tritonclient."""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ConnectionFailed",
    "ContractMismatch",
    "DeadlineExceeded",
    "FetchFailed",
    "ImageTooLarge",
    "IncompatibleIndex",
    "InvalidInput",
    "NotReady",
    "Overloaded",
    "PermissionDenied",
    "ServerFault",
    "TriptychError",
    "Unavailable",
    "UnreadableImage",
]


class TriptychError(Exception):
    """Base class of the errors of all calls.

    Attributes:
        code: the cause, stable across releases: "image_unreadable" for example. A code of a newer server that this
            client does not know is passed on unchanged.
        retryable: whether the same call may succeed when it is sent again later.
        model: the model that was called, or None when nothing was sent.
        request_id: the id under which the server knows the request, or None when nothing was sent.
    """

    code: str = "server_fault"
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, code: str | None = None, model: str | None = None, request_id: str | None = None
    ) -> None:
        """Creates the error; `code` is that of the class unless given."""
        super().__init__(message)
        if code is not None:
            self.code = code
        self.model = model
        self.request_id = request_id


class InvalidInput(TriptychError):
    """An argument or a photo is wrong; the caller must change it."""

    code = "input_invalid"


class UnreadableImage(InvalidInput):
    """The bytes are not a complete photo in a supported format."""

    code = "image_unreadable"


class ImageTooLarge(InvalidInput):
    """The photo is over the server's limit on bytes or pixels."""

    code = "image_too_large"


class FetchFailed(InvalidInput):
    """The host of a photo's URL failed for a reason that may pass: a timeout, a broken connection, a 5xx status.

    Retryable, but not an `Unavailable`: the fault is the host's, not the Triptych server's.
    """

    code = "photo_not_fetched"
    retryable = True


class Unavailable(TriptychError):
    """The server cannot answer now; send the call again later."""

    code = "connection_failed"
    retryable = True


class Overloaded(Unavailable):
    """The server's queue is full."""

    code = "queue_full"


class NotReady(Unavailable):
    """The server runs, but cannot serve the call now: a model is being loaded or unloaded, or a rebuild runs."""

    code = "model_not_ready"


class ConnectionFailed(Unavailable):
    """The server could not be reached, or the connection broke before the answer came."""

    code = "connection_failed"


class DeadlineExceeded(TriptychError):
    """No answer within the deadline. Not retryable: a repeated call would add load to a slow server."""

    code = "deadline_exceeded"


class PermissionDenied(TriptychError):
    """The server refuses this client's credential or requires one, or the client refuses the server's certificate."""

    code = "access_denied"


class ContractMismatch(TriptychError):
    """The server's models differ from those that this client expects: a deployment fault."""

    code = "contract_mismatch"


class IncompatibleIndex(ContractMismatch):
    """Another embedder than the one that serves embedded the catalogue. Nothing was written."""

    code = "index_incompatible"


class ServerFault(TriptychError):
    """The server failed; the caller did not cause it, and a retry is not known to help."""

    code = "server_fault"
