"""Defines every metric of Triptych: name, kind, labels, buckets, meaning. Records nothing.

The documentation's page of metrics is derived from `METRICS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from triptych_models.errors import MODEL_CODES, Code
from triptych_models.metrics.sources import SOURCES

Kind = Literal["counter", "gauge", "histogram"]

# Values of label `model`: the model's role, not the name it is loaded under, so that series outlive a release.
RECOGNITION = ("recognizer", "preprocess", "embedder", "classifier")
MODELS = (*RECOGNITION, "activation_map", "index", "catalogue")
DECODE, EMBED, CLASSIFY = "decode", "embed", "classify"
STAGES = (DECODE, EMBED, CLASSIFY)
# `catalogue` also reports the errors of the model that it calls.
CODES = tuple(code.text for code in (*MODEL_CODES, Code.QUEUE_FULL, Code.DEADLINE_EXCEEDED, Code.MODEL_NOT_READY))
CATALOGUE_CALLS = (
    "upsert",
    "get",
    "delete",
    "count",
    "export",
    "duplicates",
    "rebuild",
    "status",
    "info",
    "activate",
    "verify",
    "backup",
    "restore",
    "other",
)
ANSWERED, REFUSED, FAILED, DONE = "answered", "refused", "failed", "done"
SEARCH, CATALOGUE = "search", "catalogue"

# Categories beside the retail categories: classes that no shop sells, and retail categories above the limit.
NO_CATEGORY, OTHER_CATEGORY = "none", "other"
MAX_CATEGORIES = 64

_MODEL: Mapping[str, tuple[str, ...]] = {"model": RECOGNITION}
# What a caller works for, so that no import or check changes the figures of the shoppers' photos.
_SOURCE: Mapping[str, tuple[str, ...]] = {"source": SOURCES}


@dataclass(frozen=True)
class Metric:
    """One metric family.

    Attributes:
        stage: where the metric is recorded; empty: in every model.
        labels: name -> allowed values; no values: the categories of labels.txt.
        buckets: upper bounds of a histogram, rising, in the metric's unit; +Inf follows.
    """

    name: str
    kind: Kind
    stage: str
    meaning: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _MODEL)
    buckets: tuple[float, ...] = ()


REFUSALS = Metric(
    "triptych_refusals_total",
    "counter",
    "",
    "Failed requests of a model, by error code. Triton counts these requests as successes "
    "of the model, and as failures with the reason OTHER of an ensemble that contains the model.",
    {"model": MODELS, "code": CODES, **_SOURCE},
)
STAGE_DURATION = Metric(
    "triptych_stage_duration_seconds",
    "histogram",
    "",
    "Time of a successful request in a stage, without queueing. Requests of one batch have the same time; answers from "
    "the cache are not counted. Where the network runs in a native backend (profiles `cpu-native`, `gpu`), `embed` is "
    "the time from the decoded photo to the classifier, including queueing, and requests for the embedding alone are "
    "not counted in `embed`.",
    {**_MODEL, "stage": STAGES},
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
RECOGNITION_DURATION = Metric(
    "triptych_recognition_duration_seconds",
    "histogram",
    "recognizer",
    "Time from the receipt of a request's photos to its scores, without the queueing before. In profile `cpu` it is "
    "the time in the model, including answers from the cache; in an ensemble it is the time from `preprocess` to "
    "`classifier`, including the queueing between them.",
    {"model": ("recognizer",), **_SOURCE},
    buckets=STAGE_DURATION.buckets,
)
PHOTO_SIZE_BYTES = Metric(
    "triptych_photo_size_bytes",
    "histogram",
    DECODE,
    "Encoded size of the photos that were decoded.",
    {**_MODEL, **_SOURCE},
    buckets=(1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 2e7),
)
PHOTO_SIZE_PIXELS = Metric(
    "triptych_photo_size_pixels",
    "histogram",
    DECODE,
    "Width times height of the photos that were decoded.",
    {**_MODEL, **_SOURCE},
    buckets=(5e4, 1e5, 3e5, 1e6, 3e6, 1e7, 2.5e7, 5e7),
)
DRIFT = Metric(
    "triptych_embedding_drift_ratio",
    "gauge",
    EMBED,
    "Cosine distance (1 - cos) of the running mean embedding of photos with source `shopper` from the release's "
    "reference mean; 0 after a start, one value for all models of a server. Missing where the release has no "
    "reference.",
)
PHOTOS = Metric(
    "triptych_photos_total",
    "counter",
    CLASSIFY,
    "Classified photos, including answers from the cache, without warm-up.",
    {**_MODEL, **_SOURCE},
)
TOP1_SCORE = Metric(
    "triptych_top1_score",
    "histogram",
    CLASSIFY,
    "Score of the best category.",
    {**_MODEL, **_SOURCE},
    buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
)
ABSTAINED = Metric(
    "triptych_abstained_total",
    "counter",
    CLASSIFY,
    "Photos whose best score is below `abstain_below` of the config.",
    {**_MODEL, **_SOURCE},
)
PREDICTIONS = Metric(
    "triptych_predictions_total",
    "counter",
    CLASSIFY,
    f"Photos by retail category of the best class; `{NO_CATEGORY}` for classes that no shop sells, `{OTHER_CATEGORY}` "
    f"for categories after the first {MAX_CATEGORIES}.",
    {**_MODEL, "category": (), **_SOURCE},
)
CACHE_HITS = Metric(
    "triptych_answer_cache_hits_total", "counter", "cache", "Photos answered from the answer cache of `recognizer`."
)
CACHE_MISSES = Metric(
    "triptych_answer_cache_misses_total", "counter", "cache", "Photos that the answer cache did not have."
)
RESTARTS = Metric(
    "triptych_server_restarts_total",
    "counter",
    "",
    "Restarts of this server by its supervisor, since the supervisor started; 0 where nothing supervises it.",
    {},
)
INSTANCES = Metric("triptych_model_instances", "gauge", "", "Processes of the model, by its config.", {"model": MODELS})
ALIVE = Metric(
    "triptych_model_alive_seconds_total",
    "counter",
    "",
    "Seconds that all processes of the model have lived: its rate is the number of living processes.",
    {"model": MODELS},
)
SHARED_MEMORY_FREE = Metric(
    "triptych_shared_memory_free_bytes", "gauge", "", "Free bytes of /dev/shm, through which Triton passes tensors.", {}
)

SEARCH_DURATION = Metric(
    "triptych_search_duration_seconds",
    "histogram",
    SEARCH,
    "Time of a successful request in `index`, without queueing and without the embedding of the photo.",
    _SOURCE,
    STAGE_DURATION.buckets,
)
SEARCHES_EMPTY = Metric("triptych_searches_empty_total", "counter", SEARCH, "Searches without a result.", _SOURCE)
TOP_SIMILARITY = Metric(
    "triptych_search_top_similarity",
    "histogram",
    SEARCH,
    "Cosine of the nearest product of each search with results.",
    _SOURCE,
    (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
)
CATALOGUE_PHOTOS = Metric("triptych_catalogue_photos", "gauge", SEARCH, "Photos that searches cover.", {})
CATALOGUE_UNINDEXED = Metric(
    "triptych_catalogue_unindexed_photos",
    "gauge",
    SEARCH,
    "Photos that are not in the HNSW index yet; a search compares them one by one. All photos of a small catalogue.",
    {},
)
REBUILD_PROGRESS = Metric(
    "triptych_index_rebuild_progress_ratio",
    "gauge",
    SEARCH,
    "Progress of a rebuild of the index from 0 to 1; 1 while none runs, 0 after a failure until the next attempt.",
    {},
)
REBUILDS = Metric(
    "triptych_index_rebuilds_total",
    "counter",
    SEARCH,
    "Ended rebuilds of the index, including rebuilds that the index starts itself after many removals. Each attempt "
    "after a failure is counted.",
    {"outcome": (DONE, FAILED)},
)
CATALOGUE_REQUESTS = Metric(
    "triptych_catalogue_requests_total",
    "counter",
    CATALOGUE,
    "Calls of `catalogue`. `refused`: the caller must change the request; includes wrong keys.",
    {"call": CATALOGUE_CALLS, "outcome": (ANSWERED, REFUSED, FAILED)},
)
CATALOGUE_UPSERTED = Metric(
    "triptych_catalogue_upserted_photos_total", "counter", CATALOGUE, "Photos added or changed.", {}
)

METRICS = (
    PHOTOS,
    REFUSALS,
    STAGE_DURATION,
    RECOGNITION_DURATION,
    PHOTO_SIZE_BYTES,
    PHOTO_SIZE_PIXELS,
    TOP1_SCORE,
    ABSTAINED,
    PREDICTIONS,
    DRIFT,
    CACHE_HITS,
    CACHE_MISSES,
    RESTARTS,
    INSTANCES,
    ALIVE,
    SHARED_MEMORY_FREE,
    SEARCH_DURATION,
    SEARCHES_EMPTY,
    TOP_SIMILARITY,
    CATALOGUE_PHOTOS,
    CATALOGUE_UNINDEXED,
    REBUILD_PROGRESS,
    REBUILDS,
    CATALOGUE_REQUESTS,
    CATALOGUE_UPSERTED,
)


def format_bound(bound: float) -> str:
    """The bound as in label `le`."""
    return f"{bound:g}"
