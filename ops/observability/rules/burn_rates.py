"""Error ratios over every window, the remaining error budget, and the alerts on its burn rate."""

from __future__ import annotations

from ops.observability.rules.indicators import (
    FAILED,
    INTERVAL_S,
    SHORTEST_S,
    TOTAL,
    availability,
    counted,
    describe_latency,
    latency,
)
from ops.observability.rules.rule import Alert, Group, Recording, Rule
from ops.observability.slo.deployment import RECOGNIZER, SEARCHER, Deployment
from ops.observability.slo.objectives import BurnRate, parse_span

RATIO = "triptych:sli_failed:ratio_rate"
BUDGET = "triptych:error_budget:remaining_ratio"
ALERTS = {"availability": "TriptychAvailabilityBudgetBurn", "latency": "TriptychLatencyBudgetBurn"}
EVENTS = {RECOGNIZER: "recognitions", SEARCHER: "searches"}
DAY_S = 86400


def objective_groups(deployment: Deployment) -> list[Group]:
    interval = deployment.span(INTERVAL_S)
    models = [model for model in EVENTS if model in deployment.objectives.models]
    indicators = [*availability(deployment), *(one for model in models for one in latency(deployment, model))]
    windows_s = {parse_span(span) for burn in deployment.objectives.burn_rates for span in (burn.short, burn.long)}
    ratios = [_ratio(deployment, seconds) for seconds in sorted(windows_s | {SHORTEST_S})]
    measured = [(model, objective) for objective in ALERTS for model in models]
    budgets = deployment.objectives.burn_rates
    alerts: list[Rule] = [_alert(deployment, *one, burn) for one in measured for burn in budgets]
    return [
        Group("triptych_indicators", interval, [*indicators, *ratios]),
        # Each evaluation reads 30 days of samples.
        Group("triptych_budgets", deployment.span(300), [_budget(deployment, *one) for one in measured]),
        Group("triptych_burn_rates", interval, alerts),
    ]


def allowed_ratio(deployment: Deployment, model: str, objective: str) -> float:
    """Returns the share that may fail: 0.001 for 99.9 %."""
    own = deployment.objectives.models[model]
    percent = own.availability.percent if objective == "availability" else own.latency.percent
    return round(1 - percent / 100, 9)


def _ratio(deployment: Deployment, seconds: int) -> Recording:
    """Divides the sums of failures and of all events over the window, so that an hour counts by its traffic."""
    base = deployment.span(SHORTEST_S)
    window = deployment.span(seconds)
    if seconds == SHORTEST_S:
        return Recording(f"{RATIO}{window}", f"{FAILED}{base} / ({TOTAL}{base} > 0)")
    return Recording(
        f"{RATIO}{window}", f"sum_over_time({FAILED}{base}[{window}])\n/ (sum_over_time({TOTAL}{base}[{window}]) > 0)"
    )


def _budget(deployment: Deployment, model: str, objective: str) -> Recording:
    base = deployment.span(SHORTEST_S)
    window = deployment.span(deployment.objectives.window_days * DAY_S)
    chosen = f'{{model="{model}", objective="{objective}"}}'
    return Recording(
        BUDGET,
        f"1 - sum_over_time({FAILED}{base}{chosen}[{window}])\n"
        f"/ (sum_over_time({TOTAL}{base}{chosen}[{window}]) > 0) / {allowed_ratio(deployment, model, objective):g}",
        {"model": model, "objective": objective},
    )


def _alert(deployment: Deployment, model: str, objective: str, burn: BurnRate) -> Alert:
    long, short = (deployment.span(parse_span(span)) for span in (burn.long, burn.short))
    allowed = allowed_ratio(deployment, model, objective)
    limit = f"{burn.factor * allowed:.6g}"
    chosen = f'{{model="{model}", objective="{objective}"}}'
    days = deployment.objectives.window_days
    return Alert(
        name=ALERTS[objective],
        expr=f"""
            {RATIO}{long}{chosen} > {limit}
            and
            {RATIO}{short}{chosen} > {limit}
            and
            {counted(deployment, FAILED, model, objective, long)} >= {deployment.objectives.least_failures}""",
        hold=deployment.span(120 if burn.severity == "page" else 900),
        severity=burn.severity,
        labels={"window": burn.long},
        summary=_summary(deployment, model, objective),
        description=f"{{{{ $value | humanizePercentage }}}} failed the objective in the last {burn.long}. "
        f"The error budget of {days} days burns more than {burn.factor:g} times faster than allowed. "
        f"{_measured(deployment, model, objective)}",
    )


def _summary(deployment: Deployment, model: str, objective: str) -> str:
    own = deployment.objectives.models[model]
    if objective == "availability":
        return f"{EVENTS[model].capitalize()} fail more often than {own.availability.percent:g} % availability allows"
    under_ms = deployment.threshold_s(model) * 1000
    return f"More than {100 - own.latency.percent:g} % of {EVENTS[model]} take longer than {under_ms:g} ms"


def _measured(deployment: Deployment, model: str, objective: str) -> str:
    if objective == "latency":
        return describe_latency(deployment, model)
    if model == SEARCHER:
        return "Searches refused because of their input are not counted."
    return "Photos refused as unreadable or too large are not counted."
