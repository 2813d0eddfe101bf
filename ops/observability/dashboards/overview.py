"""The dashboard `overview`: objectives, error budget, traffic, latency and errors of the recognizer."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from ops.observability.dashboards.board import add_row, open_board
from ops.observability.dashboards.objective_panels import objective_panels
from ops.observability.dashboards.panels import BAD, OK, WINDOW, Panel, Panels, Query
from ops.observability.rules.indicators import FAILED, REFUSALS, SHORTEST_S, TOTAL
from ops.observability.slo.deployment import RECOGNIZER, Deployment

DOUBLE_COUNTING = (
    "Triton counts a failure of an ensemble once on the step and twice on the ensemble; this panel leaves out the "
    "ensemble's own count (OTHER)."
)


def build(deployment: Deployment) -> dashboard.Dashboard:
    panels = Panels(deployment)
    board = open_board(deployment, "overview", "Objectives, budget, traffic, latency and errors of the recognizer.")
    add_row(board, "Objectives and budget", objective_panels(panels, RECOGNIZER))
    add_row(board, "Traffic", _traffic(panels))
    add_row(board, "Latency", _latency(panels))
    add_row(board, "Errors", _errors(panels))
    return board


def _traffic(panels: Panels) -> list[Panel]:
    success = panels.select("nv_inference_request_success", model="=~$model")
    photos = panels.select("nv_inference_count", model=RECOGNIZER)
    up = panels.select("up")
    duration = panels.select("nv_inference_request_duration_us", model=RECOGNIZER)
    return [
        panels.lines(
            "Requests",
            "Answers per second, by model, including refused requests. A request to an ensemble also counts on each "
            "of its steps.",
            "reqps",
            Query(f"sum by (model) (rate({success}[{WINDOW}])) > 0", "{{model}}"),
        ),
        panels.lines(
            "Photos by server",
            "Photos recognised per second. A server far above the others: callers balance by connection.",
            "ops",
            Query(f"sum by (instance) (rate({photos}[{WINDOW}]))", "{{instance}}"),
            alerts=["TriptychTrafficImbalance"],
            is_stacked=True,
        ),
        panels.lines(
            "In flight",
            "Recognitions in progress (Little's law: sum of their durations per second). Scale on this value.",
            "none",
            Query(f"sum(rate({duration}[{WINDOW}])) / 1e6", "in flight"),
            width=4,
        ),
        panels.figure(
            "Servers up",
            "Servers that answer Prometheus.",
            "none",
            Query(f"sum({up})", "up"),
            alerts=["TriptychDown", "TriptychAbsent"],
            steps=[(None, BAD), (1, OK)],
        ),
    ]


def _latency(panels: Panels) -> list[Panel]:
    quantiles = {"0.5": "median", "0.9": "90th percentile", "0.99": "99th percentile"}
    summaries = {
        name: panels.select("nv_inference_request_summary_us", model=RECOGNIZER, quantile=quantile)
        for quantile, name in quantiles.items()
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
            Query(
                f"sum(rate({duration}[{WINDOW}])) / 1e6 / (sum(rate({success}[{WINDOW}])) > 0)",
                "mean",
            ),
        ),
        panels.lines(
            "Stages, 99th percentile",
            "Time inside the models without the queue, from histograms summed over servers. Answers from the cache "
            "have no stages.",
            "s",
            Query(f"histogram_quantile(0.99, sum by (stage, le) (rate({stages}[{WINDOW}]))) >= 0", "{{stage}}"),
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
    own = panels.select(REFUSALS)
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
            Query(f"sum by (model, code) (rate({own}[{WINDOW}]))", "{{model}} {{code}}"),
            alerts=["TriptychPhotosRefused"],
        ),
    ]
