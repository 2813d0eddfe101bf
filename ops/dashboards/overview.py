"""Overview: are the objectives met, how much budget is left, what is asked of us, what fails."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from ops.dashboards.board import add_row, open_board
from ops.dashboards.objective_panels import objective_panels
from ops.dashboards.panels import BAD, OK, WINDOW, Panel, Panels, Query
from ops.rules.deployment import RECOGNIZER, Deployment
from ops.rules.indicators import FAILED, REFUSALS, SHORTEST_S, TOTAL

REFUSED_AND_FAILED = (
    "Triton counts an ensemble's failure on the step and twice more on the ensemble, so the ensemble's own (OTHER) are "
    "left out here."
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
            "Answered a second, by model; behind an ensemble each request shows on its steps too. What a model "
            "refused is among them.",
            "reqps",
            Query(f"sum by (model) (rate({success}[{WINDOW}])) > 0", "{{model}}"),
        ),
        panels.lines(
            "Photos by server",
            "Recognised a second. A server far above the others: callers balance by connection.",
            "ops",
            Query(f"sum by (instance) (rate({photos}[{WINDOW}]))", "{{instance}}"),
            alerts=["TriptychTrafficImbalance"],
            is_stacked=True,
        ),
        panels.lines(
            "In flight",
            "Recognitions being worked on at a time (Little's law: their durations a second). What to scale on.",
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
            "The highest of the servers' own quantiles of the last minute, the queue included. Quantiles are never "
            "averaged.",
            "s",
            *(Query(f"max({summary} >= 0) / 1e6", name) for name, summary in summaries.items()),
            alerts=["TriptychLatencyHigh"],
        ),
        panels.lines(
            "Recognition, mean",
            "Over all answers of all servers, each counted once, so an idle server does not dilute it.",
            "s",
            Query(
                f"sum(rate({duration}[{WINDOW}])) / 1e6 / (sum(rate({success}[{WINDOW}])) > 0)",
                "mean",
            ),
        ),
        panels.lines(
            "Stages, 99th percentile",
            "Inside the models, the queue left out, from histograms that add up over servers. Answers from the cache "
            "are in no stage.",
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
            "Failures Triton counts",
            f"By model and reason. {REFUSED_AND_FAILED} CANCELED: the caller hung up.",
            "reqps",
            Query(
                f"sum by (model, reason) (rate({on_steps}[{WINDOW}]) or rate({on_recognizer}[{WINDOW}])) > 0\n"
                'or label_replace(vector(0), "reason", "none", "", "")',
                "{{model}} {{reason}}",
            ),
            alerts=["TriptychModelStalled", "TriptychRequestsRejected"],
        ),
        panels.lines(
            "Refusals and errors of the models",
            "Requests that a model gave no answer, by the error code that the caller got: successes to Triton.",
            "reqps",
            Query(f"sum by (model, code) (rate({own}[{WINDOW}]))", "{{model}} {{code}}"),
            alerts=["TriptychPhotosRefused"],
        ),
    ]
