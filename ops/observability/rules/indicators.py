"""Defines which recognitions and searches count, which of them failed and which were slow. Nothing else defines this.

Observed on Triton 2.51.0 with both forms of `recognizer`; these observations explain the expressions below:

- A failing step counts once on the step (BACKEND) and *twice* on the ensemble (OTHER). So the steps are counted, and
  `recognizer` only for other reasons: a fused `recognizer` fails with BACKEND or REJECTED like any other model.
- A caller that closes its connection counts as CANCELED on the step and OTHER on the ensemble. Neither is our fault.
- A refusal that a model returns counts as a success of the model; its ensemble counts OTHER twice. An unreadable photo
  is not a recognition, so refusals are subtracted from the successes of the fused model.
- Triton also counts an internal error that a model returns as a success; `triptych_refusals_total` has its code.
- Callers can cause BACKEND and REJECTED: `faults` decides which of these are ours.
- `searcher` shares its first steps with the ensemble `recognizer`, and their failures cannot be told apart: they count
  as recognitions. Every request that reaches `index` counts as a search.
"""

from __future__ import annotations

from ops.observability.rules.faults import failure_rates
from ops.observability.rules.rule import Recording
from ops.observability.slo.deployment import FLEET, INDEX, RECOGNIZER, SEARCHER, Deployment

SHORTEST_S = 300
# Evaluation interval of the recordings here: a sum over samples times this interval is a count.
INTERVAL_S = 60
FAILED = "triptych:sli_failed:rate"
TOTAL = "triptych:sli_total:rate"
REFUSALS = "triptych_refusals_total"
SUCCESSES = "nv_inference_request_success"
# Codes of server faults; other codes are the caller's fault or temporary. A test compares them with
# model_repository/triptych_models/errors.py.
FAULT_CODES = ("catalogue_unavailable", "catalogue_unusable", "internal", "model_not_ready", "queue_full")
FAULTS = "|".join(FAULT_CODES)
# Values of label `source`: recognitions that shoppers wait for, and photos that shoppers send.
SHOPPER = "shopper"
SHOPPERS = "=~shopper|search"
PHOTO_CODES = "image_too_large|image_unreadable"
OWN_SECONDS = "triptych_recognition_duration_seconds"
SEARCH_SECONDS = "triptych_search_duration_seconds"
TRITON_MS = "nv_inference_first_response_histogram_ms"


def availability(deployment: Deployment) -> list[Recording]:
    """Records failed and all recognitions and searches per second, without refused requests."""
    return [
        recording
        for model, indicators in ((RECOGNIZER, _recognitions), (SEARCHER, _searches))
        if model in deployment.objectives.models
        for recording in _pair(deployment, model, "availability", *indicators(deployment))
    ]


def _recognitions(deployment: Deployment) -> tuple[str, str]:
    """Subtracts the refusals of the fused model, because its successes include them; the ensemble's do not."""
    steps = "|".join(deployment.steps)
    failures = (
        *failure_rates(deployment, SHORTEST_S, f"=~{steps}"),
        *failure_rates(deployment, SHORTEST_S, RECOGNIZER, is_ensemble=True),
    )
    failed = _sum(*failures, _rate(deployment, REFUSALS, model=f"=~{RECOGNIZER}|{steps}", code=f"=~{FAULTS}"))
    total = _sum(
        _rate(deployment, SUCCESSES, model=RECOGNIZER),
        *failures,
        _rate(deployment, REFUSALS, model=f"=~{steps}", code=f"=~{FAULTS}"),
        minus=_rate(deployment, REFUSALS, model=RECOGNIZER, code=f"!~{FAULTS}"),
    )
    return failed, total


def _searches(deployment: Deployment) -> tuple[str, str]:
    """Subtracts refusals, because the successes of `index` include them."""
    failures = failure_rates(deployment, SHORTEST_S, INDEX)
    failed = _sum(*failures, _rate(deployment, REFUSALS, model=INDEX, code=f"=~{FAULTS}"))
    total = _sum(
        _rate(deployment, SUCCESSES, model=INDEX),
        *failures,
        minus=_rate(deployment, REFUSALS, model=INDEX, code=f"!~{FAULTS}"),
    )
    return failed, total


def _rate(deployment: Deployment, metric: str, **labels: str) -> str:
    return f"rate({deployment.select(metric, **labels)}[{deployment.span(SHORTEST_S)}])"


def _sum(*rates: str, minus: str = "") -> str:
    """Returns the sum of all rates of all servers. A sum over a union keeps the rest when a server lacks one."""
    terms = [*rates, *([f"-{minus}"] if minus else [])]
    union = "\n  or\n".join(f"    {term}" for term in terms)
    total = f"sum by ({FLEET}) (\n{union}\n)"
    return f"clamp_min({total}, 0)" if minus else total


def latency(deployment: Deployment, model: str) -> list[Recording]:
    """Records slow and all answers per second; `describe_latency` says what is measured."""
    threshold_s = deployment.threshold_s(model)
    labels, bound = {"model": model}, f"{threshold_s:g}"
    if deployment.has_latency_histogram:
        metric, bound = TRITON_MS, f"{threshold_s * 1000:g}"
    elif model == SEARCHER:
        metric, labels = SEARCH_SECONDS, {"source": SHOPPERS}
    else:
        metric, labels = OWN_SECONDS, {**labels, "source": SHOPPER}
    everything = deployment.rate(f"{metric}_count", FLEET, SHORTEST_S, **labels)
    fast = deployment.rate(f"{metric}_bucket", FLEET, SHORTEST_S, **labels, le=bound)
    return _pair(deployment, model, "latency", f"clamp_min({everything}\n- {fast}, 0)", everything)


def describe_latency(deployment: Deployment, model: str = RECOGNIZER) -> str:
    """Returns what the latency objective measures on this server, for alerts and panels."""
    if deployment.has_latency_histogram:
        return (
            "Measured by Triton's own histogram, including the queue and every step. The model's config must define a "
            "bucket at the threshold; buckets at 100, 500, 2000 and 5000 ms exist by default. It has no label "
            "`source`: imports count too."
        )
    if model == SEARCHER:
        return (
            "Measures the time inside index, without decoding, embedding and queueing, because Triton 2.51 has no "
            "histogram of whole requests."
        )
    return (
        "Measures the time from receiving the photos to their scores, without the queue, because Triton 2.51 has no "
        "histogram of whole requests. TriptychQueueSaturated and TriptychLatencyHigh cover the queue."
    )


def counted(deployment: Deployment, record: str, model: str, objective: str, window: str) -> str:
    """Returns the expression for the number of events in the window, also when only a part of it is recorded."""
    series = f'{record}{deployment.span(SHORTEST_S)}{{model="{model}", objective="{objective}"}}'
    return f"sum_over_time({series}[{window}]) * {INTERVAL_S * deployment.time_scale:g}"


def _pair(deployment: Deployment, model: str, objective: str, failed: str, total: str) -> list[Recording]:
    window = deployment.span(SHORTEST_S)
    labels = {"model": model, "objective": objective}
    return [Recording(f"{FAILED}{window}", failed, labels), Recording(f"{TOTAL}{window}", total, labels)]
