"""Client of Triptych: a product photo in; categories and an embedding out.

The public surface is what this module names; importing it touches no network.
"""

from triptych.async_client import AsyncClient
from triptych.catalogue_calls import (
    CatalogueCount,
    CatalogueInfo,
    CatalogueItem,
    CataloguePhoto,
    PreparedPhoto,
    Product,
)
from triptych.catalogue_files import RefusedRow
from triptych.catalogue_import import ImportReport
from triptych.catalogue_rebuild import RebuildResult, RebuildStatus
from triptych.client import Client
from triptych.connection import TLS, Auth, Balance, Carrier
from triptych.embedded_files import EmbeddedRow
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
from triptych.explaining import draw_heat_map
from triptych.matching import MatchThresholds
from triptych.observation import Observer
from triptych.photo import ImageLike
from triptych.pixels import Box
from triptych.recommending import EVENT_WEIGHTS, Event, EventKind, popular_products
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
from triptych.retry import Retry
from triptych.searching import Filter, Vector
from triptych.server_state import Health, Model, ModelStatistics, TensorInfo

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
    "popular_products",
]
