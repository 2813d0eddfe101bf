"""Every reason why a request gets no answer: a stable code, a status, a sentence. Imports nothing of Triton's.

`Code` is the one home of the codes. On the wire an error's text is `[code] sentence`, behind whatever Triton puts
before it; gRPC, HTTP and ensembles pass that text on unchanged (Triton 2.51.0). Logs and `triptych_refusals_total`
name the same codes. `python -m triptych_models.errors` prints the table of ERRORS.md.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import ClassVar


class Status(Enum):
    """gRPC's status, as Triton maps it. Triton's HTTP answers 400, 503, 404 and 500."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    UNAVAILABLE = "UNAVAILABLE"
    NOT_FOUND = "NOT_FOUND"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    INTERNAL = "INTERNAL"


class Origin(Enum):
    """Who says the code."""

    MODEL = "a model of this package, on the wire"
    TRITON = "Triton, in a sentence without a code: the client adds it"
    CLIENT = "the client, about what never reached a server"


_INVALID, _AWAY, _FAULT = Status.INVALID_ARGUMENT, Status.UNAVAILABLE, Status.INTERNAL


class Code(Enum):
    """A code: the status it travels with, who says it, what it means.

    Codes are added, never renamed: clients of the release before and after map what they know and take the rest by its
    status.
    """

    IMAGE_UNREADABLE = (_INVALID, Origin.MODEL, "The bytes are not a whole photo in a supported format.")
    IMAGE_TOO_LARGE = (_INVALID, Origin.MODEL, "The photo exceeds a limit on bytes, pixels or decode memory.")
    REQUEST_INVALID = (_INVALID, Origin.MODEL, "A tensor, option or JSON value of the request is not as documented.")
    FILTER_INVALID = (_INVALID, Origin.MODEL, "The filter is malformed, or names a field that no product has.")
    EMBEDDING_INVALID = (_INVALID, Origin.MODEL, "The embedding has another size than expected, or no direction.")
    PRODUCT_UNKNOWN = (_INVALID, Origin.MODEL, "No product of the catalogue has the id.")
    CLASS_UNKNOWN = (_INVALID, Origin.MODEL, "The network has no such attribute or class.")
    EXPLANATION_UNSUPPORTED = (_INVALID, Origin.MODEL, "The served network has no class activation maps.")
    CATALOGUE_KEY_REFUSED = (_INVALID, Origin.MODEL, "The request lacks the catalogue's key, or shows another one.")
    INDEX_INCOMPATIBLE = (_INVALID, Origin.MODEL, "The catalogue's embeddings were made by another network.")
    REBUILD_RUNNING = (_AWAY, Origin.MODEL, "The index is being rebuilt; a second rebuild must wait.")
    CATALOGUE_UNAVAILABLE = (_AWAY, Origin.MODEL, "The distributed search engine does not answer.")
    CATALOGUE_UNUSABLE = (_FAULT, Origin.MODEL, "The catalogue's files cannot be read or written.")
    INTERNAL = (_FAULT, Origin.MODEL, "The server failed; the request is not at fault. The server's log says why.")
    QUEUE_FULL = (_AWAY, Origin.TRITON, "The model's queue, or the server's shared memory, is full.")
    DEADLINE_EXCEEDED = (Status.DEADLINE_EXCEEDED, Origin.TRITON, "No answer in the time allowed.")
    MODEL_NOT_READY = (_AWAY, Origin.TRITON, "The model is loading, stopping or being restarted.")
    ACCESS_DENIED = (Status.PERMISSION_DENIED, Origin.TRITON, "The server refuses this client's key or certificate.")
    CONTRACT_MISMATCH = (_INVALID, Origin.TRITON, "Client and server disagree about a model or its tensors.")
    CATALOGUE_MISSING = (Status.NOT_FOUND, Origin.TRITON, "The server serves no catalogue.")
    EXPLAINER_MISSING = (Status.NOT_FOUND, Origin.TRITON, "The server serves no `explainer`.")
    MESSAGE_TOO_LARGE = (Status.RESOURCE_EXHAUSTED, Origin.TRITON, "The request does not fit into one message.")
    SERVER_FAULT = (_FAULT, Origin.TRITON, "The server failed in a way that has no code of its own.")
    INPUT_INVALID = (_INVALID, Origin.CLIENT, "An argument of the call is not as documented; nothing was sent.")
    PHOTO_NOT_FETCHED = (_AWAY, Origin.CLIENT, "The host of a photo's URL did not give the photo.")
    CONNECTION_FAILED = (_AWAY, Origin.CLIENT, "The server was not reached, or the connection broke.")
    CERTIFICATE_REFUSED = (Status.PERMISSION_DENIED, Origin.CLIENT, "The server's certificate is not trusted.")

    def __init__(self, status: Status, origin: Origin, meaning: str) -> None:
        self.status = status
        self.origin = origin
        self.meaning = meaning

    @property
    def text(self) -> str:
        """As it stands on the wire, in logs and in metrics."""
        return self.name.lower()

    @property
    def is_servers_fault(self) -> bool:
        """Whether it counts against the availability objective: neither the request nor its moment is at fault."""
        return self.status is Status.INTERNAL or (
            self.status is Status.UNAVAILABLE and self is not Code.REBUILD_RUNNING
        )


