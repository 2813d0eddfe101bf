"""Every metric of Triptych's own: name, kind, labels, buckets, meaning. Records nothing.

`python -m triptych_models.metrics` prints them as the table that is kept in ops/METRICS.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from triptych_models.errors import MODEL_CODES, Code

Kind = Literal["counter", "gauge", "histogram"]

# What answers, whatever name it was loaded under: a series must not outlive a release.
RECOGNITION = ("recognizer", "preprocess", "embedder", "classifier")
MODELS = (*RECOGNITION, "activation_map", "index", "catalogue")
DECODE, EMBED, CLASSIFY = "decode", "embed", "classify"
STAGES = (DECODE, EMBED, CLASSIFY)
# `catalogue` passes on why the model that it calls cannot be reached.
CODES = tuple(code.text for code in (*MODEL_CODES, Code.QUEUE_FULL, Code.MODEL_NOT_READY))
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
    "other",
)
ANSWERED, REFUSED, FAILED, DONE = "answered", "refused", "failed", "done"
SEARCH, CATALOGUE = "search", "catalogue"

# Beside the retail categories: classes no shop sells, and the categories past the limit.
NO_CATEGORY, OTHER_CATEGORY = "none", "other"
MAX_CATEGORIES = 64

_MODEL: Mapping[str, tuple[str, ...]] = {"model": RECOGNITION}


@dataclass(frozen=True)
class Metric:
    """One family.

    Attributes:
        stage: where it is recorded; empty: in every model.
        labels: name -> every value it may have; none: the categories of labels.txt.
        buckets: upper bounds of a histogram, in its unit, rising; +Inf follows.
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
    "Requests that a model gave no answer, by the error's code (model_repository/ERRORS.md). Triton counts them as "
    "successes of the model, and as failures of an ensemble above it with the reason OTHER.",
    {"model": MODELS, "code": CODES},
)
STAGE_DURATION = Metric(
    "triptych_stage_duration_seconds",
    "histogram",
    "",
    "Time a request spent in a stage that succeeded, queueing left out. Requests that were run together took the same "
    "time; answers from the cache are in no stage. Where the network runs in a native backend (profiles `cpu-native`, "
    "`gpu`), `embed` is the time from the decoded photo to the classifier, with the waits in it, and a request for "
    "the embedding alone is in no `embed`.",
    {**_MODEL, "stage": STAGES},
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
RECOGNITION_DURATION = Metric(
    "triptych_recognition_duration_seconds",
    "histogram",
    "recognizer",
    "Time from receiving a request's photos to its scores: in the profile `cpu` inside the one model, from the cache "
    "or not; in an ensemble from `preprocess` to `classifier`, with the waits between. The wait before is not in it.",
    {"model": ("recognizer",)},
    buckets=STAGE_DURATION.buckets,
)
PHOTO_SIZE_BYTES = Metric(
    "triptych_photo_size_bytes",
    "histogram",
    DECODE,
    "Encoded size of the photos that were decoded.",
    buckets=(1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 2e7),
)
PHOTO_SIZE_PIXELS = Metric(
    "triptych_photo_size_pixels",
    "histogram",
    DECODE,
    "Width times height of the photos that were decoded.",
    buckets=(5e4, 1e5, 3e5, 1e6, 3e6, 1e7, 2.5e7, 5e7),
)
DRIFT = Metric(
    "triptych_embedding_drift_ratio",
    "gauge",
    EMBED,
    "Cosine distance (1 - cos) of the running mean embedding from the release's reference mean; 0 after a start, one "
    "mean for all models of a server. Not there when the release has no reference.",
)
PHOTOS = Metric(
    "triptych_photos_total", "counter", CLASSIFY, "Photos given categories, from the cache or not; warm-up left out."
)
TOP1_SCORE = Metric(
    "triptych_top1_score",
    "histogram",
    CLASSIFY,
    "Score of the best category.",
    buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
)
ABSTAINED = Metric(
    "triptych_abstained_total", "counter", CLASSIFY, "Photos whose best score is below `abstain_below` of the config."
)
PREDICTIONS = Metric(
    "triptych_predictions_total",
    "counter",
    CLASSIFY,
    f"Photos by the retail category of the best class; `{NO_CATEGORY}` for classes no shop sells, `{OTHER_CATEGORY}` "
    f"for categories past the first {MAX_CATEGORIES}.",
    {**_MODEL, "category": ()},
)
CACHE_HITS = Metric(
    "triptych_answer_cache_hits_total", "counter", "cache", "Photos answered from the answer cache of `recognizer`."
)
CACHE_MISSES = Metric(
    "triptych_answer_cache_misses_total", "counter", "cache", "Photos looked up there and computed after all."
)
SHARED_MEMORY_FREE = Metric(
    "triptych_shared_memory_free_bytes", "gauge", "", "Free bytes of /dev/shm, where Triton hands tensors over.", {}
)

SEARCH_DURATION = Metric(
    "triptych_search_duration_seconds",
    "histogram",
    SEARCH,
    "Time an answered request spent in `index`, queueing left out; making the embedding of a photo is not in it.",
    {},
    STAGE_DURATION.buckets,
)
SEARCHES_EMPTY = Metric(
    "triptych_searches_empty_total", "counter", SEARCH, "Searches answered without a single product.", {}
)
TOP_SIMILARITY = Metric(
    "triptych_search_top_similarity",
    "histogram",
    SEARCH,
    "Cosine of the nearest product of each search that found one.",
    {},
    (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
)
CATALOGUE_PHOTOS = Metric("triptych_catalogue_photos", "gauge", SEARCH, "Photos that searches look through.", {})
CATALOGUE_UNINDEXED = Metric(
    "triptych_catalogue_unindexed_photos",
    "gauge",
    SEARCH,
    "Photos that no graph covers yet: searches find them, comparing one by one. All of them in a small catalogue.",
    {},
)
REBUILD_PROGRESS = Metric(
    "triptych_index_rebuild_progress_ratio",
    "gauge",
    SEARCH,
    "How far a rebuild of the index is, from 0; 1 while none runs, 0 after one that failed and is tried again.",
    {},
)
REBUILDS = Metric(
    "triptych_index_rebuilds_total",
    "counter",
    SEARCH,
    "Rebuilds of the index that ended, those that it begins by itself after many removals included. A failed one is "
    "tried again, and counted again.",
    {"outcome": (DONE, FAILED)},
)
CATALOGUE_REQUESTS = Metric(
    "triptych_catalogue_requests_total",
    "counter",
    CATALOGUE,
    "Calls of `catalogue`. Refused: the caller's to fix, a wrong key among them.",
    {"call": CATALOGUE_CALLS, "outcome": (ANSWERED, REFUSED, FAILED)},
)
CATALOGUE_UPSERTED = Metric(
    "triptych_catalogue_upserted_photos_total", "counter", CATALOGUE, "Photos taken in or changed.", {}
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

_DOCUMENT = """\
# Metrics of Triptych's own

In Triton's `/metrics`, beside Triton's. Written by `python -m triptych_models.metrics`; their one home is
`triptych_models/metrics/families.py`.

{table}

Each Python process counts for itself and hands over once a second, so a figure is up to a second old, and a process
that is killed takes its last second along. Every series but the drift of a release without reference is there from the
start, at 0. Triton's warm-up is not counted (Triton's own counters count it). A histogram is handed over as the
counters `_bucket`, `_sum` and `_count`: the figures PromQL wants, under another `# TYPE`.

`model` is `recognizer` in the profile `cpu`; in an ensemble it is the step of the stage: `preprocess` (decode),
`embedder` (embed), `classifier` (classify), whatever runs it. So a sum over models counts a photo once in every
profile.

Bounds of the buckets, each with +Inf: {buckets}.
"""


def render() -> str:
    """The document."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{name}`" for name in metric.labels) or "-"
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |")
    buckets = "; ".join(
        f"`{metric.name}` {', '.join(format_bound(bound) for bound in metric.buckets)}"
        for metric in METRICS
        if metric.buckets
    )
    return _DOCUMENT.format(table="\n".join(rows), buckets=buckets)


def format_bound(bound: float) -> str:
    """As it stands in the label `le`."""
    return f"{bound:g}"
