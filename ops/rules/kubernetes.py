"""Alerts that need what a cluster measures (kube-state-metrics, cAdvisor): a file of its own, for clusters alone."""

from __future__ import annotations

from ops.rules.deployment import Deployment
from ops.rules.rule import Alert, Group

MINUTE_S, HOUR_S = 60, 3600
CONTAINER = "namespace, pod, container"


def kubernetes_group(deployment: Deployment) -> Group:
    # Whatever the chart names its pods and containers, ours are those Prometheus scrapes.
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
        "At the last hour's pace {{ $labels.container }} reaches {{ $value | humanize1024 }}B in 4 hours, above its "
        "limit. What lies in /dev/shm counts as its memory.",
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
        "{{ $labels.pod }} was killed for its memory",
        "{{ $labels.container }} reached its memory limit, was killed and started again in the last 15 minutes.",
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
        "It has wanted its maximum of {{ $value }} replicas for 30 minutes: the next rise in traffic meets a full "
        "fleet.",
    )
