"""Every reason why a request fails: a stable code, a status, a sentence. Imports nothing of Triton's.

`Code` is the only definition of the codes. On the wire an error's text is `[code] sentence`, after the text that Triton
puts before it; gRPC, HTTP and ensembles pass the text on unchanged (Triton 2.51.0). Logs and `triptych_refusals_total`
use the same codes, and the documentation's page of error codes is derived from it.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import ClassVar


class Status(Enum):
    """The gRPC status, as Triton maps it. Triton's HTTP endpoint uses 400, 503, 404 and 500."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    UNAVAILABLE = "UNAVAILABLE"
    NOT_FOUND = "NOT_FOUND"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    INTERNAL = "INTERNAL"


class Origin(Enum):
    """Where an error gets its code."""

    MODEL = "Codes of the models, on the wire"
    TRITON = "Codes of Triton's errors, which have a sentence only; the client adds the code"
    CLIENT = "Codes of the client, for requests that reached no server"


_INVALID, _AWAY, _FAULT = Status.INVALID_ARGUMENT, Status.UNAVAILABLE, Status.INTERNAL


class Code(Enum):
    """A code, with its status, its origin and its meaning.

    Codes are added, never renamed: clients of the previous and the next release map the codes they know and treat the
    others by their status.
    """

    IMAGE_UNREADABLE = (_INVALID, Origin.MODEL, "The bytes are not a complete photo in a supported format.")
    IMAGE_TOO_LARGE = (_INVALID, Origin.MODEL, "The photo exceeds a limit on bytes, pixels or decode memory.")
    REQUEST_INVALID = (_INVALID, Origin.MODEL, "A tensor, option or JSON value of the request is invalid.")
    FILTER_INVALID = (_INVALID, Origin.MODEL, "The filter is malformed, or names a field that no product has.")
    EMBEDDING_INVALID = (_INVALID, Origin.MODEL, "The embedding has the wrong size, or no direction.")
    PRODUCT_UNKNOWN = (_INVALID, Origin.MODEL, "No product of the catalogue has this id.")
    CLASS_UNKNOWN = (_INVALID, Origin.MODEL, "The network does not have this attribute or class.")
    EXPLANATION_UNSUPPORTED = (_INVALID, Origin.MODEL, "The served network has no class activation maps.")
    CATALOGUE_KEY_REFUSED = (_INVALID, Origin.MODEL, "The request has no catalogue key, or a wrong one.")
    INDEX_INCOMPATIBLE = (_INVALID, Origin.MODEL, "Another network made the catalogue's embeddings.")
    REBUILD_RUNNING = (_AWAY, Origin.MODEL, "A rebuild of the index is running; a second one must wait.")
    CATALOGUE_UNAVAILABLE = (_AWAY, Origin.MODEL, "The distributed search engine does not answer.")
    CATALOGUE_UNUSABLE = (_FAULT, Origin.MODEL, "The catalogue's files cannot be read or written.")
    INTERNAL = (_FAULT, Origin.MODEL, "The server failed; the request is not the cause. The server's log says more.")
    QUEUE_FULL = (_AWAY, Origin.TRITON, "The model's queue, or the server's shared memory, is full.")
    DEADLINE_EXCEEDED = (Status.DEADLINE_EXCEEDED, Origin.TRITON, "No answer within the timeout.")
    MODEL_NOT_READY = (_AWAY, Origin.TRITON, "The model is loading, stopping or restarting.")
    ACCESS_DENIED = (Status.PERMISSION_DENIED, Origin.TRITON, "The server refuses this client's key or certificate.")
    CONTRACT_MISMATCH = (_INVALID, Origin.TRITON, "Client and server expect different models or tensors.")
    CATALOGUE_MISSING = (Status.NOT_FOUND, Origin.TRITON, "The server has no catalogue.")
    EXPLAINER_MISSING = (Status.NOT_FOUND, Origin.TRITON, "The server has no model `explainer`.")
    MESSAGE_TOO_LARGE = (Status.RESOURCE_EXHAUSTED, Origin.TRITON, "The request is larger than a message may be.")
    SERVER_FAULT = (_FAULT, Origin.TRITON, "The server failed with an error that has no code of its own.")
    INPUT_INVALID = (_INVALID, Origin.CLIENT, "An argument of the call is invalid; no request was sent.")
    PHOTO_NOT_FETCHED = (_AWAY, Origin.CLIENT, "The photo of a URL could not be downloaded.")
    CONNECTION_FAILED = (_AWAY, Origin.CLIENT, "The server could not be reached, or the connection broke.")
    CERTIFICATE_REFUSED = (Status.PERMISSION_DENIED, Origin.CLIENT, "The server's certificate is not trusted.")

    def __init__(self, status: Status, origin: Origin, meaning: str) -> None:
        self.status = status
        self.origin = origin
        self.meaning = meaning

    @property
    def text(self) -> str:
        """The code on the wire, in logs and in metrics."""
        return self.name.lower()

    @property
    def is_servers_fault(self) -> bool:
        """Whether the error counts against the availability objective: the server, not the request, is the cause."""
        return self.status is Status.INTERNAL or (
            self.status is Status.UNAVAILABLE and self is not Code.REBUILD_RUNNING
        )


# Codes that models use, and so the codes in logs and metrics.
MODEL_CODES = tuple(code for code in Code if code.origin is Origin.MODEL)


# gRPC sends the text as metadata, of which it may drop more than 8 kB; a character takes up to 12 bytes there. In a
# longer text the middle is cut, the end with the next step is kept.
MAX_SENTENCE_CHARS = 700
_HEAD_CHARS = 450
MAX_WIRE_BYTES = 6_000

