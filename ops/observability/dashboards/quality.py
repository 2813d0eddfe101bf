"""The dashboard `quality`: scores, categories, abstentions, drift, and properties of the photos."""

from __future__ import annotations

from ops.observability.dashboards.panels import Panel, Panels, Query, quantile, rate, ratio
from ops.observability.rules.indicators import PHOTO_CODES, REFUSALS, SHOPPER, SHOPPERS
from ops.observability.rules.symptoms import DRIFT_RISE

PHOTOS_TOTAL = "triptych_photos_total"
DESCRIPTION = "Scores, categories, abstentions and drift: whether the answers have changed."


def make_rows(panels: Panels) -> dict[str, list[Panel]]:
    return {"Answers": _answers(panels), "Drift": _drift(panels), "Photos": _photos(panels)}


def _sources(panels: Panels) -> Panel:
    return panels.lines(
        "Photos by source",
        "Classified photos per second by what they are for. The other panels show shoppers' photos alone: an import "
        "moves only this one.",
        "reqps",
        Query(rate(panels.select(PHOTOS_TOTAL), "source"), "{{source}}"),
        is_stacked=True,
        width=12,
    )


def _answers(panels: Panels) -> list[Panel]:
    predictions = panels.select("triptych_predictions_total", source=SHOPPER)
    return [
        panels.heat(
            "Best score",
            "Score of each photo's best category. A falling band: photos unlike the training data, or a worse model.",
            "percentunit",
            panels.select("triptych_top1_score_bucket", source=SHOPPER),
            alerts=["TriptychConfidenceDrift"],
        ),
        panels.bars(
            "Categories",
            'Photos in the selected time, by the retail category of the best category; "none" is no retail category.',
            "none",
            Query(f"topk(12, sum by (category) (increase({predictions}[$__range])) > 0)", "{{category}}"),
            width=12,
        ),
    ]


def _drift(panels: Panels) -> list[Panel]:
    select = panels.select
    abstained, photos = (select(name, source=SHOPPER) for name in ("triptych_abstained_total", PHOTOS_TOTAL))
    scores = select("triptych_top1_score_bucket", source=SHOPPER)
    return [
        panels.lines(
            "Abstained",
            "Share of photos whose best score is below the abstain threshold.",
            "percentunit",
            Query(ratio(rate(abstained), rate(photos)), "abstained"),
            alerts=["TriptychConfidenceDrift"],
        ),
        panels.lines(
            "Best score, quartiles",
            "From the histogram, interpolated within its buckets.",
            "percentunit",
            Query(quantile(0.25, scores), "lower quartile"),
            Query(quantile(0.5, scores), "median"),
            Query(quantile(0.75, scores), "upper quartile"),
            top=1,
        ),
        panels.lines(
            "Embedding drift",
            "Distance (1 - cosine) of the running mean embedding from the release's reference mean.",
            "none",
            Query(f"max by (instance) ({select('triptych_embedding_drift_ratio')})", "{{instance}}"),
            alerts=["TriptychEmbeddingDrift"],
            soft_top=DRIFT_RISE,
        ),
    ]


def _photos(panels: Panels) -> list[Panel]:
    select = panels.select
    return [
        panels.heat(
            "Photo size",
            "Size of the encoded photo, for photos that were decoded.",
            "decbytes",
            select("triptych_photo_size_bytes_bucket", source=SHOPPERS),
        ),
        panels.heat(
            "Photo pixels",
            "Width times height, for photos that were decoded.",
            "short",
            select("triptych_photo_size_pixels_bucket", source=SHOPPERS),
        ),
        panels.lines(
            "Refused photos",
            "Refused requests per second. The caller gets INVALID_ARGUMENT and a message.",
            "reqps",
            Query(rate(select(REFUSALS, code=f"=~{PHOTO_CODES}", source=SHOPPERS), "code"), "{{code}}"),
            alerts=["TriptychPhotosRefused"],
            width=12,
        ),
        _sources(panels),
    ]
