"""Three generators on one server; whether they agree is for a machine with nothing else to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ops.local_server import LocalServer

ROOT = Path(__file__).resolve().parents[2]


def test_generators_take_turns_with_one_and_with_16_in_flight(server: LocalServer, tmp_path: Path) -> None:
    addresses = {
        "TRIPTYCH_TARGET": server.grpc_target,
        "TRIPTYCH_HTTP_URL": server.http_url,
        "TRIPTYCH_METRICS_URL": server.metrics_url,
        "TRIPTYCH_SERVER_PID": str(server.pid),
    }
    words = ["--sizes", "400x300", "--rounds", "1", "--turn-s", "1.5", "--json", str(tmp_path / "a.json")]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest", "agree", *words, "--report", str(tmp_path / "a.html")],
        cwd=ROOT,
        env={**os.environ, **addresses},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    agreement = json.loads((tmp_path / "a.json").read_text())["agreement"]
    assert {in_flight: set(rows) for in_flight, rows in agreement.items()} == {
        "1": {"bench", "Locust", "LoadGen"},
        "16": {"bench", "Locust", "LoadGen", "LoadGen, Poisson at 70 %"},
    }
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for rows in agreement.values() for row in rows.values())
    # 16 calls wait for each other on any machine with fewer than 16 cores' worth of recognizers.
    for name in ("bench", "Locust", "LoadGen"):
        assert agreement["16"][name]["p50_ms"] > agreement["1"][name]["p50_ms"], name
    assert "How far bench, Locust and LoadGen agree" in (tmp_path / "a.html").read_text()
