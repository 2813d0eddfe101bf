"""What the servers counted: Triton's own metrics, of every replica behind a name."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.parse
import urllib.request
from collections import Counter
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from loadtest.errors import LoadTestError

_REQUESTS = ("nv_inference_request_success", "nv_inference_request_failure")
# An ensemble is counted a moment after its answer has left.
_SETTLED_S = 0.3
_MOST_READINGS = 10


def count_requests(url: str) -> dict[str, int]:
    """Model -> requests that ended, well or not, over all replicas that the URL's host stands for; read until two
    readings agree, or ten times where others keep the servers busy.

    Raises:
        LoadTestError: a replica does not answer, or answers something else.
    """
    counts = _read_counts(url)
    for _ in range(_MOST_READINGS - 1):
        time.sleep(_SETTLED_S)
        before, counts = counts, _read_counts(url)
        if counts == before:
            break
    return counts


def _read_counts(url: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for address in _addresses(url):
        for name, labels, value in _scrape(address):
            if name.removesuffix("_total") in _REQUESTS:
                # A request that fails in an ensemble's step Triton 2.51.0 counts twice for the ensemble, as OTHER.
                counts[labels["model"]] += int(value) // (2 if labels.get("reason") == "OTHER" else 1)
    return dict(counts)


def asks_recognizer(http_url: str, model: str = "searcher") -> bool:
    """Whether an ensemble has `recognizer` among its steps, so that the server counts a call of it twice.

    Raises:
        LoadTestError: the server does not say.
    """
    steps = _read_config(http_url, model).get("ensemble_scheduling", {}).get("step", [])
    return any(step["model_name"] == "recognizer" for step in steps)


def count_instances(http_url: str) -> tuple[int, int]:
    """Of the model that takes the time: instances, and the photos that Triton puts into a run of one when many wait.

    These are the largest preferred size, where there is one: it is taken before anything larger.

    Raises:
        LoadTestError: the server does not say.
    """
    config = _read_config(http_url, "recognizer")
    if "ensemble_scheduling" in config:
        config = _read_config(http_url, "embedder")
    preferred = config.get("dynamic_batching", {}).get("preferred_batch_size", [])
    instances = sum(group["count"] for group in config["instance_group"])
    return instances, max(preferred, default=config["max_batch_size"])


def _read_config(http_url: str, model: str) -> Any:
    url = f"{http_url if '://' in http_url else f'http://{http_url}'}/v2/models/{model}/config"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LoadTestError(
            f"No configuration of {model} at {url} ({error}). Pass the server's HTTP address with --http; "
            "`python -m ops status` shows it."
        ) from error


def _scrape(url: str) -> list[tuple[str, dict[str, str], float]]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LoadTestError(
            f"No metrics at {url} ({error}). Pass Triton's with --metrics; `python -m ops status` shows the address."
        ) from error
    return [(sample.name, dict(sample.labels), float(sample.value)) for sample in samples]


def _addresses(url: str) -> list[str]:
    """The URL once for each address that its host has: a headless service has one a replica."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        raise LoadTestError(f"{url!r} is no address of metrics; expected http://HOST:8002/metrics.")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise LoadTestError(f"The host of {url} is not known ({error}).") from error
    hosts = sorted({str(address[0]) for *_, address in found})
    return [parts._replace(netloc=f"{host}:{parts.port or 80}").geturl() for host in hosts]
