"""What counts as a recognition, a failed one and a slow one, a second: the only place that decides it.

Seen on Triton 2.51.0 with both forms of `recognizer`, and the reason for every line below:

- A failing step counts once on the step (BACKEND) and *twice* on the ensemble (OTHER). So steps are counted, and
  `recognizer` only for other reasons: fused into one model it fails with BACKEND or REJECTED like any other.
- A caller that hangs up is CANCELED on the step and OTHER on the ensemble: neither is ours.
- A refusal that a model returns is a success of the model; the ensemble above it counts OTHER twice. A photo that
  cannot be read is no recognition at all, good or bad: refusals are taken out of what the fused model calls successes.
- An error of ours that a model returns is a success to Triton as well: `triptych_request_errors_total` knows better.
"""

from __future__ import annotations

from ops.rules.deployment import FLEET, RECOGNIZER, Deployment
from ops.rules.rule import Recording

SHORTEST_S = 300
FAILED = "triptych:sli_failed:rate"
TOTAL = "triptych:sli_total:rate"
OWN_ERRORS = "triptych_request_errors_total"
OWN_SECONDS = "triptych_recognition_duration_seconds"
TRITON_MS = "nv_inference_first_response_histogram_ms"


def availability(deployment: Deployment) -> list[Recording]:
    """Failed and all recognitions a second; refused photos are neither."""
    window = deployment.span(SHORTEST_S)
    steps = "|".join(deployment.steps)
    select = deployment.select
    step_failures = select("nv_inference_request_failure", model=f"=~{steps}", reason="!=CANCELED")
    own_failures = select("nv_inference_request_failure", model=RECOGNIZER, reason="!~CANCELED|OTHER")
    internal = select(OWN_ERRORS, reason="internal")
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
            rate({select(OWN_ERRORS, model=f"!={RECOGNIZER}", reason="internal")}[{window}])
          or
            -rate({select(OWN_ERRORS, model=RECOGNIZER, reason="!=internal")}[{window}])
        ), 0)"""
    return _pair(deployment, "availability", failed, total)


def latency(deployment: Deployment) -> list[Recording]:
    """Slow and all answers a second; none where no histogram knows a whole recognition (see `describe_latency`)."""
    window = deployment.span(SHORTEST_S)
    threshold_s = deployment.objectives.models[RECOGNIZER].latency.threshold_s(deployment.objectives.server.profile)
    if deployment.has_latency_histogram:
        metric, bound = TRITON_MS, f"{threshold_s * 1000:g}"
    elif deployment.is_fused:
        metric, bound = OWN_SECONDS, f"{threshold_s:g}"
    else:
        return []
    everything = f"sum by ({FLEET}) (rate({deployment.select(f'{metric}_count', model=RECOGNIZER)}[{window}]))"
    fast = f"sum by ({FLEET}) (rate({deployment.select(f'{metric}_bucket', model=RECOGNIZER, le=bound)}[{window}]))"
    return _pair(deployment, "latency", f"clamp_min({everything}\n- {fast}, 0)", everything)


def describe_latency(deployment: Deployment) -> str:
    """What the latency objective measures on this server, for whoever reads the alert or the panel."""
    if deployment.has_latency_histogram:
        return (
            "From Triton's own histogram, the queue and every step in it. The model's config must give it a bucket at "
            "the threshold; 100, 500, 2000 and 5000 ms are there by themselves."
        )
    if deployment.is_fused:
        return (
            "Time inside the model. The wait before it is not in it, because Triton 2.51 has no histogram of whole "
            "requests: TriptychQueueSaturated and TriptychLatencyHigh watch that."
        )
    return (
        "Not measured: recognizer is an ensemble and the server is older than 26.01, so no histogram knows a whole "
        "recognition. TriptychLatencyHigh watches each server's own 99th percentile."
    )


def _pair(deployment: Deployment, objective: str, failed: str, total: str) -> list[Recording]:
    window = deployment.span(SHORTEST_S)
    labels = {"model": RECOGNIZER, "objective": objective}
    return [Recording(f"{FAILED}{window}", failed, labels), Recording(f"{TOTAL}{window}", total, labels)]
