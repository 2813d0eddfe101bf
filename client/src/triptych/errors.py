"""What can go wrong, grouped by what the caller should do. Must not import gRPC or tritonclient."""

from __future__ import annotations

from typing import ClassVar


class TriptychError(Exception):
    """Base of every error of a call; catch it to catch them all.

    Attributes:
        code: why, the same in every release: "image_unreadable" for example. A code that only a newer server knows
            arrives as it is.
        retryable: whether the same call, sent again a little later, may well succeed.
        model: the model that was asked, or None when nothing was sent.
        request_id: the id under which the server knows the request, or None when nothing was sent.
    """

    code: str = "server_fault"
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, code: str | None = None, model: str | None = None, request_id: str | None = None
    ) -> None:
        """Makes the error with a sentence for its message; `code` is that of the class unless given."""
        super().__init__(message)
        if code is not None:
            self.code = code
        self.model = model
        self.request_id = request_id


class InvalidInput(TriptychError):
    """The call is the caller's to fix."""

    code = "input_invalid"


class UnreadableImage(InvalidInput):
    """The bytes are not a whole photo in a known format."""

    code = "image_unreadable"


class ImageTooLarge(InvalidInput):
    """The photo is over the server's limit on bytes or on pixels."""

    code = "image_too_large"


class FetchFailed(InvalidInput):
    """The host of a photo's URL did not give it for a reason that may pass: a timeout, a broken connection, a 5xx.

    Retryable, and yet no `Unavailable`: Triptych is well, and whoever chose the URL is the one to tell.
    """

    code = "photo_not_fetched"
    retryable = True


class Unavailable(TriptychError):
    """The server cannot answer now; try again later."""

    code = "connection_failed"
    retryable = True


class Overloaded(Unavailable):
    """The server's queue is full."""

    code = "queue_full"


class NotReady(Unavailable):
    """The server is up, but what was asked for is not there now: a model loads or goes away, a rebuild runs."""

    code = "model_not_ready"


class ConnectionFailed(Unavailable):
    """The server could not be reached, or the connection broke before the answer came."""

    code = "connection_failed"


class DeadlineExceeded(TriptychError):
    """No answer in the time allowed. Not retryable: the time is spent, and more work makes no slow server faster."""

    code = "deadline_exceeded"


class PermissionDenied(TriptychError):
    """The server refuses this client's credential or the lack of one, or this client the server's certificate."""

    code = "access_denied"


class ContractMismatch(TriptychError):
    """The server does not serve the model this client was written for: a deployment fault."""

    code = "contract_mismatch"


class IncompatibleIndex(ContractMismatch):
    """The catalogue's embeddings are of another embedder than the one that serves. Nothing was mixed or written."""

    code = "index_incompatible"


class ServerFault(TriptychError):
    """The server failed in a way that is neither the caller's doing nor known to pass."""

    code = "server_fault"
