"""What one local server is started with: built once at the edge and passed on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

LogLevel = Literal["error", "warning", "info", "verbose"]
LOG_LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)

ADDRESS = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = ROOT / "model_repository"
STATE_DIR = ROOT / ".run"
# `python -m export place` writes it for the cores of the machine.
DEFAULT_PROFILE = "cpu"


@dataclass(frozen=True)
class Settings:
    """A port of 0 means a free one.

    Attributes:
        repository: the model repository to serve, the folder that holds `models`; see `ops.repository`.
        profile: Triton's `--model-config-name`: a model's `configs/<profile>.pbtxt`, or its `config.pbtxt` where it has
            none; None is `config.pbtxt` for all.
        cache_mb: size of the recognizer's answer cache; 0 turns it off.
        catalogue_dir: where the catalogue is kept; None is `catalogue` in the state folder.
        log_level: the least severe log line shown; the log file always has `info`.
        trace_to: OTLP/HTTP address of an OpenTelemetry collector; None is no tracing.
        trace_rate: one request of so many is traced; one that comes with a `traceparent` always is.
        state_dir: where state and log are kept, one server a folder; None is a temporary folder of this run's own.
        drain_timeout_s: how long a stop waits for requests in flight before the server is told.
        exit_timeout_s: how long the server may take to unload; whole seconds, because Triton counts those.
        restarts: how often `serve` starts a server that died by itself anew, within 10 minutes.
        open_to_network: whether other machines may reach it without TLS.
        server_options: further options of tritonserver, after all others: "--grpc-use-ssl=true".
    """

    repository: Path = REPOSITORY
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    profile: str | None = DEFAULT_PROFILE
    cache_mb: int = 64
    catalogue_dir: Path | None = None
    log_level: LogLevel = "warning"
    trace_to: str | None = None
    trace_rate: int = 1
    state_dir: Path | None = None
    startup_timeout_s: float = 120.0
    drain_timeout_s: float = 5.0
    exit_timeout_s: int = 10
    restarts: int = 5
    open_to_network: bool = False
    server_options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ports:
    """The ports a server listens on, all different, none 0."""

    http: int
    grpc: int
    metrics: int

    @property
    def http_url(self) -> str:
        return f"http://{ADDRESS}:{self.http}"

    @property
    def grpc_target(self) -> str:
        return f"{ADDRESS}:{self.grpc}"

    @property
    def metrics_url(self) -> str:
        return f"http://{ADDRESS}:{self.metrics}/metrics"
