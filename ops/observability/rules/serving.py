"""Recorded means of each server and model. Every divisor must be above 0, so that idle models do not lower a mean."""

from __future__ import annotations

import functools

from ops.observability.rules.rule import Group, Recording
from ops.observability.slo.deployment import SERVER, Deployment

MODEL = f"{SERVER}, model"
WINDOW_S = 300
QUEUE = "triptych:model_queue_seconds:mean"
COMPUTE = "triptych:model_compute_seconds:mean"
REQUEST = "triptych:model_request_seconds:mean"
BATCH = "triptych:model_batch_size:mean"
CACHE = "triptych:answer_cache_hits:ratio_rate"

_COMPUTE_PARTS = ("input", "infer", "output")


def serving_group(deployment: Deployment) -> Group:
    window = deployment.span(WINDOW_S)
    rate = functools.partial(deployment.rate, by=MODEL, window_s=WINDOW_S)
    answered = f"({rate('nv_inference_request_success')} > 0)"
    compute = "\n+ ".join(rate(f"nv_inference_compute_{part}_duration_us") for part in _COMPUTE_PARTS)
    hits, misses = rate("triptych_answer_cache_hits_total"), rate("triptych_answer_cache_misses_total")
    return Group(
        "triptych_serving",
        deployment.span(30),
        [
            Recording(f"{QUEUE}{window}", f"{rate('nv_inference_queue_duration_us')} / 1e6\n/ {answered}"),
            Recording(f"{COMPUTE}{window}", f"({compute}) / 1e6\n/ {answered}"),
            Recording(f"{REQUEST}{window}", f"{rate('nv_inference_request_duration_us')} / 1e6\n/ {answered}"),
            Recording(f"{BATCH}{window}", f"{rate('nv_inference_count')}\n/ ({rate('nv_inference_exec_count')} > 0)"),
            Recording(f"{CACHE}{window}", f"{hits}\n/ ({hits} + {misses} > 0)"),
        ],
    )
