"""Serving: where the time goes and what runs out - queue, batches, stages, cache, instances, memory, GPU."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from ops.dashboards.board import add_row, open_board
from ops.dashboards.panels import WINDOW, Panel, Panels, Query
from ops.rules.deployment import Deployment

MODEL = "=~$model"


def build(deployment: Deployment) -> dashboard.Dashboard:
    panels = Panels(deployment)
    board = open_board(deployment, "serving", "Queue, batching, stages, cache, instances and resources of the servers.")
    add_row(board, "Queue and batching", _queue(panels))
    add_row(board, "Stages", _stages(panels))
    add_row(board, "Cache and instances", _cache_and_instances(panels))
    add_row(board, "Resources", _resources(panels))
    add_row(board, "GPU", _gpu(panels))
    return board


def _mean_of(panels: Panels, metric: str) -> str:
    """Seconds a request, over all answers of the chosen servers; models without traffic have none."""
    duration, success = panels.select(metric, model=MODEL), panels.select("nv_inference_request_success", model=MODEL)
    return f"sum by (model) (rate({duration}[{WINDOW}])) / 1e6\n/ (sum by (model) (rate({success}[{WINDOW}])) > 0)"


def _queue(panels: Panels) -> list[Panel]:
    photos, runs = (
        panels.select("nv_inference_count", model=MODEL),
        panels.select("nv_inference_exec_count", model=MODEL),
    )
    pending = panels.select("nv_inference_pending_request_count", model=MODEL)
    return [
        panels.lines(
            "Wait in the queue, mean",
            "Before a request is worked on. An ensemble has no queue of its own: look at its steps.",
            "s",
            Query(_mean_of(panels, "nv_inference_queue_duration_us"), "{{model}}"),
            alerts=["TriptychQueueSaturated"],
        ),
        panels.lines(
            "Pending requests",
            "Waiting now. Always 0 for an ensemble: add up its steps.",
            "none",
            Query(f"sum by (model) ({pending})", "{{model}}"),
            alerts=["TriptychModelStalled", "TriptychQueueSaturated"],
        ),
        panels.lines(
            "Batch size, mean",
            "Photos in one execution. It stays near 1 until requests wait for each other.",
            "none",
            Query(
                f"sum by (model) (rate({photos}[{WINDOW}])) / (sum by (model) (rate({runs}[{WINDOW}])) > 0)",
                "{{model}}",
            ),
        ),
    ]


def _stages(panels: Panels) -> list[Panel]:
    stages = panels.select("triptych_stage_duration_seconds_bucket")
    sums = panels.select("triptych_stage_duration_seconds_sum")
    return [
        panels.lines(
            "Compute, mean",
            "Handing over the input, the model, handing over the output, per request. For an ensemble: its steps "
            "together.",
            "s",
            *(
                Query(_mean_of(panels, f"nv_inference_compute_{part}_duration_us"), f"{{{{model}}}} {part}")
                for part in ("input", "infer", "output")
            ),
        ),
        panels.lines(
            "Stages, median",
            "From the models' own histograms; answers from the cache are in no stage.",
            "s",
            Query(f"histogram_quantile(0.5, sum by (stage, le) (rate({stages}[{WINDOW}]))) >= 0", "{{stage}}"),
        ),
        panels.lines(
            "Busy in stages",
            "Requests in each stage at a time: seconds of it a second. The stage that grows first is the bottleneck.",
            "none",
            Query(f"sum by (stage) (rate({sums}[{WINDOW}]))", "{{stage}}"),
            is_stacked=True,
        ),
    ]


def _cache_and_instances(panels: Panels) -> list[Panel]:
    hits, misses = (panels.select(f"triptych_answer_cache_{name}_total") for name in ("hits", "misses"))
    duration = panels.select("nv_inference_compute_infer_duration_us", model=MODEL)
    runs = panels.select("nv_inference_exec_count", model=MODEL)
    return [
        panels.lines(
            "Photos from the answer cache",
            "Share of the photos looked up that had been answered before.",
            "percentunit",
            Query(
                f"sum(rate({hits}[{WINDOW}]))\n/ (sum(rate({hits}[{WINDOW}])) + sum(rate({misses}[{WINDOW}])) > 0)",
                "hits",
            ),
            top=1,
        ),
        panels.lines(
            "Executions",
            "Runs of each model a second and server; a server whose line ends while requests wait has a dead model.",
            "ops",
            Query(f"sum by (instance, model) (rate({runs}[{WINDOW}])) > 0", "{{model}} {{instance}}"),
            alerts=["TriptychModelStalled"],
        ),
        panels.lines(
            "Instances at work",
            "Requests inside each model at a time; near the number of its instances it is saturated.",
            "none",
            Query(f"sum by (model) (rate({duration}[{WINDOW}])) / 1e6", "{{model}}"),
        ),
    ]


def _resources(panels: Panels) -> list[Panel]:
    select = panels.select
    return [
        panels.lines(
            "CPU in use",
            "Of the whole machine or container host, as Triton sees it.",
            "percentunit",
            Query(f"max by (instance) ({select('nv_cpu_utilization')})", "{{instance}}"),
            top=1,
        ),
        panels.lines(
            "Memory in use",
            "Of the whole machine or container host, as Triton sees it; limits of containers are Kubernetes' to know.",
            "bytes",
            Query(f"max by (instance) ({select('nv_cpu_memory_used_bytes')})", "{{instance}} used"),
            Query(f"max by (instance) ({select('nv_cpu_memory_total_bytes')})", "{{instance}} total"),
            alerts=["TriptychMemoryGrowth", "TriptychOutOfMemoryKilled"],
        ),
        panels.lines(
            "Free in /dev/shm",
            "Photos and answers travel through it. Docker's default of 64 MB in all is too little.",
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
            "For information: a GPU that waits for the decoder looks idle. Empty where there is none.",
            "percentunit",
            Query(f"max by (instance, gpu_uuid) ({select('nv_gpu_utilization')})", "{{instance}} {{gpu_uuid}}"),
            width=12,
            top=1,
        ),
        panels.lines(
            "GPU memory in use",
            "By server and GPU. Empty where there is none.",
            "bytes",
            Query(f"max by (instance, gpu_uuid) ({select('nv_gpu_memory_used_bytes')})", "{{instance}} {{gpu_uuid}}"),
            width=12,
        ),
    ]
