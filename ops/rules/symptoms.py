"""Alerts on what goes wrong with the servers themselves, all from Triton's own /metrics; limits with their reasons."""

from __future__ import annotations

from ops.rules.deployment import FLEET, RECOGNIZER, SERVER, Deployment
from ops.rules.indicators import PHOTO_CODES, REFUSALS, TOTAL, counted
from ops.rules.rule import Alert, Group
from ops.rules.serving import COMPUTE, MODEL, QUEUE, WINDOW_S

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
# A failed request of a low-traffic hour is no stall; three in two minutes with nothing executed between are one.
STALLED_FAILURES = 3
QUEUE_S = 0.02
REJECTED_RATIO = 0.01
IMBALANCE = 2
# Docker gives 64 MiB in all, which is known to break the Python backend under load.
SHARED_MEMORY_BYTES = 64 * 2**20
REFUSED_RATIO = 0.2
REFUSED_LEAST = 20
# A shop's photos keep their distance: 1,160 photos of clothes read 0.40 +- 0.0003 for ever.
DRIFT_RISE = 0.05
ABSTAINED_RISE = 0.15
ABSTAINED_LEAST = 100


def symptom_group(deployment: Deployment) -> Group:
    rules = [
        *_reachability(deployment),
        _stalled(deployment),
        _queue_saturated(deployment),
        _rejected(deployment),
        _latency_high(deployment),
        _photos_refused(deployment),
        _traffic_imbalance(deployment),
        _version_skew(deployment),
        _shared_memory_low(deployment),
        _embedding_drift(deployment),
        _confidence_drift(deployment),
    ]
    return Group("triptych_symptoms", deployment.span(30), list(rules))


def _reachability(deployment: Deployment) -> list[Alert]:
    up = deployment.select("up")
    return [
        Alert(
            "TriptychDown",
            f"{up} == 0",
            deployment.span(2 * MINUTE_S),
            "page",
            "{{ $labels.instance }} does not answer Prometheus",
            "Its /metrics has not answered for 2 minutes: the server is dead, unreachable or hangs.",
        ),
        Alert(
            "TriptychAbsent",
            f"absent({up} == 1)",
            deployment.span(5 * MINUTE_S),
            "page",
            "Not one Triptych server answers Prometheus",
            f'No target of job "{deployment.objectives.job}" is up: everything is down, or nothing is scraped and '
            "every other alert here is blind.",
        ),
    ]


def _stalled(deployment: Deployment) -> Alert:
    """Readiness does not notice a dead stub on 2.51: it stays 200. What is asked of it fails with BACKEND, or waits."""
    window = deployment.span(2 * MINUTE_S)
    failures = deployment.select("nv_inference_request_failure", reason="BACKEND")
    return Alert(
        "TriptychModelStalled",
        f"""
        (
            sum by ({MODEL}) (increase({failures}[{window}])) >= {STALLED_FAILURES}
          or
            sum by ({MODEL}) (min_over_time({deployment.select("nv_inference_pending_request_count")}[{window}])) > 0
        )
        unless
        sum by ({MODEL}) (rate({deployment.select("nv_inference_exec_count")}[{window}])) > 0""",
        deployment.span(MINUTE_S),
        "page",
        "{{ $labels.model }} on {{ $labels.instance }} is asked and executes nothing",
        "Requests fail in the backend or wait, and none was executed for 2 minutes. Most likely the model's process "
        "died; servers before 26.04 still call themselves ready. Without traffic this cannot be seen.",
    )


def _queue_saturated(deployment: Deployment) -> Alert:
    window = deployment.span(WINDOW_S)
    return Alert(
        "TriptychQueueSaturated",
        f"{QUEUE}{window} > {COMPUTE}{window}\nand\n{QUEUE}{window} > {QUEUE_S}",
        deployment.span(10 * MINUTE_S),
        "ticket",
        "{{ $labels.model }} on {{ $labels.instance }} waits longer than it works",
        "A request waits {{ $value | humanizeDuration }} before it is worked on, on average over those answered: more "
        f"than the work itself and more than {QUEUE_S * 1000:g} ms.",
    )


def _rejected(deployment: Deployment) -> Alert:
    window = deployment.span(WINDOW_S)
    select = deployment.select
    failures = f"sum by ({MODEL}) (rate({select('nv_inference_request_failure', reason='!=CANCELED')}[{window}]))"
    return Alert(
        "TriptychRequestsRejected",
        f"""
        sum by ({MODEL}) (rate({select("nv_inference_request_failure", reason="REJECTED")}[{window}]))
        / (sum by ({MODEL}) (rate({select("nv_inference_request_success")}[{window}])) + {failures} > 0)
        > {REJECTED_RATIO}""",
        deployment.span(5 * MINUTE_S),
        "page",
        "{{ $labels.model }} on {{ $labels.instance }} turns requests away",
        "{{ $value | humanizePercentage }} of its requests were rejected in the last 5 minutes: its queue is full, or "
        "they waited longer than the queue's time limit.",
    )


