"""Quality: what the answers look like - scores, categories, abstentions, drift, and the photos that come in."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from ops.dashboards.board import add_row, open_board
from ops.dashboards.panels import WINDOW, Panel, Panels, Query
from ops.rules.deployment import Deployment
from ops.rules.indicators import PHOTO_CODES, REFUSALS
from ops.rules.symptoms import DRIFT_RISE


def build(deployment: Deployment) -> dashboard.Dashboard:
    panels = Panels(deployment)
    board = open_board(
        deployment,
        "quality",
        "Scores, categories, abstentions and drift: whether the answers are what they used to be.",
    )
    add_row(board, "Answers", _answers(panels))
    add_row(board, "Drift", _drift(panels))
    add_row(board, "Photos", _photos(panels))
    return board


def _answers(panels: Panels) -> list[Panel]:
    predictions = panels.select("triptych_predictions_total")
    return [
        panels.heat(
            "Best score",
            "Of each photo's best category. A band that sinks: photos the model knows less about, or a worse model.",
            "percentunit",
            panels.select("triptych_top1_score_bucket"),
            alerts=["TriptychConfidenceDrift"],
        ),
        panels.bars(
            "Categories",
            'Photos of the chosen time by the best category\'s retail category; "none" is what no shop sells.',
            "none",
            Query(f"topk(12, sum by (category) (increase({predictions}[$__range])) > 0)", "{{category}}"),
            width=12,
        ),
    ]


def _drift(panels: Panels) -> list[Panel]:
    select = panels.select
    abstained, photos = select("triptych_abstained_total"), select("triptych_photos_total")
    scores = select("triptych_top1_score_bucket")
    return [
        panels.lines(
            "Abstained",
            "Share of photos whose best score is below the abstain threshold.",
            "percentunit",
            Query(
                f"sum(rate({abstained}[{WINDOW}])) / (sum(rate({photos}[{WINDOW}])) > 0)",
                "abstained",
            ),
            alerts=["TriptychConfidenceDrift"],
        ),
        panels.lines(
            "Best score, quartiles",
            "From the histogram, between whose bounds values are interpolated.",
            "percentunit",
            *(
                Query(f"histogram_quantile({quantile}, sum by (le) (rate({scores}[{WINDOW}]))) >= 0", name)
                for quantile, name in ((0.25, "lower quartile"), (0.5, "median"), (0.75, "upper quartile"))
            ),
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
    refused = select(REFUSALS, code=f"=~{PHOTO_CODES}")
    return [
        panels.heat(
            "Size of a photo",
            "As sent, of those that were decoded.",
            "decbytes",
            select("triptych_photo_size_bytes_bucket"),
            width=8,
        ),
        panels.heat(
            "Pixels of a photo",
            "Width times height, of those that were decoded.",
            "short",
            select("triptych_photo_size_pixels_bucket"),
            width=8,
        ),
        panels.lines(
            "Refused photos",
            "Requests refused a second. The caller gets INVALID_ARGUMENT and a sentence.",
            "reqps",
            Query(f"sum by (code) (rate({refused}[{WINDOW}]))", "{{code}}"),
            alerts=["TriptychPhotosRefused"],
        ),
    ]
