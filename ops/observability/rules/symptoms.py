"""Alerts on problems of the servers themselves, from Triton's /metrics; each threshold with its reason."""

from __future__ import annotations

from ops.observability.rules.faults import complete_models, waiting
from ops.observability.rules.indicators import PHOTO_CODES, REFUSALS, SHOPPER, SHOPPERS
from ops.observability.rules.rule import Alert, Group, Rule
from ops.observability.rules.serving import COMPUTE, MODEL, QUEUE, WINDOW_S
from ops.observability.slo.deployment import FLEET, RECOGNIZER, SERVER, Deployment

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
# One failed request during low traffic is no stall; three in 2 minutes without an execution between them are one.
STALLED_FAILURES = 3
QUEUE_S = 0.02
# Triton's queue has no label `source`: while most photos are those of imports and jobs, its figures are theirs.
BACKGROUND_RATIO = 0.5
REJECTED_RATIO = 0.01
IMBALANCE = 2
# Docker's default for the whole of /dev/shm is 64 MiB, too little for the Python backend under load.
SHARED_MEMORY_BYTES = 64 * 2**20
REFUSED_RATIO = 0.2
REFUSED_LEAST = 20
# The distance of one shop's photos is stable: 1,160 photos of clothes measured 0.40 +- 0.0003.
DRIFT_RISE = 0.05
ABSTAINED_RISE = 0.15
ABSTAINED_LEAST = 100
# More than two: increase() extends two to 2.1.
RESTARTS_MOST = 2.5


def symptom_group(deployment: Deployment) -> Group:
    rules: list[Rule] = [
        *_reachability(deployment),
        _stalled(deployment),
        *_waiting(deployment),
        *_requests(deployment),
        *_servers(deployment),
        *_drift(deployment),
    ]
    return Group("triptych_symptoms", deployment.span(30), rules)


def _reachability(deployment: Deployment) -> list[Alert]:
    up = deployment.select("up")
    return [
        Alert(
            "TriptychDown",
            f"{up} == 0",
            deployment.span(2 * MINUTE_S),
            "page",
            "{{ $labels.instance }} does not answer Prometheus",
            "/metrics has not answered for 2 minutes: the server has ended, hangs or is unreachable.",
        ),
        Alert(
            "TriptychAbsent",
            f"absent({up} == 1)",
            deployment.span(5 * MINUTE_S),
            "page",
            "No Triptych server answers Prometheus",
            f'No target of job "{deployment.objectives.job}" is up: all servers are down, or '
            "Prometheus scrapes none and the other alerts here have no data.",
        ),
    ]


def _stalled(deployment: Deployment) -> Alert:
    """Readiness stays 200 after a stub died on Triton 2.51. Requests for the stub fail with BACKEND or wait."""
    window = deployment.span(2 * MINUTE_S)
    failures = deployment.select("nv_inference_request_failure", reason="BACKEND")
    return Alert(
        "TriptychModelStalled",
        f"""
        (
            (
                sum by ({MODEL}) (increase({failures}[{window}])) >= {STALLED_FAILURES}
              unless
                {complete_models(deployment)}
            )
          or
            sum by ({MODEL}) (min_over_time({deployment.select("nv_inference_pending_request_count")}[{window}])) > 0
        )
        unless
        {deployment.rate("nv_inference_exec_count", MODEL, 2 * MINUTE_S)} > 0""",
        deployment.span(MINUTE_S),
        "page",
        "{{ $labels.model }} on {{ $labels.instance }} receives requests and executes none",
        "Requests fail in the backend or wait, and none was executed for 2 minutes. Most likely the model's process "
        "died; servers before 26.04 still report ready. The alert needs traffic.",
    )


