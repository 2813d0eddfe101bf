"""The bench against the real server; its figures are not checked, because test machines are too noisy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ops.server.local_server import LocalServer

ROOT = Path(__file__).resolve().parents[2]


def run_bench(server: LocalServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    addresses = ["--target", server.grpc_target, "--http", server.http_url, "--pid", str(server.pid)]
    return subprocess.run(
        [sys.executable, "-m", "loadtest", "bench", *addresses, "--rounds", "1", "--turn-s", "0.3", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_bench_measures_every_call_method_and_draws(server: LocalServer, photos: list[Path], tmp_path: Path) -> None:
    result = run_bench(server, "c4", "--json", str(tmp_path / "b.json"), "--chart", str(tmp_path / "b.png"))
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "b.json").read_text())
    rows = {row["name"]: row for row in report["scenarios"]["c4"]["rows"]}
    assert {"gRPC, bare", "gRPC, triptych", "HTTP, raw", "FastAPI + ONNX Runtime, raw HTTP"} < set(rows)
    assert sum(row["is_in_process"] for row in rows.values()) == 2
    assert all(row["photos_per_s"] > 0 and row["p50_ms"] <= row["p99_ms"] for row in rows.values())
    assert report["stages_ms"]["recognizer"]["compute_infer"] > 0
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


def test_sweep_goes_from_1_to_32_cold_and_hot_and_draws(
    server: LocalServer, photos: list[Path], tmp_path: Path
) -> None:
    files = {name: tmp_path / f"sweep.{name}" for name in ("json", "png")}
    result = run_bench(server, "sweep", "--seed", "5", "--json", str(files["json"]), "--sweep-chart", str(files["png"]))
    assert result.returncode == 0, result.stderr
    report = json.loads(files["json"].read_text())
    assert report["seed"] == 5
    rows = {row["name"]: row for row in report["scenarios"]["sweep"]["rows"] if not row["is_in_process"]}
    assert len(rows) == 4 * 6
    assert {
        "gRPC, cold, concurrency 32",
        "HTTP, cold, concurrency 1",
        "gRPC, hot, concurrency 8",
        "batches, cold, batch size 16",
    } < set(rows)
    # A photo from the cache costs a tenth of a recognized one, also on a busy machine.
    assert rows["gRPC, hot, concurrency 4"]["photos_per_s"] > 3 * rows["gRPC, cold, concurrency 4"]["photos_per_s"]
    for row in rows.values():
        assert set(row["stages_ms"]) == {"queue", "compute_input", "compute_infer", "compute_output"}
        assert row["stages_ms"]["compute_infer"] > 0
    assert files["png"].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        (["c5"], 2, "unknown scenario 'c5'; expected one of c1, c4"),
        (["c1", "--http", "http://127.0.0.1:1"], 1, "No Triton server answers over HTTP at 127.0.0.1:1"),
        (["c1", "--pid", "4194305"], 1, "No process has pid 4194305."),
        (["c1", "--sweep-chart", "s.png"], 1, "The chart needs the scenario sweep; the report has only c1."),
        (["c1", "--photos", "/nowhere"], 1, "No *.jpg in /nowhere. Fetch the samples with `make photos`"),
    ],
)
def test_bench_says_what_is_wrong(server: LocalServer, arguments: list[str], exit_code: int, sentence: str) -> None:
    result = run_bench(server, *arguments)
    assert result.returncode == exit_code
    assert sentence in result.stderr
