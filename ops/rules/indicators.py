"""What counts as a recognition or a search, a failed one and a slow one, a second: the only place that decides it.

Seen on Triton 2.51.0 with both forms of `recognizer`, and the reason for every line below:

- A failing step counts once on the step (BACKEND) and *twice* on the ensemble (OTHER). So steps are counted, and
  `recognizer` only for other reasons: fused into one model it fails with BACKEND or REJECTED like any other.
- A caller that hangs up is CANCELED on the step and OTHER on the ensemble: neither is ours.
- A refusal that a model returns is a success of the model; the ensemble above it counts OTHER twice. A photo that
  cannot be read is no recognition at all, good or bad: refusals are taken out of what the fused model calls successes.
- An error of ours that a model returns is a success to Triton as well: `triptych_refusals_total` knows better, by code.
- `searcher` shares its first steps with the ensemble `recognizer`, and nobody can tell whose photo a step failed: such
  a failure is a recognition's. What reaches `index` is a search, whoever sent it.
"""

from __future__ import annotations

from ops.rules.deployment import FLEET, INDEX, RECOGNIZER, SEARCHER, Deployment
from ops.rules.rule import Recording

SHORTEST_S = 300
# Between evaluations of what is recorded here: a sum over samples times this is a count.
INTERVAL_S = 60
FAILED = "triptych:sli_failed:rate"
TOTAL = "triptych:sli_total:rate"
REFUSALS = "triptych_refusals_total"
# Codes that are the server's fault; the others are the caller's, or of a moment that passes. A test compares them with
# model_repository/triptych_models/errors.py.
FAULT_CODES = ("catalogue_unavailable", "catalogue_unusable", "internal", "model_not_ready", "queue_full")
FAULTS = "|".join(FAULT_CODES)
PHOTO_CODES = "image_too_large|image_unreadable"
OWN_SECONDS = "triptych_recognition_duration_seconds"
SEARCH_SECONDS = "triptych_search_duration_seconds"
TRITON_MS = "nv_inference_first_response_histogram_ms"


def availability(deployment: Deployment) -> list[Recording]:
    """Failed and all recognitions and searches a second; what was refused is neither."""
    return [
        recording
        for model, indicators in ((RECOGNIZER, _recognitions), (SEARCHER, _searches))
        if deployment.judges(model)
        for recording in _pair(deployment, model, "availability", *indicators(deployment))
    ]


def _recognitions(deployment: Deployment) -> tuple[str, str]:
    window = deployment.span(SHORTEST_S)
    steps = "|".join(deployment.steps)
    select = deployment.select
    step_failures = select("nv_inference_request_failure", model=f"=~{steps}", reason="!=CANCELED")
    own_failures = select("nv_inference_request_failure", model=RECOGNIZER, reason="!~CANCELED|OTHER")
    internal = select(REFUSALS, model=f"=~{RECOGNIZER}|{steps}", code=f"=~{FAULTS}")
    failed = f"""
        sum by ({FLEET}) (
            rate({step_failures}[{window}])
          or
            rate({own_failures}[{window}])
          or
            rate({internal}[{window}])
        )"""
    # One sum over a union: a term that a server does not have leaves the others standing. What the fused model refused
    # or failed and answered is among its successes; what a step failed is not among the ensemble's.
    total = f"""
        clamp_min(sum by ({FLEET}) (
            rate({select("nv_inference_request_success", model=RECOGNIZER)}[{window}])
          or
            rate({step_failures}[{window}])
          or
            rate({own_failures}[{window}])
          or
            rate({select(REFUSALS, model=f"=~{steps}", code=f"=~{FAULTS}")}[{window}])
          or
            -rate({select(REFUSALS, model=RECOGNIZER, code=f"!~{FAULTS}")}[{window}])
        ), 0)"""
    return failed, total


def _searches(deployment: Deployment) -> tuple[str, str]:
    """What `index` refused and answered is among its successes."""
    window, select = deployment.span(SHORTEST_S), deployment.select
    failures = select("nv_inference_request_failure", model=INDEX, reason="!=CANCELED")
    failed = f"""
        sum by ({FLEET}) (
            rate({failures}[{window}])
          or
            rate({select(REFUSALS, model=INDEX, code=f"=~{FAULTS}")}[{window}])
        )"""
    total = f"""
        clamp_min(sum by ({FLEET}) (
            rate({select("nv_inference_request_success", model=INDEX)}[{window}])
          or
            rate({failures}[{window}])
          or
            -rate({select(REFUSALS, model=INDEX, code=f"!~{FAULTS}")}[{window}])
        ), 0)"""
    return failed, total


def latency(deployment: Deployment, model: str) -> list[Recording]:
    """Slow and all answers a second; what that is of, `describe_latency` says."""
    if not deployment.judges(model):
        return []
    window = deployment.span(SHORTEST_S)
    threshold_s = deployment.objectives.models[model].latency.threshold_s(deployment.objectives.server.profile)
    labels, bound = {"model": model}, f"{threshold_s:g}"
    if deployment.has_latency_histogram:
        metric, bound = TRITON_MS, f"{threshold_s * 1000:g}"
    elif model == SEARCHER:
        metric, labels = SEARCH_SECONDS, {}
    else:
        metric = OWN_SECONDS
    everything = f"sum by ({FLEET}) (rate({deployment.select(f'{metric}_count', **labels)}[{window}]))"
    fast = f"sum by ({FLEET}) (rate({deployment.select(f'{metric}_bucket', **labels, le=bound)}[{window}]))"
    return _pair(deployment, model, "latency", f"clamp_min({everything}\n- {fast}, 0)", everything)


def describe_latency(deployment: Deployment, model: str = RECOGNIZER) -> str:
    """What the latency objective measures on this server, for whoever reads the alert or the panel."""
    if deployment.has_latency_histogram:
        return (
            "From Triton's own histogram, the queue and every step in it. The model's config must give it a bucket at "
            "the threshold; 100, 500, 2000 and 5000 ms are there by themselves."
        )
    if model == SEARCHER:
        return (
            "Time inside index. Decoding the photo and making its embedding are not in it, nor the wait: Triton 2.51 "
            "has no histogram of whole requests."
        )
    return (
        "Time from receiving the photos to their scores. The wait before it is not in it, because Triton 2.51 has no "
        "histogram of whole requests: TriptychQueueSaturated and TriptychLatencyHigh watch that."
    )


def counted(deployment: Deployment, record: str, model: str, objective: str, window: str) -> str:
    """How many of a recorded rate's events fell into the window, however much of it has been recorded."""
    series = f'{record}{deployment.span(SHORTEST_S)}{{model="{model}", objective="{objective}"}}'
    return f"sum_over_time({series}[{window}]) * {INTERVAL_S * deployment.time_scale:g}"


def _pair(deployment: Deployment, model: str, objective: str, failed: str, total: str) -> list[Recording]:
    window = deployment.span(SHORTEST_S)
    labels = {"model": model, "objective": objective}
    return [Recording(f"{FAILED}{window}", failed, labels), Recording(f"{TOTAL}{window}", total, labels)]