def _waiting(deployment: Deployment) -> list[Alert]:
    queue, compute = (f"{record}{deployment.span(WINDOW_S)}" for record in (QUEUE, COMPUTE))
    rejected = deployment.rate("nv_inference_request_failure", MODEL, WINDOW_S, reason="REJECTED")
    failures = deployment.rate("nv_inference_request_failure", MODEL, WINDOW_S, reason="!=CANCELED")
    success = deployment.rate("nv_inference_request_success", MODEL, WINDOW_S)
    threshold_s = deployment.threshold_s(RECOGNIZER)
    for_shoppers = f"unless on ({SERVER})\n{_background(deployment)} > {BACKGROUND_RATIO}"
    # Each server's own 99th percentile, because quantiles cannot be averaged.
    summary = deployment.select("nv_inference_request_summary_us", model=RECOGNIZER, quantile="0.99")
    return [
        Alert(
            "TriptychQueueSaturated",
            f"{queue} > {compute}\nand\n{queue} > {QUEUE_S}\n{for_shoppers}",
            deployment.span(10 * MINUTE_S),
            "ticket",
            "{{ $labels.model }} on {{ $labels.instance }} queues requests longer than it computes",
            "Answered requests waited {{ $value | humanizeDuration }} in the queue on average, longer than their "
            f"compute time and longer than {QUEUE_S * 1000:g} ms.",
        ),
        Alert(
            "TriptychRequestsRejected",
            f"{rejected}\n/ ({success} + {failures} > 0)\n> {REJECTED_RATIO}\nand {waiting(deployment)}",
            deployment.span(5 * MINUTE_S),
            "page",
            "{{ $labels.model }} on {{ $labels.instance }} rejects requests",
            "{{ $value | humanizePercentage }} of its requests were rejected in the last 5 minutes: its queue is full, "
            "or requests waited longer than the queue's time limit.",
        ),
        Alert(
            "TriptychLatencyHigh",
            f"max by ({SERVER}) ({summary}) / 1e6 > {threshold_s:g}\n{for_shoppers}",
            deployment.span(10 * MINUTE_S),
            "ticket",
            f"Recognitions on {{{{ $labels.instance }}}} take longer than {threshold_s * 1000:g} ms",
            "1 % take longer than {{ $value | humanizeDuration }}, including the queue, by the server's own summary of "
            "the last minute.",
        ),
    ]


def _background(deployment: Deployment) -> str:
    """Returns the share of each server's photos that no shopper waits for."""
    photos = "triptych_photos_total"
    everything = deployment.rate(photos, SERVER, WINDOW_S)
    return f"{deployment.rate(photos, SERVER, WINDOW_S, source=SHOPPERS.replace('=~', '!~'))}\n/ ({everything} > 0)"


def _requests(deployment: Deployment) -> list[Alert]:
    # Covers a decoder that refuses valid photos, because availability does not count refused photos.
    window = deployment.span(30 * MINUTE_S)
    codes = deployment.select(REFUSALS, code=f"=~{PHOTO_CODES}", source=SHOPPERS)
    refused = f"sum by ({FLEET}) (increase({codes}[{window}]))"
    photos = deployment.select("triptych_photos_total", source=SHOPPERS)
    recognised = f"sum by ({FLEET}) (increase({photos}[{window}]))"
    each = deployment.rate("nv_inference_request_success", SERVER, WINDOW_S, model=RECOGNIZER)
    mean = f"avg by ({FLEET}) ({each})"
    return [
        Alert(
            "TriptychPhotosRefused",
            f"{refused}\n/ ({refused} + {recognised} > 0)\n> {REFUSED_RATIO}\nand\n{refused} >= {REFUSED_LEAST}",
            deployment.span(5 * MINUTE_S),
            "ticket",
            "Many photos are refused as unreadable or too large",
            "{{ $value | humanizePercentage }} of shoppers' photos of the last 30 minutes. A caller sends files that "
            "are not photos, or a release refuses valid photos.",
        ),
        Alert(
            "TriptychTrafficImbalance",
            f"max by ({FLEET}) ({each})\n/ {mean}\n> {IMBALANCE}\nand\n{mean} > 1",
            deployment.span(15 * MINUTE_S),
            "ticket",
            "One Triptych server gets far more requests than the others",
            "The busiest server answers {{ $value | humanize }} times the average. gRPC connections stay open, so "
            "callers that balance by connection never reach new servers.",
        ),
    ]


