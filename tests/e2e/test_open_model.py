"""LoadGen through the client against the real server; what the machine can do is not judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.local_server import LocalServer

ROOT = Path(__file__).resolve().parents[2]


def run_server(server: LocalServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    addresses = {
        "TRIPTYCH_TARGET": server.grpc_target,
        "TRIPTYCH_HTTP_URL": server.http_url,
        "TRIPTYCH_METRICS_URL": server.metrics_url,
    }
    return subprocess.run(
        [sys.executable, "-m", "loadtest", "server", "--sizes", "400x300", *arguments],
        cwd=ROOT,
        env={**os.environ, **addresses},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_scenarios_of_mlperf_run_through_the_client(server: LocalServer, tmp_path: Path) -> None:
    result = run_server(server, "--scenarios", "--duration-s", "1", "--json", str(tmp_path / "s.json"))
    assert result.returncode == 0, result.stderr
    runs = {run["scenario"]: run for run in json.loads((tmp_path / "s.json").read_text())["scenarios"]}
    assert set(runs) == {"SingleStream", "MultiStream", "Server", "Offline"}
    assert all(run["photos"] > 0 and run["failures"] == {} for run in runs.values())
    assert all(0 < run["p50_ms"] <= run["p90_ms"] <= run["p99_ms"] for run in runs.values())
    # Due when they are due: some come while another is still being answered, none before it is due.
    assert runs["Server"]["loadgen_lag_ms"] >= 0
    assert runs["Server"]["rate"] > 0


def test_peak_is_searched_within_bounds_and_confirmed_or_not(server: LocalServer, tmp_path: Path) -> None:
    words = ["--find-peak", "--duration-s", "1", "--tries", "2", "--json", str(tmp_path / "p.json")]
    result = run_server(server, *words)
    report = json.loads((tmp_path / "p.json").read_text())
    assert 3 <= len(report["trials"]) <= 6
    last = report["trials"][-1]
    assert (last["missed"] is None) == (result.returncode == 0), result.stdout
    assert report["peak_per_s"] == (round(last["rate"], 2) if last["missed"] is None else None)
    assert "photos/s for 1 s:" in result.stdout


def test_overload_is_seen_from_the_moment_a_photo_was_due(server: LocalServer, tmp_path: Path) -> None:
    """500 photos/s are more than a few cores recognise: the last that the queue takes wait for all before them."""
    result = run_server(server, "--rate", "500", "--duration-s", "1", "--json", str(tmp_path / "o.json"))
    assert result.returncode == 1
    assert "Does not hold: " in result.stdout
    (trial,) = json.loads((tmp_path / "o.json").read_text())["trials"]
    assert trial["completed_per_s"] < 400
    # A lone one takes 10 to 20 ms.
    assert trial["p99_ms"] > 300


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        ([], 2, "one of the arguments --rate --find-peak --scenarios --curve is required"),
        (["--rate", "-3"], 2, "-3 is no use; expected more than 0"),
        (["--rate", "ten"], 2, "'ten' is no number"),
        (["--rate", "5", "--sizes", "huge"], 2, "expected shop, or a width and a height"),
        (["--rate", "5", "--target", "127.0.0.1:1"], 1, "LoadGen's process ended with"),
        (["--rate", "5", "--metrics", "http://127.0.0.1:1/metrics"], 1, "No metrics at"),
    ],
)
def test_command_says_what_is_wrong(server: LocalServer, arguments: list[str], exit_code: int, sentence: str) -> None:
    result = run_server(server, *arguments)
    assert result.returncode == exit_code
    assert sentence in result.stderr
