"""Alerts that need the metrics of a cluster (kube-state-metrics, cAdvisor), in a separate file for clusters."""

from __future__ import annotations

from ops.observability.rules.rule import Alert, Group
from ops.observability.slo.deployment import Deployment

MINUTE_S, HOUR_S = 60, 3600
CONTAINER = "namespace, pod, container"


def kubernetes_group(deployment: Deployment) -> Group:
    # The scraped pods identify our pods, whatever names the chart gives them.
    ours = f"on (namespace, pod) group by (namespace, pod) ({deployment.select('up')})"
    return Group(
        "triptych_kubernetes",
        deployment.span(30),
        [_memory_growth(deployment, ours), _out_of_memory(deployment, ours), _autoscaler(deployment)],
    )


def _memory_growth(deployment: Deployment, ours: str) -> Alert:
    used = f'container_memory_working_set_bytes{{container!=""}}[{deployment.span(HOUR_S)}]'
    limit = 'kube_pod_container_resource_limits{resource="memory"}'
    return Alert(
        "TriptychMemoryGrowth",
        f"""
        max by ({CONTAINER}) (predict_linear({used}, {4 * HOUR_S * deployment.time_scale:g}))
        > on ({CONTAINER})
        max by ({CONTAINER}) ({limit})
        and {ours}""",
        deployment.span(30 * MINUTE_S),
        "ticket",
        "{{ $labels.pod }} will run out of memory within 4 hours",
        "At the growth of the last hour, {{ $labels.container }} reaches {{ $value | humanize1024 }}B in 4 hours, "
        "above its limit. Files in /dev/shm count as memory.",
    )


def _out_of_memory(deployment: Deployment, ours: str) -> Alert:
    restarts = f"kube_pod_container_status_restarts_total[{deployment.span(15 * MINUTE_S)}]"
    return Alert(
        "TriptychOutOfMemoryKilled",
        f"""
        sum by ({CONTAINER}) (increase({restarts})) > 0
        and on ({CONTAINER})
        kube_pod_container_status_last_terminated_reason{{reason="OOMKilled"}} == 1
        and {ours}""",
        "0s",
        "page",
        "{{ $labels.pod }} was killed for exceeding its memory limit",
        "{{ $labels.container }} reached its memory limit, was killed and restarted in the last 15 minutes.",
    )


def _autoscaler(deployment: Deployment) -> Alert:
    chosen = f'{{horizontalpodautoscaler=~".*{deployment.objectives.job}.*"}}'
    return Alert(
        "TriptychAutoscalerAtMaximum",
        f"kube_horizontalpodautoscaler_status_desired_replicas{chosen}\n"
        f">= kube_horizontalpodautoscaler_spec_max_replicas{chosen}",
        deployment.span(30 * MINUTE_S),
        "ticket",
        "{{ $labels.horizontalpodautoscaler }} cannot add more servers",
        "It has requested its maximum of {{ $value }} replicas for 30 minutes, so there is no reserve for more "
        "traffic.",
    )
