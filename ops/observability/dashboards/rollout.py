"""The dashboard `rollout`: versions side by side, failures and durations by version, starts and draining of servers."""

from __future__ import annotations

from ops.observability.dashboards.panels import Panel, Panels, Query, rate, ratio
from ops.observability.slo.deployment import RECOGNIZER

DESCRIPTION = "Versions side by side, restarts, and draining servers."


def make_rows(panels: Panels) -> dict[str, list[Panel]]:
    return {"Versions": _versions(panels), "Starts and stops": _servers(panels), "Kubernetes": _kubernetes(panels)}


def _versions(panels: Panels) -> list[Panel]:
    success = panels.select("nv_inference_request_success", model=RECOGNIZER)
    failure = panels.select("nv_inference_request_failure", model="=~$model", reason="!~CANCELED|OTHER")
    duration = panels.select("nv_inference_request_duration_us", model=RECOGNIZER)
    return [
        panels.lines(
            "Recognitions by version",
            "Answers per second, by model version. Two versions for long: the rollout is stuck.",
            "reqps",
            Query(rate(success, "version"), "version {{version}}"),
            alerts=["TriptychVersionSkew"],
            is_stacked=True,
        ),
        panels.lines(
            "Failures by version",
            "Failures per second, without CANCELED (the caller) and OTHER (the ensemble's count of a failed step).",
            "reqps",
            Query(rate(failure, "model, version"), "{{model}} {{version}}"),
            alerts=["TriptychAvailabilityBudgetBurn"],
        ),
        panels.lines(
            "Mean duration by version",
            "Mean duration of recognitions, including the queue.",
            "s",
            Query(ratio(f"{rate(duration, 'version')} / 1e6", rate(success, "version")), "version {{version}}"),
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
            "Server starts in the last 5 minutes, from counters that restarted at 0.",
            "none",
            Query(f"sum by (instance) (resets({success}[5m]))", "{{instance}}"),
        ),
        panels.lines(
            "Requests to drain",
            "Requests that wait on each server. A draining server reaches 0 before it stops.",
            "none",
            Query(f"sum by (instance) ({pending})", "{{instance}}"),
            width=4,
        ),
        panels.bars(
            "Models served",
            "Number of versions of each model that executed in the selected time. More than one: see the runbook.",
            "none",
            Query(f"count by (model) (group by (model, version) (increase({runs}[$__range]) > 0))", "{{model}}"),
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
            "Replicas of the Deployment, from kube-state-metrics; empty outside Kubernetes.",
            "none",
            *(
                Query(f"sum by (deployment) ({replicas}_{state}{deployments})", f"{{{{deployment}}}} {state}")
                for state in ("updated", "available", "unavailable")
            ),
            width=12,
        ),
        panels.lines(
            "Autoscaler",
            "Desired and maximum replicas, from kube-state-metrics; empty outside Kubernetes.",
            "none",
            *(
                Query(f"max by (horizontalpodautoscaler) ({scaling}_{metric}{autoscalers})", legend)
                for metric, legend in (("status_desired_replicas", "desired"), ("spec_max_replicas", "maximum"))
            ),
            width=12,
            alerts=["TriptychAutoscalerAtMaximum"],
        ),
    ]
