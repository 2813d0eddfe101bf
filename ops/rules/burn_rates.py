"""Error ratios over every window, the budget left, and the alerts that fire when it burns too fast."""

from __future__ import annotations

from ops.objectives import BurnRate, parse_span
from ops.rules.deployment import RECOGNIZER, Deployment
from ops.rules.indicators import FAILED, SHORTEST_S, TOTAL, availability, describe_latency, latency
from ops.rules.rule import Alert, Group, Recording, Rule

RATIO = "triptych:sli_failed:ratio_rate"
BUDGET = "triptych:error_budget:remaining_ratio"
ALERTS = {"availability": "TriptychAvailabilityBudgetBurn", "latency": "TriptychLatencyBudgetBurn"}
DAY_S = 86400


def objective_groups(deployment: Deployment) -> list[Group]:
    interval = deployment.span(30)
    indicators = [*availability(deployment), *latency(deployment)]
    windows_s = {parse_span(span) for burn in deployment.objectives.burn_rates for span in (burn.short, burn.long)}
    ratios = [_ratio(deployment, seconds) for seconds in sorted(windows_s | {SHORTEST_S})]
    objectives = list(dict.fromkeys(rule.labels["objective"] for rule in indicators))
    alerts: list[Rule] = [
        _alert(deployment, objective, burn) for objective in objectives for burn in deployment.objectives.burn_rates
    ]
    return [
        Group("triptych_indicators", interval, [*indicators, *ratios]),
        # A month of samples is read each time.
        Group("triptych_budgets", deployment.span(300), [_budget(deployment, one) for one in objectives]),
        Group("triptych_burn_rates", interval, alerts),
    ]


def allowed_ratio(deployment: Deployment, objective: str) -> float:
    """The share that may fail: 0.001 for 99.9 %."""
    own = deployment.objectives.models[RECOGNIZER]
    percent = own.availability.percent if objective == "availability" else own.latency.percent
    return round(1 - percent / 100, 9)


def _ratio(deployment: Deployment, seconds: int) -> Recording:
    """Failures over everything, each summed over the window first: a quiet hour weighs as little as it served."""
    base = deployment.span(SHORTEST_S)
    window = deployment.span(seconds)
    if seconds == SHORTEST_S:
        return Recording(f"{RATIO}{window}", f"{FAILED}{base} / ({TOTAL}{base} > 0)")
    return Recording(
        f"{RATIO}{window}", f"sum_over_time({FAILED}{base}[{window}])\n/ (sum_over_time({TOTAL}{base}[{window}]) > 0)"
    )


def _budget(deployment: Deployment, objective: str) -> Recording:
    base = deployment.span(SHORTEST_S)
    window = deployment.span(deployment.objectives.window_days * DAY_S)
    chosen = f'{{objective="{objective}"}}'
    return Recording(
        BUDGET,
        f"1 - sum_over_time({FAILED}{base}{chosen}[{window}])\n"
        f"/ (sum_over_time({TOTAL}{base}{chosen}[{window}]) > 0) / {allowed_ratio(deployment, objective):g}",
        {"objective": objective},
    )


def _alert(deployment: Deployment, objective: str, burn: BurnRate) -> Alert:
    base = deployment.span(SHORTEST_S)
    long, short = (deployment.span(parse_span(span)) for span in (burn.long, burn.short))
    allowed = allowed_ratio(deployment, objective)
    limit = f"{burn.factor * allowed:.6g}"
    chosen = f'{{objective="{objective}"}}'
    seconds = parse_span(burn.long) * deployment.time_scale
    return Alert(
        name=ALERTS[objective],
        expr=f"""
            {RATIO}{long}{chosen} > {limit}
            and
            {RATIO}{short}{chosen} > {limit}
            and
            avg_over_time({FAILED}{base}{chosen}[{long}]) * {seconds:g} >= {deployment.objectives.least_failures}""",
        hold=deployment.span(120 if burn.severity == "page" else 900),
        severity=burn.severity,
        labels={"window": burn.long},
        summary=_summary(deployment, objective),
        description=f"{{{{ $value | humanizePercentage }}}} of them in the last {burn.long}, more than "
        f"{burn.factor:g} times what the budget of {deployment.objectives.window_days} days allows. "
        f"{_measured(deployment, objective)}",
    )


def _summary(deployment: Deployment, objective: str) -> str:
    if objective == "availability":
        percent = deployment.objectives.models[RECOGNIZER].availability.percent
        return f"Recognitions fail faster than {percent:g} % availability allows"
    own = deployment.objectives.models[RECOGNIZER].latency
    under_ms = own.threshold_s(deployment.objectives.server.profile) * 1000
    return f"More recognitions than {100 - own.percent:g} % take longer than {under_ms:g} ms"


def _measured(deployment: Deployment, objective: str) -> str:
    if objective == "latency":
        return describe_latency(deployment)
    return "Photos refused as unreadable or too large are not among them."