def _latency_high(deployment: Deployment) -> Alert:
    """Each server's own 99th percentile; quantiles cannot be averaged, so each server is judged alone."""
    threshold_s = deployment.objectives.models[RECOGNIZER].latency.threshold_s(deployment.objectives.server.profile)
    summary = deployment.select("nv_inference_request_summary_us", model=RECOGNIZER, quantile="0.99")
    return Alert(
        "TriptychLatencyHigh",
        f"max by ({SERVER}) ({summary}) / 1e6 > {threshold_s:g}",
        deployment.span(10 * MINUTE_S),
        "ticket",
        f"Recognitions on {{{{ $labels.instance }}}} take longer than {threshold_s * 1000:g} ms",
        "One in a hundred takes longer than {{ $value | humanizeDuration }}, the wait in the queue included, by the "
        "server's own summary of the last minute.",
    )


def _photos_refused(deployment: Deployment) -> Alert:
    """Availability leaves refused photos out, so a decoder that refuses good ones would show nowhere else."""
    window = deployment.span(30 * MINUTE_S)
    refused = f"sum by ({FLEET}) (increase({deployment.select(REFUSALS, code=f'=~{PHOTO_CODES}')}[{window}]))"
    recognised = f"sum by ({FLEET}) ({counted(deployment, TOTAL, RECOGNIZER, 'availability', window)})"
    return Alert(
        "TriptychPhotosRefused",
        f"{refused}\n/ ({refused} + {recognised} > 0)\n> {REFUSED_RATIO}\nand\n{refused} >= {REFUSED_LEAST}",
        deployment.span(5 * MINUTE_S),
        "ticket",
        "Many photos are refused as unreadable or too large",
        "{{ $value | humanizePercentage }} of the requests of the last 30 minutes. A caller sends something else than "
        "photos, or a release refuses good ones.",
    )


def _traffic_imbalance(deployment: Deployment) -> Alert:
    success = deployment.select("nv_inference_request_success", model=RECOGNIZER)
    each = f"sum by ({SERVER}) (rate({success}[{deployment.span(WINDOW_S)}]))"
    return Alert(
        "TriptychTrafficImbalance",
        f"max by ({FLEET}) ({each})\n/ avg by ({FLEET}) ({each})\n> {IMBALANCE}\nand\navg by ({FLEET}) ({each}) > 1",
        deployment.span(15 * MINUTE_S),
        "ticket",
        "One Triptych server gets far more than its share",
        "The busiest server answers {{ $value | humanize }} times the average. gRPC keeps its connections: callers "
        "that balance by connection never find new servers.",
    )


def _version_skew(deployment: Deployment) -> Alert:
    """Of what executes: the series of a version that was unloaded stay until its server ends."""
    executed = f"rate({deployment.select('nv_inference_exec_count')}[{deployment.span(WINDOW_S)}]) > 0"
    return Alert(
        "TriptychVersionSkew",
        f"count by ({FLEET}, model) (group by ({FLEET}, model, version) ({executed})) > 1",
        deployment.span(HOUR_S),
        "ticket",
        "{{ $labels.model }} is served in several versions",
        "{{ $value }} versions at once for an hour, longer than a rollout takes. A photo gets different answers.",
    )


def _shared_memory_low(deployment: Deployment) -> Alert:
    return Alert(
        "TriptychSharedMemoryLow",
        f"min by ({SERVER}) ({deployment.select('triptych_shared_memory_free_bytes')}) < {SHARED_MEMORY_BYTES}",
        deployment.span(5 * MINUTE_S),
        "page",
        "{{ $labels.instance }} is running out of /dev/shm",
        "{{ $value | humanize1024 }}B are free. Photos and answers travel through it; a Python model whose segment "
        "cannot grow fails its requests.",
    )


def _embedding_drift(deployment: Deployment) -> Alert:
    """Against its own past: the level depends on which photos the reference was made of. A restart begins at 0 again,
    which only lowers it, so a rise above everything of the day before is no restart.
    """
    drift = deployment.select("triptych_embedding_drift_ratio")
    past = f"[{deployment.span(DAY_S)}] offset {deployment.span(DAY_S)}"
    return Alert(
        "TriptychEmbeddingDrift",
        f"max by ({FLEET}) ({drift})\n- max by ({FLEET}) (max_over_time({drift}{past}))\n> {DRIFT_RISE}",
        deployment.span(HOUR_S),
        "ticket",
        "Photos have become unlike those of the day before",
        "The running mean embedding is {{ $value | humanize }} further (1 - cosine) from the release's reference mean "
        "than at any time of the day that ended 24 hours ago.",
    )


def _confidence_drift(deployment: Deployment) -> Alert:
    """Against the day before, because what share of a shop's photos is hard is the shop's own figure."""
    select = deployment.select

    def share(window_s: float, offset_s: float) -> str:
        shift = f" offset {deployment.span(offset_s)}" if offset_s else ""
        window = f"[{deployment.span(window_s)}]{shift}"
        return (
            f"sum by ({FLEET}) (increase({select('triptych_abstained_total')}{window}))\n"
            f"/ (sum by ({FLEET}) (increase({select('triptych_photos_total')}{window})) > {ABSTAINED_LEAST})"
        )

    return Alert(
        "TriptychConfidenceDrift",
        f"(\n{share(HOUR_S, 0)}\n)\n- (\n{share(DAY_S, HOUR_S)}\n)\n> {ABSTAINED_RISE}",
        deployment.span(30 * MINUTE_S),
        "ticket",
        "The recognizer abstains far more often than yesterday",
        "The share of photos below the abstain threshold is {{ $value | humanizePercentage }} above that of the day "
        "before, in points.",
    )
