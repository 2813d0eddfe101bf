"""Parses Triton's log: lines for display, loaded models, failures. Must not touch files except in `LogReader`."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from ops.settings import LOG_LEVELS, LogLevel

_PLACE = r" \d+ [\w.-]+:\d+\] ?(?P<message>.*)$"
_RECORDS = (
    re.compile(r"^\d{4}-\d\d-\d\dT(?P<time>\d\d:\d\d:\d\d)Z (?P<level>[IWEF])" + _PLACE),
    # The format of a model's process until it has received the server's --log-format.
    re.compile(r"^(?P<level>[IWEF])\d{4} (?P<time>\d\d:\d\d:\d\d)\.\d+" + _PLACE),
)
_LEVELS: dict[str, LogLevel] = {"I": "info", "W": "warning", "E": "error", "F": "error"}
_TABLE = re.compile(r"^\s*[|+]")
# Messages of a server built for GPUs on a machine without one; they are not shown there.
_NO_GPU = re.compile(
    r"CUDA driver version is insufficient|no pinned memory pool|CudaDriverHelper has not been|DCGM unable to start"
    r"|CUDA memory pool disabled|^Error: Failed to initialize NVML"
)
_LOADING = re.compile(r"^loading: (.+):\d+$")
_LOADED = re.compile(r"^successfully loaded '(.+)'$")
_UNLOADED = re.compile(r"^successfully unloaded '(.+)' version \d+$")
_NOTHING_IN_FLIGHT = "All models are stopped"
_CONNECTIONS = re.compile(r"^Timeout \d+: Found \d+ HTTP service connections")
_FAILED = re.compile(r"^failed to load '(.+)' version \d+: (.*)$", re.DOTALL)
_UNREADABLE_CONFIG = re.compile(r"^Poll failed for model directory '(.+)': (.*)$", re.DOTALL)
_STUB_GAVE_UP = re.compile(r"^Failed to preinitialize Python stub: (.*)$", re.DOTALL)
_PROTOBUF = re.compile(r"^\[libprotobuf ERROR .*?\] Error parsing text-format [\w.]+: (.*)$")
_STATUS = re.compile(r"^(Internal|Invalid argument|Unavailable|Not found|Unsupported|Unknown|Already exists): ")
_CONSEQUENCE = re.compile(r"contains models that are not available|depends on|dependent")


ERRORS_KEPT = 50  # a server may run for months
# Of the lines that a program ends with, without time: what it refuses, or a crash.
PLAIN_KEPT = 3
_USAGE = "Usage: tritonserver"


@dataclass(frozen=True)
class LogLine:
    """One line of the server, or with an empty time_of_day of another program that writes to the same file."""

    level: LogLevel
    message: str
    time_of_day: str = ""

    def is_shown(self, level: LogLevel) -> bool:
        return LOG_LEVELS.index(self.level) <= LOG_LEVELS.index(level)

    def __str__(self) -> str:
        return f"{self.time_of_day or ' ' * 8} {self.level:<7}  {self.message}"


@dataclass(frozen=True)
class LoadFailure:
    """Why one model did not load; `model` is empty when the log does not name it."""

    model: str
    reason: str


def parse_line(text: str, *, has_gpu: bool = False) -> LogLine | None:
    """Parses one line of Triton's log; returns None for tables, blank lines and messages about a missing GPU."""
    text = text.rstrip("\r\n")
    if not text.strip() or _TABLE.match(text):
        return None
    if not has_gpu and _NO_GPU.search(text):
        return None
    for record in filter(None, (pattern.match(text) for pattern in _RECORDS)):
        message = record["message"].strip()
        return LogLine(_LEVELS[record["level"]], _unquote(message), record["time"]) if message else None
    is_error = text.startswith(("error:", "[libprotobuf ERROR"))
    return LogLine("error" if is_error else "info", text)


def _unquote(message: str) -> str:
    if not (message.startswith('"') and message.endswith('"') and len(message) > 1):
        return message
    try:
        return str(json.loads(message.replace("\\'", "'")))
    except ValueError:
        return message[1:-1]


