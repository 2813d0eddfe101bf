"""Client of Triptych: sends a product photo; returns categories and an embedding.

`__all__` lists the public names. The import opens no connection.
"""

from triptych._core.catalogue import (
    CatalogueCount,
    CatalogueInfo,
    CatalogueItem,
    CataloguePhoto,
    PreparedPhoto,
    Product,
)
from triptych._core.explanation import draw_heat_map
from triptych._core.matching import MatchThresholds
from triptych._core.rebuild import RebuildResult, RebuildStatus
from triptych._core.recommendation import EVENT_WEIGHTS, Event, EventKind, popular_products
from triptych._core.retry import Retry
from triptych._core.search import Filter, Vector
from triptych._core.server_state import Health, Model, ModelStatistics, TensorInfo
from triptych._core.session import Observer
from triptych._images.encoded_text import photo_from_base64
from triptych._images.photo import ImageLike
from triptych._images.pixels import Box
from triptych._transport.connection import Auth, Balance
from triptych._transport.target import Carrier
from triptych._transport.tls import TLS
from triptych.async_client import AsyncClient
from triptych.catalogue.embedded_files import EmbeddedRow
from triptych.catalogue.files import ImportOptions
from triptych.catalogue.importing import ImportReport
from triptych.client import Client
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
from triptych.results import (
    Classification,
    Embedding,
    Explanation,
    Item,
    Label,
    Match,
    MatchDecision,
    Recognition,
    Recommendation,
    Recommendations,
    SearchResult,
    Timing,
    Verdict,
)
from triptych.sources.rows import RefusedRow

__all__ = [
    "EVENT_WEIGHTS",
    "TLS",
    "AsyncClient",
    "Auth",
    "Balance",
    "Box",
    "Carrier",
    "CatalogueCount",
    "CatalogueInfo",
    "CatalogueItem",
    "CataloguePhoto",
    "Classification",
    "Client",
    "ConnectionFailed",
    "ContractMismatch",
    "DeadlineExceeded",
    "EmbeddedRow",
    "Embedding",
    "Event",
    "EventKind",
    "Explanation",
    "FetchFailed",
    "Filter",
    "Health",
    "ImageLike",
    "ImageTooLarge",
    "ImportOptions",
    "ImportReport",
    "IncompatibleIndex",
    "InvalidInput",
    "Item",
    "Label",
    "Match",
    "MatchDecision",
    "MatchThresholds",
    "Model",
    "ModelStatistics",
    "NotReady",
    "Observer",
    "Overloaded",
    "PermissionDenied",
    "PreparedPhoto",
    "Product",
    "RebuildResult",
    "RebuildStatus",
    "Recognition",
    "Recommendation",
    "Recommendations",
    "RefusedRow",
    "Retry",
    "SearchResult",
    "ServerFault",
    "TensorInfo",
    "Timing",
    "TriptychError",
    "Unavailable",
    "UnreadableImage",
    "Vector",
    "Verdict",
    "draw_heat_map",
    "photo_from_base64",
    "popular_products",
]
