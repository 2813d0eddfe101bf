"""The dashboard `catalogue`: objectives, rate, latency and results of searches; size and changes of the catalogue."""

from __future__ import annotations

from ops.observability.dashboards.objective_panels import objective_panels
from ops.observability.dashboards.panels import Panel, Panels, Query, quantile, rate
from ops.observability.rules.indicators import REFUSALS, SEARCH_SECONDS, SHOPPERS
from ops.observability.slo.deployment import INDEX, SEARCHER

DESCRIPTION = "Visual search: objectives, rate, latency, results; the catalogue."


def make_rows(panels: Panels) -> dict[str, list[Panel]]:
    return {
        "Objectives and budget": objective_panels(panels, SEARCHER),
        "Searches": _searches(panels),
        "Results": _results(panels),
        "Catalogue": _catalogue(panels),
    }


def _searches(panels: Panels) -> list[Panel]:
    photos = panels.select("nv_inference_request_success", model=SEARCHER)
    everything = panels.select("nv_inference_request_success", model=INDEX)
    seconds = panels.select(f"{SEARCH_SECONDS}_bucket", source=SHOPPERS)
    return [
        panels.lines(
            "Searches by server",
            "Answers per second to searches by photo, embedding and product, including refused searches.",
            "reqps",
            Query(rate(everything, "instance"), "{{instance}}"),
            Query(rate(photos), "by photo"),
            alerts=["TriptychTrafficImbalance"],
        ),
        panels.lines(
            "Time in the index",
            "Search time without embedding and queueing. It grows with the catalogue, with filters that few photos "
            "match, and after many changes.",
            "s",
            Query(quantile(0.5, seconds), "median"),
            Query(quantile(0.99, seconds), "99th percentile"),
            alerts=["TriptychLatencyBudgetBurn"],
        ),
        panels.lines(
            "Refused and failed searches",
            "By error code. index_incompatible: the catalogue was embedded with another network; every search fails "
            "until it is embedded again. internal, catalogue_*: faults of the server.",
            "reqps",
            Query(rate(panels.select(REFUSALS, model=INDEX), "code"), "{{code}}"),
            alerts=["TriptychAvailabilityBudgetBurn"],
        ),
    ]


def _results(panels: Panels) -> list[Panel]:
    return [
        panels.heat(
            "Similarity of the nearest product",
            "Cosine. It falls when shoppers search for products outside the catalogue, or with other kinds of photos.",
            "none",
            panels.select("triptych_search_top_similarity_bucket", source=SHOPPERS),
        ),
        panels.lines(
            "Searches without a result",
            "Per second: no photo matches the filters or is similar enough, or the catalogue is empty.",
            "reqps",
            Query(rate(panels.select("triptych_searches_empty_total", source=SHOPPERS)), "empty"),
            Query(rate(panels.select(f"{SEARCH_SECONDS}_count", source=SHOPPERS)), "all"),
            width=12,
        ),
    ]


def _catalogue(panels: Panels) -> list[Panel]:
    select = panels.select
    return [
        panels.lines(
            "Photos",
            "Photos that searches cover, by server. Servers with separate stores may differ.",
            "short",
            Query(f"max by (instance) ({select('triptych_catalogue_photos')})", "{{instance}}"),
            width=6,
        ),
        panels.lines(
            "Photos outside the HNSW index",
            "Search compares these one by one. Above 2,000 the HNSW index is built; a line far above: the build fails.",
            "short",
            Query(f"max by (instance) ({select('triptych_catalogue_unindexed_photos')})", "{{instance}}"),
            width=6,
        ),
        panels.lines(
            "Photos added or changed",
            "Photos per second that were added or changed.",
            "ops",
            Query(rate(select("triptych_catalogue_upserted_photos_total")), "added or changed"),
            width=4,
        ),
        panels.lines(
            "Catalogue write requests",
            "Per second, by outcome. refused: the caller's mistake, as a wrong key. failed: the log has the cause.",
            "reqps",
            Query(rate(select("triptych_catalogue_requests_total"), "outcome"), "{{outcome}}"),
            width=4,
        ),
        panels.lines(
            "Index rebuild",
            "Progress by server; 1 while none runs. 0 for long: it fails, `triptych catalogue status` has the cause.",
            "percentunit",
            Query(f"min by (instance) ({select('triptych_index_rebuild_progress_ratio')})", "{{instance}}"),
            width=4,
        ),
    ]