# What models say, and so what logs and metrics know.
MODEL_CODES = tuple(code for code in Code if code.origin is Origin.MODEL)


# gRPC carries the text as metadata of at most 16 kB, in which a character takes up to 12 bytes. What is too long echoes
# the caller's own words: the end, which says what to do, is kept.
MAX_SENTENCE_CHARS = 700
_HEAD_CHARS = 450

_CODED = re.compile(r"\[([a-z][a-z0-9_]*)\] (.*)", re.DOTALL)


def split_wire_text(text: str) -> tuple[Code | None, str]:
    """The code and the sentence of a model's error, whatever Triton puts before them; no code where it has none."""
    found = _CODED.search(text)
    if found is None or found[1].upper() not in Code.__members__:
        return None, text
    return Code[found[1].upper()], found[2]


class ServingError(Exception):
    """A request that gets no answer; the message is a sentence for the caller.

    Attributes:
        code: why.
        advice: what the caller can do about what is not their fault.
    """

    code: Code
    advice: ClassVar[str] = "Try again in a moment."

    @property
    def wire_text(self) -> str:
        """`[code] sentence`. Of a fault of ours the caller is told the kind, and the log the rest."""
        sentence = f"{self.code.meaning} {self.advice}" if self.code.is_servers_fault else str(self)
        if len(sentence) > MAX_SENTENCE_CHARS:
            sentence = f"{sentence[:_HEAD_CHARS]} ... {sentence[_HEAD_CHARS - MAX_SENTENCE_CHARS :]}"
        return f"[{self.code.text}] {sentence}"


class InvalidPhoto(ServingError, ValueError):
    """The photo is the caller's to fix."""

    def tell_which(self, index: int, photos: int) -> None:
        """Adds to the sentence which of the request's photos it is, when there are several."""
        if photos > 1:
            self.args = (f"{self} (photo {index + 1} of {photos} in this request)",)


class UnreadableImage(InvalidPhoto):
    """The bytes are not a whole photo in a known format."""

    code = Code.IMAGE_UNREADABLE

    def __init__(self, found: str) -> None:
        super().__init__(
            f"unreadable image: {found}; expected a whole JPEG, PNG, WebP, GIF, BMP or TIFF file. "
            "Send the file's bytes unchanged."
        )


class ImageTooLarge(InvalidPhoto):
    """The photo exceeds a limit on bytes, pixels or decode memory."""

    code = Code.IMAGE_TOO_LARGE

    def __init__(self, found: str, limit: str) -> None:
        super().__init__(f"image too large: {found}, the limit is {limit}. Send a smaller copy of the photo.")


class InvalidRequest(ServingError):
    """The request asks for something that cannot be done."""

    code = Code.REQUEST_INVALID

    def __init__(self, message: str, code: Code = Code.REQUEST_INVALID) -> None:
        super().__init__(message)
        self.code = code


class InvalidFilter(InvalidRequest):
    """The filter is malformed, or names a field that no product has."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Code.FILTER_INVALID)


class IncompatibleIndex(ServingError):
    """Embeddings of another network: their similarity to these would mean nothing.

    Args:
        what: whose fingerprint `got` is.
        got: fingerprint of what came, or of what is stored.
        expected: fingerprint of the embedder that is served.
        advice: what to do about it.
    """

    code = Code.INDEX_INCOMPATIBLE

    def __init__(self, what: str, got: str, expected: str, advice: str) -> None:
        super().__init__(f"Incompatible index: {what} has the fingerprint {got!r}, expected {expected!r}. {advice}")


class KeyRefused(ServingError):
    """The caller does not hold the catalogue's key."""

    code = Code.CATALOGUE_KEY_REFUSED


class RebuildRunning(ServingError):
    """A rebuild of the index was asked for while another one runs."""

    code = Code.REBUILD_RUNNING


class EngineUnavailable(ServingError):
    """The distributed search engine does not answer; the same request may work in a moment."""

    code = Code.CATALOGUE_UNAVAILABLE
    advice = "Try again in a moment."


# Advice of a StoreFault.
REMEDY = "It needs a folder that the server may write, with room on its disk; TRIPTYCH_CATALOGUE_DIR names it."


class StoreFault(ServingError):
    """The store or its index cannot be opened or written; the message names the file and what to do."""

    code = Code.CATALOGUE_UNUSABLE
    advice = "Nothing of this request was written. Tell the server's operator: its log names the file and the cause."


_DOCUMENT = """\
# Error codes

An error that a model answers reads `[code] sentence`, over gRPC and HTTP; Triton puts `[request id: x] ` before it
where the caller chose an id, and `in ensemble 'searcher', ` where the model is a step. The client's errors have the
code as `.code`; the code decides the class. Written by `python -m triptych_models.errors`, the one home of the codes.
"""


def render() -> str:
    """The document."""
    parts = [_DOCUMENT]
    for origin in Origin:
        parts.append(f"\n## Said by {origin.value}\n\n| code | gRPC status | meaning |\n|---|---|---|\n")
        parts += [
            f"| `{code.text}` | {code.status.value} | {code.meaning} |\n" for code in Code if code.origin is origin
        ]
    return "".join(parts)


if __name__ == "__main__":
    print(render(), end="")
