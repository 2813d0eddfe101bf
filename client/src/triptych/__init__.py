"""Client of Triptych: a product photo in; categories and an embedding out.

The public surface is what this module names; importing it touches no network.
"""

from triptych.async_client import AsyncClient
from triptych.client import Client
from triptych.connection import TLS, Auth, Balance, Carrier
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
    Unavailable,
    UnreadableImage,
)
from triptych.observation import Observer
from triptych.photo import ImageLike
from triptych.results import Classification, Embedding, Item, Label, Recognition, Timing
from triptych.retry import Retry
from triptych.server_state import Health, Model, ModelStatistics, TensorInfo

__all__ = [
    "TLS",
    "AsyncClient",
    "Auth",
    "Balance",
    "Carrier",
    "Classification",
    "Client",
    "ConnectionFailed",
    "ContractMismatch",
    "DeadlineExceeded",
    "Embedding",
    "FetchFailed",
    "Health",
    "ImageLike",
    "ImageTooLarge",
    "IncompatibleIndex",
    "InvalidInput",
    "Item",
    "Label",
    "Model",
    "ModelStatistics",
    "NotReady",
    "Observer",
    "Overloaded",
    "PermissionDenied",
    "Recognition",
    "Retry",
    "ServerFault",
    "TensorInfo",
    "Timing",
    "TriptychError",
    "Unavailable",
    "UnreadableImage",
]
