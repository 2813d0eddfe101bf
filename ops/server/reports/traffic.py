"""What a server does at the moment, from its own metrics: rate, latency, errors, waiting requests, by model.

Rates are measured between two readings. Latencies are Triton's summaries (`--metrics-config summary_latencies=true`),
which cover the last minute and are NaN without a request in it. Errors are counted since the server started.
"""

from __future__ import annotations

import http.client
import math
import re
import time
from collections import defaultdict
from dataclasses import dataclass

from ops.server import probe

WINDOW_S = 1.0
SUMMARY_S = 60.0  # prometheus-cpp's default, which Triton 2.51 keeps
_SAMPLE = re.compile(r"^(nv_inference_\w+)\{([^}]*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_SUMMARY = "nv_inference_request_summary_us"
_FINISHED = {"nv_inference_request_success": "answered", "nv_inference_request_failure": "failed"}
_WAITING = "nv_inference_pending_request_count"


@dataclass(frozen=True)
class Counts:
    """One reading of one model.

    Attributes:
        answered: requests since the server started.
        failed: by reason, since the server started.
        waiting: in the queue.
        quantiles_ms: 0.5 and 0.99 of the last minute; a model without a request in it has none.
    """

    answered: float
    failed: dict[str, float]
    waiting: float
    quantiles_ms: dict[str, float]


@dataclass(frozen=True)
class Traffic:
    """One model.

    Attributes:
        rate_per_s: requests that were finished, over `WINDOW_S`.
        p50_ms: of the last minute; None without a request in it.
        p99_ms: like `p50_ms`.
        answered: since the server started.
        failed: since the server started.
        failed_by_reason: Triton's reason -> number; reasons that did not occur are left out.
        waiting: requests in the queue; those of an ensemble wait in the queues of its steps.
    """

    model: str
    rate_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    answered: int
    failed: int
    failed_by_reason: dict[str, int]
    waiting: int


def measure_traffic(metrics_port: int) -> tuple[Traffic, ...]:
    """Reads the metrics twice; returns the models that got a request, or nothing when the server does not answer."""
    before, began_s = read_counts(metrics_port), time.monotonic()
    time.sleep(WINDOW_S)
    after, took_s = read_counts(metrics_port), time.monotonic() - began_s
    models = [model for model, counts in after.items() if _finished(counts) or counts.waiting]
    return tuple(_compare(model, before.get(model), after[model], took_s) for model in models)


def read_counts(metrics_port: int) -> dict[str, Counts]:
    """Returns one reading by model; empty when the server does not answer."""
    status, body = probe.ask("GET", metrics_port, "/metrics")
    return parse_counts(body.decode(errors="replace")) if status == http.client.OK else {}


def parse_counts(metrics: str) -> dict[str, Counts]:
    """Returns one reading by model, in the order of the names."""
    found: defaultdict[str, Counts] = defaultdict(lambda: Counts(0.0, {}, 0.0, {}))
    for name, text, number in _SAMPLE.findall(metrics):
        labels, value = dict(_LABEL.findall(text)), float(number)
        model = labels.get("model", "")
        counts = found[model]
        if name == _SUMMARY and not math.isnan(value):
            counts.quantiles_ms[labels.get("quantile", "")] = value / 1000
        elif _FINISHED.get(name) == "failed":
            reason = labels.get("reason", "OTHER")
            counts.failed[reason] = counts.failed.get(reason, 0.0) + value
        elif _FINISHED.get(name) == "answered":
            found[model] = Counts(counts.answered + value, counts.failed, counts.waiting, counts.quantiles_ms)
        elif name == _WAITING:
            found[model] = Counts(counts.answered, counts.failed, counts.waiting + value, counts.quantiles_ms)
    return dict(sorted(found.items()))


def _finished(counts: Counts) -> float:
    return counts.answered + sum(counts.failed.values())


def _compare(model: str, before: Counts | None, after: Counts, took_s: float) -> Traffic:
    done = _finished(after) - (_finished(before) if before is not None else 0.0)
    return Traffic(
        model,
        rate_per_s=round(max(0.0, done) / took_s, 1),
        p50_ms=after.quantiles_ms.get("0.5"),
        p99_ms=after.quantiles_ms.get("0.99"),
        answered=int(after.answered),
        failed=int(sum(after.failed.values())),
        failed_by_reason={reason: int(count) for reason, count in after.failed.items() if count},
        waiting=int(after.waiting),
    )


def describe_traffic(traffic: tuple[Traffic, ...]) -> list[str]:
    """Returns a table: rates over the last second, latencies over the last minute, the rest since the start."""
    if not traffic:
        return ["  no request since the server started"]
    lines = [f"  {'model':<20} {'per s':>7} {'p50 ms':>8} {'p99 ms':>8} {'answered':>9} {'failed':>7} {'waiting':>8}"]
    for one in traffic:
        reasons = ", ".join(f"{reason} {count}" for reason, count in one.failed_by_reason.items())
        lines.append(
            f"  {one.model:<20} {one.rate_per_s:>7.1f} {_as_text(one.p50_ms):>8} {_as_text(one.p99_ms):>8} "
            f"{one.answered:>9} {one.failed:>7} {one.waiting:>8}{f'  ({reasons})' if reasons else ''}"
        )
    lines.append(f"  (per s: over {WINDOW_S:g} s; p50, p99: over the last {SUMMARY_S:g} s; the rest: since the start)")
    return lines


def _as_text(value_ms: float | None) -> str:
    return "-" if value_ms is None else f"{value_ms:.1f}"
