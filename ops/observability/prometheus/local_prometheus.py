"""A real Prometheus on this machine with our rules; its data is removed on exit."""

from __future__ import annotations

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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from ops.errors import OpsError
from ops.server.launch import start
from ops.settings import ADDRESS

STARTUP_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.1


@dataclass(frozen=True)
class ScrapeTarget:
    """A server's /metrics as `HOST:PORT`, with additional labels."""

    address: str
    labels: Mapping[str, str] = field(default_factory=dict)


class LocalPrometheus:
    """Starts on entry, stops on exit.

    Args:
        targets: the scraped servers.
        job: the `job` label of the targets.
        rules: contents of rule files.
        interval_s: between scrapes, and between evaluations of rules without their own interval.
    """

    def __init__(self, targets: list[ScrapeTarget], job: str, rules: list[str], interval_s: float = 5.0) -> None:
        self._targets, self._job, self._rules, self._interval_s = targets, job, rules, interval_s
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path()
        self.url = ""

    def __enter__(self) -> LocalPrometheus:
        program = find_prometheus()
        self._folder = Path(tempfile.mkdtemp(prefix="triptych_prometheus_"))
        try:
            self._start(program)
            self._wait_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

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

    def _start(self, program: str) -> None:
        port = _free_port()
        self.url = f"http://{ADDRESS}:{port}"
        (self._folder / "prometheus.yaml").write_text(yaml.safe_dump(self._configuration()), encoding="utf-8")
        options = [
            f"--config.file={self._folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={ADDRESS}:{port}",
            "--log.level=warn",
        ]
        self._process = start([program, *options], dict(os.environ), self._folder, self._folder / "log")

    def _configuration(self) -> dict[str, Any]:
        files = []
        for number, content in enumerate(self._rules):
            file = self._folder / f"rules_{number}.yaml"
            file.write_text(content, encoding="utf-8")
            files.append(str(file))
        interval = f"{round(self._interval_s * 1000)}ms"
        statics = [{"targets": [target.address], "labels": dict(target.labels)} for target in self._targets]
        return {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": files,
            "scrape_configs": [{"job_name": self._job, "static_configs": statics}],
        }

    def _wait_ready(self) -> None:
        deadline_s = time.monotonic() + STARTUP_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if self._process is not None and self._process.poll() is not None:
                raise OpsError(f"Prometheus ended with exit code {self._process.returncode}: {self._last_words()}")
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=STOP_TIMEOUT_S):
                    return
            except OSError:
                time.sleep(POLL_S)
        raise OpsError(f"Prometheus was not ready after {STARTUP_TIMEOUT_S:g} s: {self._last_words()}")

    def _last_words(self) -> str:
        lines = (self._folder / "log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "its log is empty."

    def _ask(self, path: str, values: dict[str, str]) -> Any:
        body = urllib.parse.urlencode(values).encode() if values else None
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", data=body, timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            said = json.load(error).get("error", error.reason)
            raise OpsError(f"Prometheus rejects {values.get('query', path)}: {said}") from error

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)


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
