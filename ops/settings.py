"""The settings of one local server, built once by the command line and passed on; the workspace's paths."""

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
# `triptych build` sizes this profile for the cores of the machine.
DEFAULT_PROFILE = "cpu"


@dataclass(frozen=True)
class Settings:
    """A port of 0 chooses a free port.

    Attributes:
        repository: the model repository to serve, which holds the folder `models`; see `ops.repository`.
        profile: Triton's `--model-config-name`: Triton uses `configs/<profile>.pbtxt` of each model that has one, else
            `config.pbtxt`; None uses `config.pbtxt` for all models.
        cache_mb: size of the recognizer's answer cache; 0 turns the cache off.
        catalogue_dir: folder of the catalogue store; None is `catalogue` in the state folder.
        log_level: the least severe log line shown; the log file always holds `info` and above.
        trace_to: OTLP/HTTP URL of an OpenTelemetry collector; None turns tracing off.
        trace_rate: one request in this many is traced, and every request with a `traceparent`.
        state_dir: folder of state and log, one for each server; None creates a temporary folder for this run.
        drain_timeout_s: how long a stop waits for requests in flight before it sends SIGTERM.
        exit_timeout_s: how long the server may take to unload; Triton takes whole seconds.
        restart: whether `serve` restarts a server that ended unexpectedly.
        key: file of the public key that a release must be signed with; None checks no signature.
        require_signature: whether a start without `key` is refused.
        requests_per_s: answered at most over each of HTTP and gRPC; 0 is no limit.
        access_log_percent: of the requests, written as lines of JSON to `access.log` in the state folder.
        open_to_network: whether other machines may reach the server without TLS.
        server_options: additional tritonserver options, passed last: "--grpc-use-ssl=true".
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
    restart: bool = True
    key: Path | None = None
    require_signature: bool = False
    requests_per_s: int = 0
    access_log_percent: float = 0.0
    open_to_network: bool = False
    server_options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ports:
    """The ports that a server listens on, all different, none 0."""

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
