"""The dashboard `serving`: queue, batches, stages, cache, instances, memory and GPU."""

from __future__ import annotations

from ops.observability.dashboards.panels import WINDOW, Panel, Panels, Query, quantile, rate, ratio

DESCRIPTION = "Queue, batching, stages, cache, instances and resources of the servers."
MODEL = "=~$model"


def make_rows(panels: Panels) -> dict[str, list[Panel]]:
    return {
        "Queue and batching": _queue(panels),
        "Stages": _stages(panels),
        "Cache and instances": _cache_and_instances(panels),
        "Front and restarts": _front(panels),
        "Resources": _resources(panels),
        "GPU": _gpu(panels),
    }


def _mean_of(panels: Panels, metric: str) -> str:
    """Returns the mean seconds per request over all answers of the selected servers, for models with traffic."""
    duration, success = panels.select(metric, model=MODEL), panels.select("nv_inference_request_success", model=MODEL)
    return ratio(f"{rate(duration, 'model')} / 1e6", rate(success, "model"))


def _queue(panels: Panels) -> list[Panel]:
    photos = panels.select("nv_inference_count", model=MODEL)
    runs = panels.select("nv_inference_exec_count", model=MODEL)
    pending = panels.select("nv_inference_pending_request_count", model=MODEL)
    return [
        panels.lines(
            "Queue time, mean",
            "Time before the execution of a request. An ensemble has no queue; its steps have.",
            "s",
            Query(_mean_of(panels, "nv_inference_queue_duration_us"), "{{model}}"),
            alerts=["TriptychQueueSaturated"],
        ),
        panels.lines(
            "Pending requests",
            "Requests in the queue now. Always 0 for an ensemble; its steps have queues.",
            "none",
            Query(f"sum by (model) ({pending})", "{{model}}"),
            alerts=["TriptychModelStalled", "TriptychQueueSaturated"],
        ),
        panels.lines(
            "Batch size, mean",
            "Photos in one execution. Near 1 until requests queue.",
            "none",
            Query(ratio(rate(photos, "model"), rate(runs, "model")), "{{model}}"),
        ),
    ]


def _stages(panels: Panels) -> list[Panel]:
    stages = panels.select("triptych_stage_duration_seconds_bucket")
    sums = panels.select("triptych_stage_duration_seconds_sum")
    return [
        panels.lines(
            "Compute, mean",
            "Time per request for input, inference and output. For an ensemble: the sum of its steps.",
            "s",
            *(
                Query(_mean_of(panels, f"nv_inference_compute_{part}_duration_us"), f"{{{{model}}}} {part}")
                for part in ("input", "infer", "output")
            ),
        ),
        panels.lines(
            "Stages, median",
            "From the models' own histograms; answers from the cache have no stages.",
            "s",
            Query(quantile(0.5, stages, "stage, le"), "{{stage}}"),
        ),
        panels.lines(
            "Requests in stages",
            "Requests in each stage at once: its seconds per second. The stage that grows first is the bottleneck.",
            "none",
            Query(rate(sums, "stage"), "{{stage}}"),
            is_stacked=True,
        ),
    ]


def _cache_and_instances(panels: Panels) -> list[Panel]:
    hits, misses = (rate(panels.select(f"triptych_answer_cache_{name}_total")) for name in ("hits", "misses"))
    duration = panels.select("nv_inference_compute_infer_duration_us", model=MODEL)
    runs = panels.select("nv_inference_exec_count", model=MODEL)
    return [
        panels.lines(
            "Photos from the answer cache",
            "Share of photos that the answer cache answered.",
            "percentunit",
            Query(ratio(hits, f"{hits} + {misses}"), "hits"),
            top=1,
        ),
        panels.lines(
            "Executions",
            "Executions per second by model and server. A line that ends while requests wait means a dead model.",
            "ops",
            Query(f"{rate(runs, 'instance, model')} > 0", "{{model}} {{instance}}"),
            alerts=["TriptychModelStalled"],
        ),
        panels.lines(
            "Busy instances",
            "Requests in each model at once. A model near its number of instances is saturated.",
            "none",
            Query(f"{rate(duration, 'model')} / 1e6", "{{model}}"),
        ),
    ]


def _front(panels: Panels) -> list[Panel]:
    """Envoy's own metrics have labels of their own; `instance` is that of the server behind it."""
    select = panels.select
    # Of the ports for callers, not of those for metrics and administration.
    ports = {"envoy_http_conn_manager_prefix": "!~admin|metrics"}
    restarts = select("triptych_server_restarts_total")
    requests = select("envoy_http_downstream_rq_xx", envoy_response_code_class="=~4|5", **ports)
    return [
        panels.lines(
            "Refused at the front",
            "Answers of the front and of the server behind it with status 4xx (the caller) and 5xx, per second; gRPC "
            "refusals of the models have status 200.",
            "reqps",
            Query(rate(requests, "envoy_response_code_class"), "{{envoy_response_code_class}}xx"),
            width=6,
        ),
        panels.lines(
            "Open connections",
            "Connections of callers to the front.",
            "none",
            Query(f"sum by (instance) ({select('envoy_http_downstream_cx_active', **ports)})", "{{instance}}"),
            width=6,
        ),
        panels.lines(
            "Memory of the front",
            "Memory that Envoy has allocated; it refuses requests before its limit.",
            "bytes",
            Query(f"sum by (instance) ({select('envoy_server_memory_allocated')})", "{{instance}}"),
            width=6,
        ),
        panels.lines(
            "Restarts",
            "Restarts by the supervisor, in the time between two points.",
            "none",
            Query(f"sum by (instance) (increase({restarts}[{WINDOW}]))", "{{instance}}"),
            alerts=["TriptychServerRestarts"],
            width=6,
        ),
    ]


def _resources(panels: Panels) -> list[Panel]:
    select = panels.select
    return [
        panels.lines(
            "CPU in use",
            "CPU use of the whole machine or container host, as Triton reports it.",
            "percentunit",
            Query(f"max by (instance) ({select('nv_cpu_utilization')})", "{{instance}}"),
            top=1,
        ),
        panels.lines(
            "Memory in use",
            "Memory of the whole machine or container host, as Triton reports it, without container limits.",
            "bytes",
            Query(f"max by (instance) ({select('nv_cpu_memory_used_bytes')})", "{{instance}} used"),
            Query(f"max by (instance) ({select('nv_cpu_memory_total_bytes')})", "{{instance}} total"),
            alerts=["TriptychMemoryGrowth", "TriptychOutOfMemoryKilled"],
        ),
        panels.lines(
            "Free in /dev/shm",
            "Python models receive photos and return answers through it. Docker's default of 64 MB is too little.",
            "bytes",
            Query(f"min by (instance) ({select('triptych_shared_memory_free_bytes')})", "{{instance}}"),
            alerts=["TriptychSharedMemoryLow"],
        ),
    ]


def _gpu(panels: Panels) -> list[Panel]:
    select = panels.select
    return [
        panels.lines(
            "GPU in use",
            "A GPU that waits for the decoder looks idle. Empty without a GPU.",
            "percentunit",
            Query(f"max by (instance, gpu_uuid) ({select('nv_gpu_utilization')})", "{{instance}} {{gpu_uuid}}"),
            width=12,
            top=1,
        ),
        panels.lines(
            "GPU memory in use",
            "GPU memory by server and GPU. Empty without a GPU.",
            "bytes",
            Query(f"max by (instance, gpu_uuid) ({select('nv_gpu_memory_used_bytes')})", "{{instance}} {{gpu_uuid}}"),
            width=12,
        ),
    ]
