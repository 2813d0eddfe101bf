"""The blocking client. Owns the connection and the order of calls; what is said over it belongs to `recognizer`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from triptych import recognizer
from triptych.deadline import Deadline, check_timeout
from triptych.photo import ImageLike, read_photo
from triptych.translation import Call, deadline_exceeded, translated
from triptych.transport import Transport, connect

if TYPE_CHECKING:
    from types import TracebackType

    from triptych.results import Recognition

DEFAULT_TARGET = "127.0.0.1:8001"
DEFAULT_TIMEOUT_S = 10.0


class Client:
    """A connection to one Triptych server; threads may share it. Connects on the first call.

    Example:
        >>> with Client("127.0.0.1:8001") as client:  # doctest: +SKIP
        ...     print(client.recognize("shoe.jpg").top)
        Shoes / running shoe
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        _transport: Transport | None = None,
    ) -> None:
        """Prepares a client; touches no network.

        Args:
            target: host and gRPC port of the server.
            timeout_s: seconds one call may take, counted from when the photo has been read.

        Raises:
            InvalidInput: `target` is no gRPC address, or `timeout_s` no positive number.
        """
        check_timeout(timeout_s)
        self._target = target
        self._timeout_s = timeout_s
        self._transport = connect(target) if _transport is None else _transport
        self._contract_holds = False
        self._closed = False

    def recognize(self, photo: ImageLike, *, top_k: int = 5) -> Recognition:
        """Says what a photo shows.

        The first call also checks, within its deadline, that the server serves the model this client was written for.

        Args:
            photo: one encoded photo (JPEG, PNG, WebP, GIF, BMP or TIFF): bytes, a path or a binary file object.
            top_k: how many labels to return; fewer come back when the model has fewer classes.

        Raises:
            InvalidInput: the photo or `top_k` is of a wrong kind, or the server refused the photo (`UnreadableImage`,
                `ImageTooLarge`).
            Unavailable: the server cannot answer now.
            DeadlineExceeded: no answer within `timeout_s`.
            PermissionDenied: the server wants a credential.
            ContractMismatch: the server serves another model.
            ServerFault: the server failed.
            RuntimeError: the client is closed.
        """
        if self._closed:
            raise RuntimeError("This client is closed. Make a new Client, or call before close().")
        recognizer.check_top_k(top_k)
        content = read_photo(photo)
        request_id = uuid.uuid4().hex
        request = recognizer.request_arguments(content, top_k=top_k, request_id=request_id)
        call = Call(self._target, self._timeout_s, recognizer.MODEL, request_id)
        deadline = Deadline(self._timeout_s)
        with translated(call):
            self._check_contract(call, deadline)
            answer = self._transport.infer(**request, client_timeout=_remaining_s(deadline, call))
        return recognizer.read_answer(answer, request_id=request_id)

    def close(self) -> None:
        """Gives the connection back. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_contract(self, call: Call, deadline: Deadline) -> None:
        if self._contract_holds:
            return
        metadata = self._transport.get_model_metadata(call.model, client_timeout=_remaining_s(deadline, call))
        recognizer.check_metadata(metadata, request_id=call.request_id)
        self._contract_holds = True


def _remaining_s(deadline: Deadline, call: Call) -> float:
    remaining_s = deadline.remaining_s()
    if remaining_s <= 0:
        raise deadline_exceeded(call)
    return remaining_s
