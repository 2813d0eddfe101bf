"""Tells failures in Triton that the server caused from failures that a caller caused, as far as Triton does not.

Observed on Triton 2.51.0: a text tensor whose lengths are wrong fails with BACKEND, like a request to a dead process;
a request whose own `timeout` is too short fails with REJECTED, like one that waits too long. So any caller could spend
the error budget. Each of the two counts only while something else shows that the server is the cause.
"""

from __future__ import annotations

from ops.observability.slo.deployment import RECOGNIZER, SERVER, Deployment

MODEL = f"{SERVER}, model"
FAILURES = "nv_inference_request_failure"
# A process publishes that it lives each second. Windows are long enough for four scrapes of 30 s.
ALIVE_S = 120
WAITING_S = 300


def complete_models(deployment: Deployment) -> str:
    """Returns the models of servers on which all processes live; models in a native backend are never among them."""
    alive = deployment.rate("triptych_model_alive_seconds_total", MODEL, ALIVE_S)
    return f"({alive} > max by ({MODEL}) ({deployment.select('triptych_model_instances')}) - 0.5)"


def waiting(deployment: Deployment) -> str:
    """Returns the models of servers whose answered requests waited too long, or whose queue was never empty."""
    queue = deployment.rate("nv_inference_queue_duration_us", MODEL, WAITING_S)
    answered = deployment.rate("nv_inference_request_success", MODEL, WAITING_S)
    pending = deployment.select("nv_inference_pending_request_count")
    return (
        f"({queue} / 1e6 / ({answered} > 0) > {deployment.threshold_s(RECOGNIZER):g} "
        f"or sum by ({MODEL}) (min_over_time({pending}[{deployment.span(ALIVE_S)}])) > 0)"
    )


def failure_rates(deployment: Deployment, window_s: float, model: str, *, is_ensemble: bool = False) -> list[str]:
    """Returns expressions whose union is the rate of failures that the server caused, in the models that match.

    Args:
        deployment: the deployment.
        window_s: window of the rates.
        model: matcher of the models.
        is_ensemble: whether reason OTHER repeats the failures of steps.
    """

    def rate(reason: str) -> str:
        return f"rate({deployment.select(FAILURES, model=model, reason=reason)}[{deployment.span(window_s)}])"

    return [
        rate(f"!~CANCELED|BACKEND|REJECTED{'|OTHER' if is_ensemble else ''}"),
        f"({rate('BACKEND')} unless on ({MODEL}) {complete_models(deployment)})",
        f"({rate('REJECTED')} and on ({MODEL}) {waiting(deployment)})",
    ]
