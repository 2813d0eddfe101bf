"""The open loop against the real server; the speed of the machine is not checked here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.capacity.curve import read_curve
from loadtest.cli.main import main
from ops.server.local_server import LocalServer

ROOT = Path(__file__).resolve().parents[2]


def run_open_loop(server: LocalServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    addresses = {
        "TRIPTYCH_TARGET": server.grpc_target,
        "TRIPTYCH_HTTP_URL": server.http_url,
        "TRIPTYCH_METRICS_URL": server.metrics_url,
    }
    return subprocess.run(
        [sys.executable, "-m", "loadtest", "open-loop", "--sizes", "400x300", *arguments],
        cwd=ROOT,
        env={**os.environ, **addresses},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_curve_has_single_requests_capacity_and_points_that_a_plan_reads(server: LocalServer, tmp_path: Path) -> None:
    result = run_open_loop(server, "--curve", "--duration-s", "1", "--json", str(tmp_path / "curve.json"))
    assert result.returncode == 0, result.stderr
    curve, _ = read_curve(tmp_path / "curve.json")
    assert len(curve["trials"]) == 5
    assert 0 < curve["single"]["p50_ms"] <= curve["single"]["p99_ms"]
    assert all(0 < trial["p50_ms"] <= trial["p90_ms"] <= trial["p99_ms"] for trial in curve["trials"])
    assert all(trial["failures"] == {} for trial in curve["trials"])
    # A machine with other work may be slower for a moment, but not by this much.
    assert curve["capacity_per_s"] > 0.5 * 1000 / curve["single"]["p50_ms"]
    assert main(["plan", "--rate", "100", "--p99", "60", "--curve", str(tmp_path / "curve.json")]) == 0


def test_peak_is_searched_within_bounds_and_confirmed_or_not(server: LocalServer, tmp_path: Path) -> None:
    words = ["--find-peak", "--duration-s", "1", "--tries", "2", "--json", str(tmp_path / "p.json")]
    result = run_open_loop(server, *words)
    report = json.loads((tmp_path / "p.json").read_text())
    assert 3 <= len(report["trials"]) <= 6
    last = report["trials"][-1]
    assert (last["missed"] is None) == (result.returncode == 0), result.stdout
    assert report["peak_per_s"] == (round(last["rate"], 2) if last["missed"] is None else None)
    assert "photos/s for 1 s:" in result.stdout


def test_overload_is_seen_from_the_moment_a_photo_was_due(server: LocalServer, tmp_path: Path) -> None:
    """500 photos/s are more than a few cores recognize: the last photo in the queue waits for all before it."""
    result = run_open_loop(server, "--rate", "500", "--duration-s", "1", "--json", str(tmp_path / "o.json"))
    assert result.returncode == 1
    assert "Objective missed: " in result.stdout
    (trial,) = json.loads((tmp_path / "o.json").read_text())["trials"]
    assert trial["completed_per_s"] < 400
    # A single request takes 10 to 20 ms.
    assert trial["p99_ms"] > 300


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        ([], 2, "one of the arguments --rate --find-peak --curve is required"),
        (["--rate", "-3"], 2, "got -3, expected more than 0"),
        (["--rate", "ten"], 2, "'ten' is not a number"),
        (["--rate", "5", "--sizes", "huge"], 2, "got 'huge', expected shop, or a width and a height"),
        (["--rate", "5", "--target", "127.0.0.1:1"], 1, "127.0.0.1:1 does not answer (UNAVAILABLE"),
        (["--rate", "5", "--metrics", "http://127.0.0.1:1/metrics"], 1, "No metrics at"),
    ],
)
def test_command_says_what_is_wrong(server: LocalServer, arguments: list[str], exit_code: int, sentence: str) -> None:
    result = run_open_loop(server, *arguments)
    assert result.returncode == exit_code
    assert sentence in result.stderr
