"""The README and the page of measurements quote the committed runs, figure by figure."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = json.loads((ROOT / "loadtest/bench.json").read_text())
README = (ROOT / "README.md").read_text()
CURVE = json.loads((ROOT / "loadtest/curve-cpu-2-cores.json").read_text())
PAGE = (ROOT / "docs/explanation/measurements.md").read_text()


def figures(scenario: str) -> dict[str, tuple[str, str, str, str]]:
    return {
        row["name"]: (
            f"{row['photos_per_s']:.0f}",
            f"{row['ratio_to_in_process']:.2f}",
            f"{row['p50_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
        )
        for row in BENCH["scenarios"][scenario]["rows"]
    }


def test_readme_quotes_the_run_with_machine_date_and_commit() -> None:
    machine = f"{BENCH['machine']['cores']}-core {BENCH['machine']['cpu']}, {BENCH['date']}, commit {BENCH['commit']}"
    assert machine in README
    assert "dirty" not in BENCH["commit"]


def test_readme_table_is_that_of_the_run() -> None:
    rows = re.findall(
        r"^\| ([^|]+) \| (\d+) \| ([\d.]+) \| ([\d.]+) / ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", README, re.M
    )
    crowd, lone = figures("c16"), figures("c1")
    baselines = {"in process, without a server, the best": "in process"}
    assert len(rows) == 6
    for name, rate, ratio, p50, p99, lone_ratio, lone_p50 in rows:
        if name in baselines:
            best = max(
                (row for key, row in crowd.items() if key.startswith("in process")), key=lambda row: float(row[0])
            )
            best_lone = min(
                (row for key, row in lone.items() if key.startswith("in process")), key=lambda row: float(row[2])
            )
        else:
            best, best_lone = crowd[name], lone[name]
        assert (rate, ratio, p50, p99) == best, name
        assert (lone_ratio, lone_p50) == (best_lone[1], best_lone[2]), name


def test_page_quotes_the_ratios_of_the_run() -> None:
    rows = {row["name"]: row for row in BENCH["scenarios"]["c16"]["rows"]}
    callers = [rows[name] for name in ("gRPC, bare", "HTTP, raw")]
    baseline = rows["FastAPI + ONNX Runtime, raw HTTP"]["photos_per_s"]
    served = ", ".join(
        f"{row['ratio_to_in_process']:.2f} ({row['ratio_min']:.2f}-{row['ratio_max']:.2f})" for row in callers
    )
    over_fastapi = ", ".join(f"{row['photos_per_s'] / baseline:.2f}" for row in callers)
    run = f"{BENCH['date']}, commit {BENCH['commit']} (`loadtest/bench.json`)"
    assert f"| {run} | {served} | {over_fastapi} |" in PAGE


def test_page_quotes_the_curve() -> None:
    rows = [
        f"| {trial['rate']:.1f} | {trial['p50_ms']:.1f} | {trial['p99_ms']:.1f} | {outcome} |"
        for trial in CURVE["trials"]
        for outcome in ["missed" if trial["missed"] else "met"]
    ]
    assert "\n".join(rows) in PAGE
    assert f"{CURVE['date']}, commit {CURVE['commit']}, `open-loop --curve`" in PAGE
    assert f"capacity is {CURVE['capacity_per_s']:.0f} photos/s" in PAGE
