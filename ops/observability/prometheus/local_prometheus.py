"""A real Prometheus on this machine with our rules; its data is removed on exit."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ops.errors import OpsError
from ops.server.launch import start
from ops.settings import ADDRESS

STARTUP_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.1
FRONT_PATH = "/metrics/front"
# Prometheus is on this machine, where a proxy of the environment has no part.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class LocalPrometheus:
    """The HTTP API of a Prometheus that `run_prometheus` started."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expr: str, at_s: float | None = None) -> list[dict[str, Any]]:
        """Returns the instant vector; a scalar becomes a vector with one element.

        Raises:
            OpsError: Prometheus rejects the expression.
        """
        data = self._ask("query", {"query": expr, **({} if at_s is None else {"time": f"{at_s:.3f}"})})
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        return list(data["result"])

    def query_range(self, expr: str, start_s: float, end_s: float, step_s: float) -> list[dict[str, Any]]:
        """Returns the matrix; raises as `query` does."""
        span = {"start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:g}"}
        return list(self._ask("query_range", {"query": expr, **span})["result"])

    def firing(self) -> dict[str, list[dict[str, str]]]:
        """Returns the labels of every firing alert, by alert name."""
        found: dict[str, list[dict[str, str]]] = {}
        for alert in self._ask("alerts", {})["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
        return found

    def _ask(self, path: str, values: dict[str, str]) -> Any:
        body = urllib.parse.urlencode(values).encode() if values else None
        try:
            with _DIRECT.open(f"{self.url}/api/v1/{path}", data=body, timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            said = json.load(error).get("error", error.reason)
            raise OpsError(f"Prometheus rejects {values.get('query', path)}: {said}") from error


@contextlib.contextmanager
def run_prometheus(
    targets: Mapping[str, Mapping[str, str]], job: str, rules: list[str], interval_s: float
) -> Iterator[LocalPrometheus]:
    """Starts a Prometheus and stops it in the end.

    Args:
        targets: additional labels of each scraped server, by the `HOST:PORT` of its /metrics.
        job: the `job` label of the targets.
        rules: contents of rule files.
        interval_s: between scrapes, and between evaluations of rules without their own interval.

    Raises:
        OpsError: Prometheus is not installed, or did not become ready.
    """
    program = find_prometheus()
    with tempfile.TemporaryDirectory(prefix="triptych_prometheus_", ignore_cleanup_errors=True) as name:
        folder, address = Path(name), f"{ADDRESS}:{_free_port()}"
        for number, content in enumerate(rules):
            (folder / f"rules_{number}.yaml").write_text(content, encoding="utf-8")
        interval = f"{round(interval_s * 1000)}ms"
        statics = [{"targets": [target], "labels": dict(labels)} for target, labels in targets.items()]
        # The front's own metrics, with the job and instance of the server behind it; a server without a front has none.
        front = {
            "job_name": f"{job}-front",
            "metrics_path": FRONT_PATH,
            "static_configs": statics,
            "metric_relabel_configs": [{"target_label": "job", "replacement": job}],
        }
        configuration = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": ["rules_*.yaml"],
            "scrape_configs": [{"job_name": job, "static_configs": statics}, front],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
        options = ["--config.file=prometheus.yaml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
        process = start([program, *options, "--log.level=warn"], dict(os.environ), folder, folder / "log")
        try:
            _wait_ready(process, f"http://{address}", folder / "log")
            yield LocalPrometheus(f"http://{address}")
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline_s = time.monotonic() + STARTUP_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise OpsError(f"Prometheus ended with exit code {process.returncode}: {_last_line(log)}")
        try:
            with _DIRECT.open(f"{url}/-/ready", timeout=STOP_TIMEOUT_S):
                return
        except OSError:
            time.sleep(POLL_S)
    raise OpsError(f"Prometheus was not ready after {STARTUP_TIMEOUT_S:g} s: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "its log is empty."


def find_prometheus() -> str:
    """Returns the path of the program.

    Raises:
        OpsError: Prometheus is not installed.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise OpsError("`prometheus` is not on PATH. Install it (Debian and Ubuntu: `apt-get install prometheus`).")
    return program


def _free_port() -> int:
    with socket.create_server((ADDRESS, 0)) as listener:
        return int(listener.getsockname()[1])
