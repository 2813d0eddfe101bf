"""The panels of the objectives, the same for every model with objectives."""

from __future__ import annotations

from ops.observability.dashboards.panels import BAD, OK, WARN, Panel, Panels, Query
from ops.observability.rules.burn_rates import ALERTS, BUDGET, EVENTS, RATIO, allowed_ratio
from ops.observability.rules.indicators import SHORTEST_S, describe_latency
from ops.observability.slo.deployment import Deployment


def objective_panels(panels: Panels, model: str) -> list[Panel]:
    """Returns the panels with the state, the remaining budget and the burn rate of each objective of the model."""
    deployment = panels.deployment
    window, days = deployment.span(SHORTEST_S), deployment.objectives.window_days
    made: list[Panel] = []
    for objective, name in (("availability", "Availability"), ("latency", "Latency")):
        allowed = allowed_ratio(deployment, model, objective)
        what = _describe_objective(deployment, model, objective)
        now = f"1 - {panels.recorded(f'{RATIO}{window}', model=model, objective=objective)}"
        left = panels.recorded(BUDGET, model=model, objective=objective)
        made += [
            panels.figure(
                name,
                f"Share of the last 5 minutes that met the objective. {what}",
                "percentunit",
                Query(now, name),
                alerts=[ALERTS[objective]],
                steps=[(None, BAD), (1 - 14.4 * allowed, WARN), (1 - allowed, OK)],
                decimals=2,
            ),
            panels.figure(
                f"{name}: remaining budget",
                f"Share of the error budget of {days} days. Below 0 the objective is missed. {what}",
                "percentunit",
                Query(left, "remaining"),
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
        "Speed at which the error budget burns: 1 uses it up exactly in its time, 14.4 pages.",
        "none",
        *queries,
        alerts=list(ALERTS.values()),
    )


def _describe_objective(deployment: Deployment, model: str, objective: str) -> str:
    own, events = deployment.objectives.models[model], EVENTS[model]
    if objective == "availability":
        return f"Objective: {own.availability.percent:g} % of {events} do not fail; refused requests are not counted."
    under_ms = deployment.threshold_s(model) * 1000
    what = describe_latency(deployment, model)
    return f"Objective: {own.latency.percent:g} % of {events} take less than {under_ms:g} ms. {what}"
