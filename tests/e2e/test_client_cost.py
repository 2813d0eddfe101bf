"""The comparison of clients runs against the real server; its figures are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ops.local_server import LocalServer

ROOT = Path(__file__).resolve().parents[2]


def test_comparison_of_clients_measures_each_way(server: LocalServer, photos: list[Path], tmp_path: Path) -> None:
    report_file = tmp_path / "client.json"
    arguments = ["--target", server.grpc_target, "--count", "50", "--concurrency", "4", "--json", str(report_file)]
    subprocess.run([sys.executable, "-m", "loadtest", "client", *arguments], cwd=ROOT, check=True, timeout=120)
    report = json.loads(report_file.read_text())
    assert {"tritonclient.grpc by hand", "triptych.Client"} < set(report["single"])
    many = report["many"]
    assert {name for name in many if isinstance(many[name], dict)} == {
        "tritonclient.grpc.aio by hand",
        "triptych.AsyncClient",
        "triptych.Client",
    }
    assert all(many[name]["photos_per_s"] > 0 for name in many if isinstance(many[name], dict))
