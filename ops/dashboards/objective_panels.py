"""Panels of the objectives, the same for every model that has some."""

from __future__ import annotations

from ops.dashboards.panels import BAD, OK, WARN, Panel, Panels, Query
from ops.rules.burn_rates import ALERTS, BUDGET, EVENTS, RATIO, allowed_ratio
from ops.rules.deployment import Deployment
from ops.rules.indicators import SHORTEST_S, describe_latency, latency


def objective_panels(panels: Panels, model: str) -> list[Panel]:
    """What each objective of the model stands at, how much of its budget is left, how fast that goes."""
    deployment = panels.deployment
    window, days = deployment.span(SHORTEST_S), deployment.objectives.window_days
    made: list[Panel] = []
    for objective, name in (("availability", "Availability"), ("latency", "Fast enough")):
        if objective == "latency" and not latency(deployment, model):
            continue
        allowed = allowed_ratio(deployment, model, objective)
        what = _describe_objective(deployment, model, objective)
        now = f"1 - {panels.recorded(f'{RATIO}{window}', model=model, objective=objective)}"
        left = panels.recorded(BUDGET, model=model, objective=objective)
        made += [
            panels.figure(
                name,
                f"Share of the last 5 minutes. {what}",
                "percentunit",
                Query(now, name),
                alerts=[ALERTS[objective]],
                steps=[(None, BAD), (1 - 14.4 * allowed, WARN), (1 - allowed, OK)],
                decimals=2,
            ),
            panels.figure(
                f"{name}: budget left",
                f"Of what may fail in {days} days. Below 0 the objective is missed. {what}",
                "percentunit",
                Query(left, "left"),
                alerts=[ALERTS[objective]],
                steps=[(None, BAD), (0, WARN), (0.25, OK)],
                decimals=1,
            ),
        ]
    return [*made, _burn_rate(panels, model)]


def _burn_rate(panels: Panels, model: str) -> Panel:
    deployment = panels.deployment
    queries = []
    for objective in ALERTS:
        for seconds, name in ((SHORTEST_S, "5m"), (3600, "1h")):
            series = panels.recorded(f"{RATIO}{deployment.span(seconds)}", model=model, objective=objective)
            times = f"{series} / {allowed_ratio(deployment, model, objective):g}"
            queries.append(Query(times, f"{objective} over {name}"))
    return panels.lines(
        "Burn rate",
        "How many times faster than allowed the budget burns: 1 spends it exactly in time, 14.4 pages.",
        "none",
        *queries,
        alerts=list(ALERTS.values()),
    )


def _describe_objective(deployment: Deployment, model: str, objective: str) -> str:
    own, events = deployment.objectives.models[model], EVENTS[model]
    if objective == "availability":
        return f"Objective: {own.availability.percent:g} % of {events} do not fail; refused ones are not counted."
    under_ms = own.latency.threshold_s(deployment.objectives.server.profile) * 1000
    what = describe_latency(deployment, model)
    return f"Objective: {own.latency.percent:g} % of {events} in less than {under_ms:g} ms. {what}"
