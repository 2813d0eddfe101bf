"""Catalogue: are searches answered, how fast and how well; what is in the catalogue, and who changes it."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from ops.dashboards.board import add_row, open_board
from ops.dashboards.objective_panels import objective_panels
from ops.dashboards.panels import WINDOW, Panel, Panels, Query
from ops.rules.deployment import INDEX, SEARCHER, Deployment
from ops.rules.indicators import REFUSALS, SEARCH_SECONDS


def build(deployment: Deployment) -> dashboard.Dashboard:
    panels = Panels(deployment)
    board = open_board(deployment, "catalogue", "Visual search: objectives, rate, latency, results; the catalogue.")
    add_row(board, "Objectives and budget", objective_panels(panels, SEARCHER))
    add_row(board, "Searches", _searches(panels))
    add_row(board, "Results", _results(panels))
    add_row(board, "Catalogue", _catalogue(panels))
    return board


def _searches(panels: Panels) -> list[Panel]:
    photos = panels.select("nv_inference_request_success", model=SEARCHER)
    everything = panels.select("nv_inference_request_success", model=INDEX)
    seconds, errors = panels.select(f"{SEARCH_SECONDS}_bucket"), panels.select(REFUSALS, model=INDEX)
    return [
        panels.lines(
            "Searches by server",
            "Answered a second, of photos, embeddings and products. What was refused is among them.",
            "reqps",
            Query(f"sum by (instance) (rate({everything}[{WINDOW}]))", "{{instance}}"),
            Query(f"sum(rate({photos}[{WINDOW}]))", "of photos"),
            alerts=["TriptychTrafficImbalance"],
        ),
        panels.lines(
            "Time in the index",
            "The photo's embedding and the wait are not in it. It grows with the catalogue, with filters that leave "
            "little, and after many changes.",
            "s",
            *(
                Query(f"histogram_quantile({quantile}, sum by (le) (rate({seconds}[{WINDOW}]))) >= 0", name)
                for quantile, name in ((0.5, "median"), (0.99, "99th percentile"))
            ),
            alerts=["TriptychLatencyBudgetBurn"],
        ),
        panels.lines(
            "Refused and failed searches",
            "By the code the caller got. index_incompatible: the catalogue was made with another network; no "
            "search is answered until it is embedded again. internal, catalogue_*: the server's fault.",
            "reqps",
            Query(f"sum by (code) (rate({errors}[{WINDOW}]))", "{{code}}"),
            alerts=["TriptychAvailabilityBudgetBurn"],
        ),
    ]


def _results(panels: Panels) -> list[Panel]:
    similarity = panels.select("triptych_search_top_similarity_bucket")
    empty, answered = panels.select("triptych_searches_empty_total"), panels.select(f"{SEARCH_SECONDS}_count")
    return [
        panels.heat(
            "Similarity of the nearest product",
            "Cosine. When it falls, shoppers ask for what is not in the catalogue, or with other photos than before.",
            "none",
            similarity,
        ),
        panels.lines(
            "Searches without a result",
            "A second: filters leave nothing, nothing is similar enough, or the catalogue is empty.",
            "reqps",
            Query(f"sum(rate({empty}[{WINDOW}]))", "empty"),
            Query(f"sum(rate({answered}[{WINDOW}]))", "all"),
            width=12,
        ),
    ]


def _catalogue(panels: Panels) -> list[Panel]:
    select = panels.select
    requests = select("triptych_catalogue_requests_total")
    return [
        panels.lines(
            "Photos",
            "That searches look through, by server. Servers with stores of their own may differ.",
            "short",
            Query(f"max by (instance) ({select('triptych_catalogue_photos')})", "{{instance}}"),
            width=6,
        ),
        panels.lines(
            "Photos outside the graph",
            "Compared one by one. Past 2,000 a graph is built; a line that stays far above means it cannot be.",
            "short",
            Query(f"max by (instance) ({select('triptych_catalogue_unindexed_photos')})", "{{instance}}"),
            width=6,
        ),
        panels.lines(
            "Photos taken in",
            "A second: new ones and changed ones.",
            "ops",
            Query(f"sum(rate({select('triptych_catalogue_upserted_photos_total')}[{WINDOW}]))", "taken in"),
            width=4,
        ),
        panels.lines(
            "Calls of the keepers",
            "A second, by how they ended. refused: the caller's to fix, a wrong key among them. failed: see the log.",
            "reqps",
            Query(f"sum by (outcome) (rate({requests}[{WINDOW}]))", "{{outcome}}"),
            width=4,
        ),
        panels.lines(
            "Rebuild of the index",
            "By server: how far it is, 1 while none runs. 0 for long: it fails, `triptych catalogue status` says why.",
            "percentunit",
            Query(f"min by (instance) ({select('triptych_index_rebuild_progress_ratio')})", "{{instance}}"),
            width=4,
        ),
    ]