# The most characters of a caller's value that an error repeats.
MAX_QUOTED_CHARS = 200

_CODED = re.compile(r"\[([a-z][a-z0-9_]*)\] (.*)", re.DOTALL)


def split_wire_text(text: str) -> tuple[Code | None, str]:
    """The code and the sentence of a model's error, without Triton's prefix; code None where the text has no code."""
    found = _CODED.search(text)
    if found is None or found[1].upper() not in Code.__members__:
        return None, text
    return Code[found[1].upper()], found[2]


def quoted(value: object) -> str:
    """A caller's value for a sentence: in quotes where it is text, and cut. Lists and objects are only counted."""
    if isinstance(value, list | dict):
        kind = ("list", "items") if isinstance(value, list) else ("object", "keys")
        return f"a JSON {kind[0]} of {len(value)} {kind[1]}"
    is_long = isinstance(value, str | bytes) and len(value) > MAX_QUOTED_CHARS
    text = repr(value[:MAX_QUOTED_CHARS] if is_long else value)  # type: ignore[index]
    if not is_long and len(text) <= MAX_QUOTED_CHARS + 2:  # with its quotation marks
        return text
    return f"{text[:MAX_QUOTED_CHARS]}... (cut)"


def _wire_sentence(sentence: str) -> str:
    """A sentence that every protocol can carry: short, and without unpaired surrogates."""
    sentence = sentence.encode("utf-8", "backslashreplace").decode()
    if len(sentence) > MAX_SENTENCE_CHARS:
        sentence = f"{sentence[:_HEAD_CHARS]} ... {sentence[_HEAD_CHARS - MAX_SENTENCE_CHARS :]}"
    wire_bytes = sum(1 if char.isascii() and char.isprintable() else 3 * len(char.encode()) for char in sentence)
    return sentence if wire_bytes <= MAX_WIRE_BYTES else sentence.encode("ascii", "replace").decode()


class ServingError(Exception):
    """A request that fails; the message is a sentence for the caller.

    Attributes:
        code: the error code.
        advice: next step for the caller after an error of the server.
    """

    code: Code
    advice: ClassVar[str] = "Try again in a moment."

    @property
    def wire_text(self) -> str:
        """`[code] sentence`. For an error of the server, only the code's meaning is sent; the details are logged."""
        sentence = f"{self.code.meaning} {self.advice}" if self.code.is_servers_fault else str(self)
        return f"[{self.code.text}] {_wire_sentence(sentence)}"


class InvalidPhoto(ServingError, ValueError):
    """The photo cannot be used; the caller must change it."""

    def add_position(self, index: int, photos: int) -> None:
        """Adds the photo's position to the sentence, when the request has several photos."""
        if photos > 1:
            self.args = (f"{self} (photo {index + 1} of {photos} in this request)",)


class UnreadableImage(InvalidPhoto):
    """The bytes are not a complete photo in a supported format."""

    code = Code.IMAGE_UNREADABLE

    def __init__(self, found: str, mend: str = "Send the file's bytes unchanged.") -> None:
        super().__init__(
            f"unreadable image: {found}; expected a complete JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file. {mend}"
        )


class ImageTooLarge(InvalidPhoto):
    """The photo exceeds a limit on bytes, pixels or decode memory."""

    code = Code.IMAGE_TOO_LARGE

    def __init__(self, found: str, limit: str) -> None:
        super().__init__(f"image too large: {found}; the limit is {limit}. Send a smaller copy of the photo.")


class InvalidRequest(ServingError):
    """The request is invalid."""

    code = Code.REQUEST_INVALID

    def __init__(self, message: str, code: Code = Code.REQUEST_INVALID) -> None:
        super().__init__(message)
        self.code = code


class InvalidFilter(InvalidRequest):
    """The filter is malformed, or names a field that no product has."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Code.FILTER_INVALID)


class QueueFull(ServingError):
    """The model has as many requests waiting as it may, or its answer finds no shared memory."""

    code = Code.QUEUE_FULL


class CallerGone(ServingError):
    """The caller has cancelled the request, or its timeout has passed; the work has stopped."""

    code = Code.DEADLINE_EXCEEDED

    def __init__(self) -> None:
        super().__init__("The request's timeout passed, or its caller left, before the answer was complete.")


class IncompatibleIndex(ServingError):
    """Embeddings of another network: similarities between the two networks have no meaning.

    Args:
        what: what has the fingerprint `got`.
        got: fingerprint of the request's or the stored embeddings.
        expected: fingerprint of the embedder that is served.
        advice: next step.
    """

    code = Code.INDEX_INCOMPATIBLE

    def __init__(self, what: str, got: str, expected: str, advice: str) -> None:
        super().__init__(
            f"Incompatible index: {what} has the fingerprint {quoted(got)}; expected {expected!r}. {advice}"
        )


class KeyRefused(ServingError):
    """The request does not have the catalogue's key."""

    code = Code.CATALOGUE_KEY_REFUSED


class RebuildRunning(ServingError):
    """A rebuild was requested while another one is running or requested."""

    code = Code.REBUILD_RUNNING


class EngineUnavailable(ServingError):
    """The distributed search engine does not answer; the same request may succeed later."""

    code = Code.CATALOGUE_UNAVAILABLE
    advice = "Try again in a moment."


# Advice of a StoreFault.
REMEDY = "Name a folder in TRIPTYCH_CATALOGUE_DIR that the server can write, on a disk with free space."


class StoreFault(ServingError):
    """The store or its index cannot be opened or written; the message names the file and the next step."""

    code = Code.CATALOGUE_UNUSABLE
    advice = "Nothing of this request was written. Tell the server's operator: the log names the file and the cause."
