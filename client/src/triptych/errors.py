"""What can go wrong, grouped by what the caller should do. Must not import gRPC or tritonclient."""

from __future__ import annotations

from typing import ClassVar


class TriptychError(Exception):
    """Base of every error of a call; catch it to catch them all.

    Attributes:
        retryable: whether the same call, sent again a little later, may well succeed.
        model: the model that was asked, or None when nothing was sent.
        request_id: the id under which the server knows the request, or None when nothing was sent.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, model: str | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.model = model
        self.request_id = request_id


class InvalidInput(TriptychError):
    """The call is the caller's to fix."""


class UnreadableImage(InvalidInput):
    """The bytes are not a whole photo in a known format."""


class ImageTooLarge(InvalidInput):
    """The photo is over the server's limit on bytes or on pixels."""


class FetchFailed(InvalidInput):
    """The host of a photo's URL did not give it for a reason that may pass: a timeout, a broken connection, a 5xx.

    Retryable, and yet no `Unavailable`: Triptych is well, and whoever chose the URL is the one to tell.
    """

    retryable = True


class Unavailable(TriptychError):
    """The server cannot answer now; try again later."""

    retryable = True


class Overloaded(Unavailable):
    """The server's queue is full."""


class NotReady(Unavailable):
    """The server is up, but the model is still loading or is going away."""


class ConnectionFailed(Unavailable):
    """The server could not be reached, or the connection broke before the answer came."""


class DeadlineExceeded(TriptychError):
    """No answer in the time allowed. Not retryable: the time is spent, and more work makes no slow server faster."""


class PermissionDenied(TriptychError):
    """The server refuses this client's credential or the lack of one, or this client the server's certificate."""


class ContractMismatch(TriptychError):
    """The server does not serve the model this client was written for: a deployment fault."""


class IncompatibleIndex(ContractMismatch):
    """The catalogue's embeddings are of another embedder than the one that serves. Nothing was mixed or written."""


class ServerFault(TriptychError):
    """The server failed in a way that is neither the caller's doing nor known to pass."""
