"""Client of Triptych: a product photo in; categories and an embedding out.

The public surface is what this module names; importing it touches no network.
"""

from triptych.client import Client
from triptych.errors import (
    ConnectionFailed,
    ContractMismatch,
    DeadlineExceeded,
    ImageTooLarge,
    InvalidInput,
    NotReady,
    Overloaded,
    PermissionDenied,
    ServerFault,
    TriptychError,
    Unavailable,
    UnreadableImage,
)
from triptych.photo import ImageLike
from triptych.results import Label, Recognition

__all__ = [
    "Client",
    "ConnectionFailed",
    "ContractMismatch",
    "DeadlineExceeded",
    "ImageLike",
    "ImageTooLarge",
    "InvalidInput",
    "Label",
    "NotReady",
    "Overloaded",
    "PermissionDenied",
    "Recognition",
    "ServerFault",
    "TriptychError",
    "Unavailable",
    "UnreadableImage",
]
