"""A real Prometheus on this machine with our rules loaded, scraping our servers; gone with its data when left."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
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
from ops.launch import DIE_WITH_PARENT
from ops.settings import ADDRESS

STARTUP_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.1
MISSING = "No `prometheus` on PATH. Install it (Debian and Ubuntu: `apt-get install prometheus`)."


@dataclass(frozen=True)
class ScrapeTarget:
    """A server's /metrics as `HOST:PORT`, with labels of its own."""

    address: str
    labels: Mapping[str, str] = field(default_factory=dict)


class LocalPrometheus:
    """Starts on entry, stops on exit.

    Args:
        targets: what it scrapes.
        job: their `job` label.
        rules: contents of rule files.
        interval_s: between scrapes, and between evaluations of rules that have no interval of their own.
    """

    def __init__(self, targets: list[ScrapeTarget], job: str, rules: list[str], interval_s: float = 5.0) -> None:
        self._targets, self._job, self._rules, self._interval_s = targets, job, rules, interval_s
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path()
        self.url = ""

    def __enter__(self) -> LocalPrometheus:
        program = shutil.which("prometheus")
        if program is None:
            raise OpsError(MISSING)
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
        """The instant vector; a scalar as a vector of one.

        Raises:
            OpsError: Prometheus refuses the expression.
        """
        data = self._ask("query", {"query": expr, **({} if at_s is None else {"time": f"{at_s:.3f}"})})
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        return list(data["result"])

    def query_range(self, expr: str, start_s: float, end_s: float, step_s: float) -> list[dict[str, Any]]:
        """The matrix; raises as `query` does."""
        span = {"start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:g}"}
        return list(self._ask("query_range", {"query": expr, **span})["result"])

    def metric_names(self) -> set[str]:
        """Of everything scraped or recorded so far."""
        return set(self._ask("label/__name__/values", {}))

    def firing(self) -> dict[str, list[dict[str, str]]]:
        """The labels of every alert that fires, by its name."""
        found: dict[str, list[dict[str, str]]] = {}
        for alert in self._ask("alerts", {})["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
        return found

    def failed_rules(self) -> dict[str, str]:
        """The rules whose last evaluation failed: name -> error."""
        groups = self._ask("rules", {})["groups"]
        return {
            rule["name"]: rule["lastError"] for group in groups for rule in group["rules"] if rule["health"] == "err"
        }

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
        trampoline = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*trampoline, program, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the caller alone
            )

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
        return lines[-1] if lines else "it said nothing."

    def _ask(self, path: str, values: dict[str, str]) -> Any:
        body = urllib.parse.urlencode(values).encode() if values else None
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", data=body, timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            said = json.load(error).get("error", error.reason)
            raise OpsError(f"Prometheus refuses {values.get('query', path)}: {said}") from error

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


def _free_port() -> int:
    with socket.create_server((ADDRESS, 0)) as listener:
        return int(listener.getsockname()[1])