def _servers(deployment: Deployment) -> list[Alert]:
    # Versions that execute, because the series of an unloaded version stay until the server ends.
    executed = f"rate({deployment.select('nv_inference_exec_count')}[{deployment.span(WINDOW_S)}]) > 0"
    restarts = deployment.select("triptych_server_restarts_total")
    return [
        Alert(
            "TriptychVersionSkew",
            f"count by ({FLEET}, model) (group by ({FLEET}, model, version) ({executed})) > 1",
            deployment.span(HOUR_S),
            "ticket",
            "{{ $labels.model }} is served in several versions",
            "{{ $value }} versions for an hour, longer than a rollout takes. The same photo gets different answers.",
        ),
        Alert(
            "TriptychSharedMemoryLow",
            f"min by ({SERVER}) ({deployment.select('triptych_shared_memory_free_bytes')}) < {SHARED_MEMORY_BYTES}",
            deployment.span(5 * MINUTE_S),
            "page",
            "{{ $labels.instance }} is running out of /dev/shm",
            "{{ $value | humanize1024 }}B are free. Python models receive photos and return answers through /dev/shm; "
            "a model whose segment cannot grow fails its requests.",
        ),
        Alert(
            "TriptychServerRestarts",
            f"sum by ({SERVER}) (increase({restarts}[{deployment.span(15 * MINUTE_S)}])) > {RESTARTS_MOST}",
            "0s",
            "ticket",
            "{{ $labels.instance }} restarts again and again",
            "Its supervisor restarted it {{ $value | humanize }} times in the last 15 minutes. Calls in flight were "
            "lost each time.",
        ),
    ]


def _drift(deployment: Deployment) -> list[Alert]:
    """Compares with the past, because levels depend on the photos of the reference and of the shop.

    A restart resets the drift to 0, so a rise above the maximum of the day before is not a restart.
    """
    drift = deployment.select("triptych_embedding_drift_ratio")
    hour, day = deployment.span(HOUR_S), deployment.span(DAY_S)
    now, before = _abstained(deployment, f"[{hour}]"), _abstained(deployment, f"[{day}] offset {hour}")
    return [
        Alert(
            "TriptychEmbeddingDrift",
            f"max by ({FLEET}) ({drift})\n"
            f"- max by ({FLEET}) (max_over_time({drift}[{day}] offset {day}))\n> {DRIFT_RISE}",
            deployment.span(HOUR_S),
            "ticket",
            "Photos differ from those of the day before",
            "The running mean embedding is {{ $value | humanize }} further (1 - cosine) from the release's reference "
            "mean than at any time of the day that ended 24 hours ago.",
        ),
        Alert(
            "TriptychConfidenceDrift",
            f"(\n{now}\n)\n- (\n{before}\n)\n> {ABSTAINED_RISE}",
            deployment.span(30 * MINUTE_S),
            "ticket",
            "The recognizer abstains far more often than the day before",
            "The share of photos below the abstain threshold is {{ $value | humanizePercentage }} higher than the day "
            "before, in percentage points.",
        ),
    ]


def _abstained(deployment: Deployment, window: str) -> str:
    """Returns the share of shoppers' photos below the abstain threshold."""
    names = ("triptych_abstained_total", "triptych_photos_total")
    abstained, photos = (deployment.select(name, source=SHOPPER) for name in names)
    return (
        f"sum by ({FLEET}) (increase({abstained}{window}))\n"
        f"/ (sum by ({FLEET}) (increase({photos}{window})) > {ABSTAINED_LEAST})"
    )
