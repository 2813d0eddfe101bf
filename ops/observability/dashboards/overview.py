"""The dashboard `overview`: objectives, error budget, traffic, latency and errors of the recognizer."""

from __future__ import annotations

from ops.observability.dashboards.objective_panels import objective_panels
from ops.observability.dashboards.panels import BAD, OK, WINDOW, Panel, Panels, Query, quantile, rate, ratio
from ops.observability.rules.indicators import FAILED, REFUSALS, SHORTEST_S, TOTAL
from ops.observability.slo.deployment import RECOGNIZER

DESCRIPTION = "Objectives, budget, traffic, latency and errors of the recognizer."
DOUBLE_COUNTING = (
    "Triton counts a failure of an ensemble once on the step and twice on the ensemble; this panel leaves out the "
    "ensemble's own count (OTHER)."
)


def make_rows(panels: Panels) -> dict[str, list[Panel]]:
    return {
        "Objectives and budget": objective_panels(panels, RECOGNIZER),
        "Traffic": _traffic(panels),
        "Latency": _latency(panels),
        "Errors": _errors(panels),
    }


def _traffic(panels: Panels) -> list[Panel]:
    success = panels.select("nv_inference_request_success", model="=~$model")
    photos = panels.select("nv_inference_count", model=RECOGNIZER)
    duration = panels.select("nv_inference_request_duration_us", model=RECOGNIZER)
    return [
        panels.lines(
            "Requests",
            "Answers per second, by model, including refused requests. A request to an ensemble also counts on each "
            "of its steps.",
            "reqps",
            Query(f"{rate(success, 'model')} > 0", "{{model}}"),
        ),
        panels.lines(
            "Photos by server",
            "Photos recognised per second. A server far above the others: callers balance by connection.",
            "ops",
            Query(rate(photos, "instance"), "{{instance}}"),
            alerts=["TriptychTrafficImbalance"],
            is_stacked=True,
        ),
        panels.lines(
            "In flight",
            "Recognitions in progress (Little's law: sum of their durations per second). Scale on this value.",
            "none",
            Query(f"{rate(duration)} / 1e6", "in flight"),
            width=4,
        ),
        panels.figure(
            "Servers up",
            "Servers that answer Prometheus.",
            "none",
            Query(f"sum({panels.select('up')})", "up"),
            alerts=["TriptychDown", "TriptychAbsent"],
            steps=[(None, BAD), (1, OK)],
        ),
    ]


def _latency(panels: Panels) -> list[Panel]:
    quantiles = {"0.5": "median", "0.9": "90th percentile", "0.99": "99th percentile"}
    summaries = {
        name: panels.select("nv_inference_request_summary_us", model=RECOGNIZER, quantile=share)
        for share, name in quantiles.items()
    }
    duration = panels.select("nv_inference_request_duration_us", model=RECOGNIZER)
    success = panels.select("nv_inference_request_success", model=RECOGNIZER)
    stages = panels.select("triptych_stage_duration_seconds_bucket")
    return [
        panels.lines(
            "Recognition, slowest server",
            "The highest of the servers' own quantiles of the last minute, including the queue. Quantiles are never "
            "averaged.",
            "s",
            *(Query(f"max({summary} >= 0) / 1e6", name) for name, summary in summaries.items()),
            alerts=["TriptychLatencyHigh"],
        ),
        panels.lines(
            "Recognition, mean",
            "Mean over all answers of all servers, so an idle server does not lower it.",
            "s",
            Query(ratio(f"{rate(duration)} / 1e6", rate(success)), "mean"),
        ),
        panels.lines(
            "Stages, 99th percentile",
            "Time inside the models without the queue, from histograms summed over servers. Answers from the cache "
            "have no stages.",
            "s",
            Query(quantile(0.99, stages, "stage, le"), "{{stage}}"),
            alerts=["TriptychLatencyBudgetBurn"],
        ),
    ]


def _errors(panels: Panels) -> list[Panel]:
    window = panels.deployment.span(SHORTEST_S)
    failed = panels.recorded(f"{FAILED}{window}", model=RECOGNIZER, objective="availability")
    total = panels.recorded(f"{TOTAL}{window}", model=RECOGNIZER, objective="availability")
    steps = "|".join(panels.deployment.steps)
    on_steps = panels.select("nv_inference_request_failure", model=f"=~{steps}")
    on_recognizer = panels.select("nv_inference_request_failure", model=RECOGNIZER, reason="!=OTHER")
    return [
        panels.lines(
            "Recognitions: failed and all",
            "As the availability objective counts them, over 5 minutes.",
            "reqps",
            Query(f"sum({failed})", "failed"),
            Query(f"sum({total})", "all"),
            alerts=["TriptychAvailabilityBudgetBurn"],
        ),
        panels.lines(
            "Failures counted by Triton",
            f"By model and reason. {DOUBLE_COUNTING} CANCELED: the caller closed the connection.",
            "reqps",
            Query(
                f"sum by (model, reason) (rate({on_steps}[{WINDOW}]) or rate({on_recognizer}[{WINDOW}])) > 0\n"
                'or label_replace(vector(0), "reason", "none", "", "")',
                "{{model}} {{reason}}",
            ),
            alerts=["TriptychModelStalled", "TriptychRequestsRejected"],
        ),
        panels.lines(
            "Refusals and errors returned by models",
            "Requests that a model refused or failed, by error code. Triton counts them as successes.",
            "reqps",
            Query(rate(panels.select(REFUSALS), "model, code"), "{{model}} {{code}}"),
            alerts=["TriptychPhotosRefused"],
        ),
    ]