@dataclass
class LogSummary:
    """Summary of the lines so far: models by state, failures and errors in order, progress of a stop.

    Attributes:
        is_unloading: after SIGTERM, Triton has found no request in flight.
        waits_for_connections: the last line counts HTTP connections that are still open.
        error_times_s: monotonic time at which each of `errors` was read.
        plain: the last lines without time after the last line with one; headings and indented lines are left out.
        shows_usage: the server has printed its options, because it does not take those that it got.
    """

    loading: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    unloaded: list[str] = field(default_factory=list)
    failures: list[LoadFailure] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    config_complaint: str = ""
    is_unloading: bool = False
    waits_for_connections: bool = False
    error_times_s: list[float] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    shows_usage: bool = False

    def add(self, line: LogLine) -> None:
        for pattern, names in ((_LOADING, self.loading), (_LOADED, self.loaded), (_UNLOADED, self.unloaded)):
            found = pattern.match(line.message)
            if found and found[1] not in names:
                names.append(found[1])
        self._add_failure(line.message)
        self.is_unloading = self.is_unloading or line.message.startswith(_NOTHING_IN_FLIGHT)
        self.waits_for_connections = bool(_CONNECTIONS.search(line.message)) and not self.is_unloading
        if line.level == "error":
            self.errors.append(line.message)
            self.error_times_s.append(time.monotonic())
            del self.errors[:-ERRORS_KEPT], self.error_times_s[:-ERRORS_KEPT]
        self._add_plain(line)

    def _add_plain(self, line: LogLine) -> None:
        text = line.message
        self.shows_usage = self.shows_usage or text.startswith(_USAGE)
        if line.time_of_day:
            self.plain = []
        elif text[:1].strip() and not text.endswith(":") and not text.startswith(_USAGE):
            self.plain.append(text)
            del self.plain[:-PLAIN_KEPT]

    def errors_since(self, time_s: float) -> list[str]:
        """Returns the errors that were read after a monotonic time."""
        return [error for error, at_s in zip(self.errors, self.error_times_s, strict=True) if at_s >= time_s]

    def _add_failure(self, message: str) -> None:
        complaint = _PROTOBUF.match(message)
        failed, unreadable, gave_up = (
            pattern.match(message) for pattern in (_FAILED, _UNREADABLE_CONFIG, _STUB_GAVE_UP)
        )
        if complaint:
            self.config_complaint = f" ({complaint[1]})"
        elif failed:
            self.failures.append(LoadFailure(failed[1], _first_words(failed[2])))
        elif unreadable:
            self.failures.append(LoadFailure(unreadable[1], unreadable[2] + self.config_complaint))
            self.config_complaint = ""
        elif gave_up:
            self.failures.append(LoadFailure("", gave_up[1]))

    def causes(self) -> list[LoadFailure]:
        """Returns the failures that are not consequences of another failure."""
        first = [failure for failure in self.failures if not _CONSEQUENCE.search(failure.reason)]
        return first or self.failures


def _first_words(reason: str) -> str:
    """Returns the message without status code and trace; adds file and line unless the model raised the error."""
    sentence, _, trace = _STATUS.sub("", reason).partition("\n\nAt:")
    if sentence.startswith("TritonModelException: "):
        return sentence.removeprefix("TritonModelException: ").strip()
    place = re.search(r"^\s+(\S+\.py)\((\d+)\)", trace, re.MULTILINE)
    return f"{sentence.strip()} ({place[1]} line {place[2]})" if place else sentence.strip()


class LogReader:
    """Reads a log file while another process writes it.

    Attributes:
        offset: bytes read so far.
    """

    def __init__(self, log_file: Path, *, has_gpu: bool) -> None:
        self.log_file = log_file
        self.summary = LogSummary()
        self._has_gpu = has_gpu
        self.offset = 0
        self._rest = b""

    def read_new(self) -> list[LogLine]:
        """Returns the complete lines written since the last call; none once somebody has removed the file."""
        try:
            with self.log_file.open("rb") as log:
                log.seek(self.offset)
                chunk = log.read()
        except FileNotFoundError:
            return []
        self.offset += len(chunk)
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        lines = [parse_line(raw.decode("utf-8", "replace"), has_gpu=self._has_gpu) for raw in whole]
        known = [line for line in lines if line is not None]
        for line in known:
            self.summary.add(line)
        return known
