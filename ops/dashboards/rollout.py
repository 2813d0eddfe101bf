"""Rollout: which versions are served where, do the new ones answer as well and as fast, are the old ones drained."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from ops.dashboards.board import add_row, open_board
from ops.dashboards.panels import WINDOW, Panel, Panels, Query
from ops.rules.deployment import RECOGNIZER, Deployment


def build(deployment: Deployment) -> dashboard.Dashboard:
    panels = Panels(deployment)
    board = open_board(deployment, "rollout", "Versions side by side, restarts, and servers that drain.")
    add_row(board, "Versions", _versions(panels))
    add_row(board, "Servers come and go", _servers(panels))
    add_row(board, "Kubernetes", _kubernetes(panels))
    return board


def _versions(panels: Panels) -> list[Panel]:
    success = panels.select("nv_inference_request_success", model=RECOGNIZER)
    failure = panels.select("nv_inference_request_failure", model="=~$model", reason="!~CANCELED|OTHER")
    duration = panels.select("nv_inference_request_duration_us", model=RECOGNIZER)
    return [
        panels.lines(
            "Recognitions by version",
            "Answered a second, by the model version that answered. Two for long: the rollout hangs.",
            "reqps",
            Query(f"sum by (version) (rate({success}[{WINDOW}]))", "version {{version}}"),
            alerts=["TriptychVersionSkew"],
            is_stacked=True,
        ),
        panels.lines(
            "Failures by version",
            "Failures a second that are neither the caller's (CANCELED) nor an ensemble's copy of its step's (OTHER).",
            "reqps",
            Query(
                f"sum by (model, version) (rate({failure}[{WINDOW}]))",
                "{{model}} {{version}}",
            ),
            alerts=["TriptychAvailabilityBudgetBurn"],
        ),
        panels.lines(
            "Mean duration by version",
            "Of recognitions, the queue included.",
            "s",
            Query(
                f"sum by (version) (rate({duration}[{WINDOW}])) / 1e6\n"
                f"/ (sum by (version) (rate({success}[{WINDOW}])) > 0)",
                "version {{version}}",
            ),
            alerts=["TriptychLatencyHigh"],
        ),
    ]


def _servers(panels: Panels) -> list[Panel]:
    up, success = panels.select("up"), panels.select("nv_inference_request_success", model=RECOGNIZER)
    pending, runs = panels.select("nv_inference_pending_request_count"), panels.select("nv_inference_exec_count")
    return [
        panels.lines(
            "Up",
            "1 while a server answers Prometheus.",
            "none",
            Query(f"max by (instance) ({up})", "{{instance}}"),
            alerts=["TriptychDown"],
            top=1,
        ),
        panels.lines(
            "Starts",
            "Counters that began again at 0: starts of a server in the last 5 minutes.",
            "none",
            Query(f"sum by (instance) (resets({success}[5m]))", "{{instance}}"),
        ),
        panels.lines(
            "Still to be drained",
            "Requests that wait on each server. A server on its way out goes to 0 before it stops.",
            "none",
            Query(f"sum by (instance) ({pending})", "{{instance}}"),
            width=4,
        ),
        panels.bars(
            "Models served",
            "Versions of each model that some server serves.",
            "none",
            Query(f"count by (model) (group by (model, version) ({runs}))", "{{model}}"),
            width=4,
            alerts=["TriptychVersionSkew"],
        ),
    ]


def _kubernetes(panels: Panels) -> list[Panel]:
    job = panels.deployment.objectives.job
    deployments = f'{{namespace=~"$namespace", deployment=~".*{job}.*"}}'
    autoscalers = f'{{namespace=~"$namespace", horizontalpodautoscaler=~".*{job}.*"}}'
    replicas, scaling = "kube_deployment_status_replicas", "kube_horizontalpodautoscaler"
    return [
        panels.lines(
            "Replicas",
            "Of the Deployment, from kube-state-metrics; empty outside Kubernetes.",
            "none",
            *(
                Query(f"sum by (deployment) ({replicas}_{state}{deployments})", f"{{{{deployment}}}} {state}")
                for state in ("updated", "available", "unavailable")
            ),
            width=12,
        ),
        panels.lines(
            "Autoscaler",
            "What it wants and may have, from kube-state-metrics; empty outside Kubernetes.",
            "none",
            *(
                Query(f"max by (horizontalpodautoscaler) ({scaling}_{metric}{autoscalers})", legend)
                for metric, legend in (("status_desired_replicas", "wants"), ("spec_max_replicas", "may have"))
            ),
            width=12,
            alerts=["TriptychAutoscalerAtMaximum"],
        ),
    ]
