"""Triton's own counters: requests by model over all replicas, time in each stage of a request, and model configs."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from loadtest.errors import LoadTestError

STAGES = ("queue", "compute_input", "compute_infer", "compute_output")
T = TypeVar("T")
StageTotals = dict[str, dict[str, int]]

_REQUESTS = ("nv_inference_request_success", "nv_inference_request_failure")
# Triton counts the request of an ensemble a moment after it has sent the answer.
_READ_AGAIN_S = 0.3
_MOST_READINGS = 10


def count_requests(url: str) -> Counter[str]:
    """Model -> finished requests, summed over all replicas behind the URL's host.

    Reads until two readings agree, at most 10 times.

    Raises:
        LoadTestError: a replica does not answer, or its answer is not metrics.
    """
    counts = _read_counts(url)
    for _ in range(_MOST_READINGS - 1):
        time.sleep(_READ_AGAIN_S)
        before, counts = counts, _read_counts(url)
        if counts == before:
            break
    return counts


def _read_counts(url: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for address in _replica_urls(url):
        for sample in read_metrics(address):
            if sample.name.removesuffix("_total") in _REQUESTS:
                # Triton 2.51.0 counts an ensemble's request twice, with reason OTHER, when one of its steps fails.
                counts[sample.labels["model"]] += int(sample.value) // (
                    2 if sample.labels.get("reason") == "OTHER" else 1
                )
    return counts


def stage_totals(http_address: str) -> StageTotals:
    """Model -> requests and nanoseconds in each stage since the server's start.

    Raises:
        LoadTestError: no Triton server answers.
    """
    models = _read_json(http_address, "v2/models/stats")["model_stats"]
    return {
        model["name"]: {
            "requests": model["inference_stats"]["success"]["count"],
            **{stage: model["inference_stats"][stage]["ns"] for stage in STAGES},
        }
        for model in models
    }


def stage_means(before: StageTotals, after: StageTotals) -> dict[str, dict[str, float]]:
    """Model -> stage -> mean milliseconds per request between two totals; models without requests are left out."""
    grown = {name: {key: after[name][key] - before[name][key] for key in after[name]} for name in after}
    return {
        name: {stage: round(totals[stage] / 1e6 / totals["requests"], 3) for stage in STAGES}
        for name, totals in grown.items()
        if totals["requests"]
    }


def searcher_calls_recognizer(http_url: str, model: str = "searcher") -> bool:
    """Whether the ensemble has `recognizer` as a step, so that Triton counts one call as a request of both models.

    Raises:
        LoadTestError: the server does not return the model's config.
    """
    steps = _read_config(http_url, model).get("ensemble_scheduling", {}).get("step", [])
    return any(step["model_name"] == "recognizer" for step in steps)


def count_instances(http_url: str) -> int:
    """Instances of the model that runs the network: `recognizer`, or `embedder` where `recognizer` is an ensemble.

    Raises:
        LoadTestError: the server does not return the model's config.
    """
    config = _read_config(http_url, "recognizer")
    if "ensemble_scheduling" in config:
        config = _read_config(http_url, "embedder")
    return sum(group["count"] for group in config["instance_group"])


def read_metrics(url: str) -> list[Sample]:
    """The samples of one replica.

    Raises:
        LoadTestError: the replica does not answer, or its answer is not metrics.
    """

    def parse(text: bytes) -> list[Sample]:
        return [sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples]

    return _get(
        url, parse, f"No metrics at {url}", "Pass Triton's metrics URL with --metrics; `triptych status` shows it."
    )


def _read_config(http_url: str, model: str) -> Any:
    return _read_json(http_url, f"v2/models/{model}/config")


def _read_json(http_url: str, path: str) -> Any:
    base = http_url if "://" in http_url else f"http://{http_url}"
    return _get(
        f"{base}/{path}",
        json.loads,
        f"No Triton server answers over HTTP at {http_url}",
        "Pass the server's HTTP address with --http; `triptych status` shows it, `triptych run` starts a server.",
    )


def _get(url: str, parse: Callable[[bytes], T], failure: str, advice: str) -> T:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return parse(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LoadTestError(f"{failure} ({error}). {advice}") from error


def _replica_urls(url: str) -> list[str]:
    """The URL once per address of its host; a headless service has one address per replica."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        raise LoadTestError(f"{url!r} is not a metrics URL; expected http://HOST:8002/metrics.")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise LoadTestError(f"Cannot resolve the host of {url} ({error}). Pass another URL with --metrics.") from error
    hosts = sorted({str(address[0]) for *_, address in found})
    return [parts._replace(netloc=f"{host}:{parts.port or 80}").geturl() for host in hosts]
