"""Locust against the real server, in its own processes, because importing Locust patches the standard library."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from loadtest.locust.runner import LOCUSTFILE
from loadtest.server.counters import count_requests, searcher_calls_recognizer
from loadtest.traffic.calls import NO_RETRY
from loadtest.traffic.corpus import Corpus
from loadtest.traffic.latency_histogram import LatencyHistogram
from loadtest.traffic.reference_answers import write_prepared
from ops.server.local_server import LocalServer
from tests.e2e.delayed_path import DelayedPath
from triptych import Client, InvalidInput

ROOT = Path(__file__).resolve().parents[2]
# Checks that depend on the speed of the machine, which may run other programs.
OF_THE_MACHINE = {"latency", "generator"}


def run_command(server: LocalServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    addresses = {
        "TRIPTYCH_TARGET": server.grpc_target,
        "TRIPTYCH_HTTP_URL": server.http_url,
        "TRIPTYCH_METRICS_URL": server.metrics_url,
        "TRIPTYCH_CATALOGUE_KEY_FILE": str(server.catalogue_key_file),
    }
    return subprocess.run(
        [sys.executable, "-m", "loadtest", "locust", *arguments],
        cwd=ROOT,
        env={**os.environ, **addresses},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def failed_checks(report: dict[str, Any], run: str) -> set[str]:
    return {check["name"] for check in report["checks"][run] if check["result"] == "failed"}


@pytest.mark.parametrize("workers", [0, 2])
def test_smoke_is_judged_in_one_process_and_in_several(server: LocalServer, tmp_path: Path, workers: int) -> None:
    files = {name: tmp_path / f"run.{name}" for name in ("json", "junit")}
    words = ["smoke", "--scale", "0.4", "--bad-share", "0.1", "--workers", str(workers)]
    result = run_command(server, *words, "--json", str(files["json"]), "--junit", str(files["junit"]))
    report = json.loads(files["json"].read_text())
    assert failed_checks(report, "smoke") <= OF_THE_MACHINE, result.stdout
    assert result.returncode == (0 if report["passed"] else 1)
    passed = {check["name"] for check in report["checks"]["smoke"] if check["result"] == "passed"}
    assert {"availability", "failures", "invalid photos", "reference answers"} <= passed
    assert {"counts of recognizer", "counts of searcher"} <= passed
    (run,) = report["runs"]
    assert set(run["kinds"]) == {"recognize", "embed", "search", "refuse"}
    assert run["locust"]["requests"] == sum(kind["calls"] for kind in run["kinds"].values())
    assert "loadtest.smoke" in files["junit"].read_text()


def test_verdict_is_failed_when_the_objective_is_out_of_reach(server: LocalServer, tmp_path: Path) -> None:
    objectives = (ROOT / "ops/slo.yaml").read_text().replace("cpu: 250", "cpu: 1")
    (tmp_path / "slo.yaml").write_text(objectives)
    words = ["smoke", "--scale", "0.3", "--transport", "http", "--tasks", "embed", "--repeat-share", "0"]
    result = run_command(server, *words, "--slo", str(tmp_path / "slo.yaml"))
    assert result.returncode == 1
    assert "took less than 1 ms, expected 99%" in result.stdout
    assert "smoke: latency" in result.stdout.rpartition("Verdict: failed (")[2]


@pytest.mark.parametrize("servers", ["server", "ensemble_server"])
def test_failed_call_is_one_request_in_the_counts(servers: str, request: pytest.FixtureRequest) -> None:
    """Triton counts two requests of an ensemble when one of its steps fails."""
    server: LocalServer = request.getfixturevalue(servers)
    calls_recognizer = searcher_calls_recognizer(server.http_url)
    before = count_requests(server.metrics_url)
    with Client(server.grpc_target, retry=NO_RETRY) as client:
        for call in (client.search, client.recognize):
            for _ in range(3):
                with pytest.raises(InvalidInput):
                    call(b"no photo")
    after = count_requests(server.metrics_url)
    counted = {model: after[model] - before.get(model, 0) for model in ("recognizer", "searcher")}
    assert counted == {"recognizer": 6 if calls_recognizer else 3, "searcher": 3}


def test_breakpoint_ends_where_the_server_breaks(server: LocalServer, tmp_path: Path) -> None:
    """6 users start per step; two cores do not answer 128 users within 1.5 times the bound."""
    words = ["breakpoint", "--scale", "0.6", "--transport", "grpc", "--repeat-share", "0", "--sizes", "800x600"]
    run_command(server, *words, "--json", str(tmp_path / "run.json"))
    report = json.loads((tmp_path / "run.json").read_text())
    assert failed_checks(report, "breakpoint") <= OF_THE_MACHINE, report["checks"]["breakpoint"]
    phases = report["runs"][0]["phases"]
    assert 1 <= len(phases) < 20
    last = phases[-1]
    assert last["p99_ms"] > 1.5 * report["under_ms"] or last["failed"] > 0.01 * last["calls"]
    assert all(phase["p99_ms"] <= 1.5 * report["under_ms"] for phase in phases[:-1])


def measure_rate(
    prepared: Path, users_class: str, path: DelayedPath, users: int, think_s: float, duration_s: int
) -> float:
    """Calls a second."""
    result_file = prepared.with_name("result.json")
    subprocess.run(
        [
            sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), users_class, "--headless", "--users", str(users),
            "--spawn-rate", "100", "--run-time", f"{duration_s}s", "--stop-timeout", "5", "--prepared", str(prepared),
            "--target", path.address, "--http", f"http://{path.address}", "--think-s", str(think_s),
            "--repeat-share", "1", "--bad-share", "0", "--result-file", str(result_file), "--only-summary",
        ],
        cwd=ROOT, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    histogram = LatencyHistogram(1.0)
    histogram.add_json(json.loads(result_file.read_text())["histogram"])
    assert histogram.total().failed == 0
    # A user connects and checks the contract before its first call; the last second is incomplete.
    from_s, until_s = min(histogram.seconds) + 2, max(histogram.seconds) - 1
    return histogram.total(None, from_s, until_s).answered / (until_s - from_s)


@pytest.mark.parametrize("users_class", ["GrpcUser", "HttpUser"])
def test_users_do_not_wait_for_each_other(
    server: LocalServer, photos: list[Path], tmp_path: Path, users_class: str
) -> None:
    """12 users with a think time make 12 times the calls of one.

    The network delay is 0.1 s each way without CPU time, and the cache answers the photos. If a call blocks the loop,
    12 users make 1 / 0.2 s = 5 calls per second in all; if not, 12 / 0.4 s = 30.
    """
    prepared = tmp_path / "prepared.json"
    write_prepared(prepared, Corpus({file.stem: file.read_bytes() for file in photos[:3]}), {})
    target = server.grpc_target if users_class == "GrpcUser" else server.http_url.removeprefix("http://")
    with DelayedPath(target, 0.1) as path:
        single = measure_rate(prepared, users_class, path, users=1, think_s=0.2, duration_s=10)
        before = path.connections
        together = measure_rate(prepared, users_class, path, users=12, think_s=0.2, duration_s=10)
    # 12 on an idle machine, fewer on a busy one; 2 where a call blocks the loop.
    assert 7 <= together / single <= 15
    # One connection per user, kept through all its calls.
    assert path.connections - before == 12


def test_web_ui_of_locust_is_served_on_loopback(server: LocalServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    addresses = {
        "TRIPTYCH_TARGET": server.grpc_target,
        "TRIPTYCH_HTTP_URL": server.http_url,
        "TRIPTYCH_METRICS_URL": server.metrics_url,
    }
    words = [sys.executable, "-m", "loadtest", "locust", "--web", str(port)]
    # As in a terminal, Ctrl-C reaches the whole process group.
    process = subprocess.Popen(
        words, cwd=ROOT, env={**os.environ, **addresses}, start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        page = _await_page(f"http://127.0.0.1:{port}/", deadline_s=time.monotonic() + 60)
        assert "Locust" in page
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def _await_page(url: str, deadline_s: float) -> str:
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.URLError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.3)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        (["ramp"], 2, "unknown shape 'ramp'; expected one of smoke, step, spike, soak, breakpoint"),
        (["smoke", "--scale", "0"], 2, "got 0, expected more than 0"),
        (["smoke", "--bad-share", "2"], 2, "got 2, expected 0 or more, at most 1"),
        (["smoke", "--metrics", "http://127.0.0.1:1/metrics"], 1, "No metrics at http://127.0.0.1:1/metrics"),
        (["smoke", "--metrics", "8002"], 1, "expected http://HOST:8002/metrics"),
        (["smoke", "--http", "http://127.0.0.1:1"], 1, "Pass the server's HTTP address with --http"),
        (["smoke", "--photos", "/nowhere"], 1, "No *.jpg in /nowhere. Fetch the samples with `make photos`"),
        (["smoke", "--slo", "/nowhere"], 1, "Pass the file with --slo"),
        (["smoke", "--baseline", "/nowhere"], 1, "Cannot read /nowhere as a report"),
        (["smoke", "--catalogue-key-file", "/nowhere"], 1, "Cannot read the catalogue's key in /nowhere"),
    ],
)
def test_command_says_what_is_wrong(server: LocalServer, arguments: list[str], exit_code: int, sentence: str) -> None:
    result = run_command(server, *arguments)
    assert result.returncode == exit_code
    assert sentence in result.stderr
