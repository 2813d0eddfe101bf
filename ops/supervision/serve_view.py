"""The output of `serve`: progress and log lines on stderr, endpoints and example requests on stdout."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from loky import cpu_count
from rich.console import Console

from ops.release import FAULTS_SHOWN, find_changes
from ops.repository import describe_misfit, describe_sizing
from ops.server.logs import LogLine, LogSummary
from ops.server.state import StateFolder
from ops.settings import ROOT, LogLevel, Ports, Settings
from ops.supervision.supervisor_log import SupervisorLog

SAMPLE_PHOTOS = ROOT / ".cache/photos"

_COLOURS = {"error": "red", "warning": "yellow", "info": "default", "verbose": "dim"}


class ServeView:
    """Prints progress and log lines; outside a terminal, without colour and spinner."""

    def __init__(self, log_level: LogLevel, *, quiet: bool) -> None:
        self._log_level = log_level
        self._quiet = quiet
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)
        self._spinner = self._errors.status("Starting the server")
        self._started_s = time.monotonic()
        self._shown_models: set[str] = set()
        self._held: list[LogLine] = []
        self._is_starting = True
        self._is_unread = False
        self._log: SupervisorLog | None = None

    def __enter__(self) -> ServeView:
        if not self._quiet and self._errors.is_terminal:
            self._spinner.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._spinner.stop()

    def show_log(self, lines: list[LogLine], summary: LogSummary) -> None:
        shown = [line for line in lines if line.is_shown(self._log_level)]
        if self._is_starting and self._log_level in ("error", "warning"):
            self._held += shown  # a failed start is reported in one sentence instead of Triton's page of log lines
        else:
            self._print_lines(shown)
        if self._is_starting and not self._quiet:
            self._show_progress(summary)

    def end_start(self) -> None:
        """Shows the warnings of the start and ends the spinner; call it once the server is ready."""
        self._is_starting = False
        self._spinner.stop()
        self._print_lines(self._held)
        self._held = []

    def _print_lines(self, lines: list[LogLine]) -> None:
        for line in lines:
            self._print(str(line), style=_COLOURS[line.level])

    def _print(self, text: str, style: str | None = None) -> None:
        if not self._is_unread:
            try:
                self._errors.print(text, style=style, markup=False)
            except (OSError, SystemExit):  # rich makes SystemExit of a closed pipe; the server serves on
                self._is_unread = True

    def keep_log(self, log: SupervisorLog) -> None:
        """Writes later sentences to the log too."""
        self._log = log

    def note(self, sentence: str) -> None:
        """Writes a sentence to the supervisor's log alone."""
        if self._log is not None:
            self._log.write(sentence)

    def say(self, sentence: str) -> None:
        self.note(sentence)
        if not self._quiet:
            self._print(sentence)

    def warn(self, sentence: str) -> None:
        """Prints the sentence even with --quiet."""
        self.note(sentence)
        self._print(sentence)

    def show(self, lines: list[str]) -> None:
        """Prints lines to standard output."""
        if not self._quiet:
            try:
                print("\n".join(lines), flush=True)
            except OSError:  # see `_print`
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _show_progress(self, summary: LogSummary) -> None:
        elapsed_s = time.monotonic() - self._started_s
        for model in summary.loaded:
            if model not in self._shown_models:
                self._shown_models.add(model)
                self._print(f"{elapsed_s:5.1f} s  {model} loaded")
        waiting = [model for model in summary.loading if model not in summary.loaded]
        self._spinner.update(f"{elapsed_s:.0f} s  loading {', '.join(waiting) or '...'}")


def describe_endpoints(ports: Ports) -> list[str]:
    return [f"gRPC     {ports.grpc_target}", f"HTTP     {ports.http_url}", f"metrics  {ports.metrics_url}"]


def describe_start(
    settings: Settings, ports: Ports, models: list[str], ready_after_s: float, log_file: str
) -> list[str]:
    cores = cpu_count()
    lines = [
        f"Ready after {ready_after_s:.1f} s, on {cores} {'core' if cores == 1 else 'cores'}.",
        *(f"  {line}" for line in describe_endpoints(ports)),
        f"  models   {', '.join(models)}",
        f"  sizing   {describe_sizing(settings.repository, settings.profile)}",
        f"  cache    {f'{settings.cache_mb} MB for repeated photos' if settings.cache_mb else 'off'}",
        *describe_catalogue(settings, models),
        f"  log      {log_file}",
        *describe_requests(ports, models, settings.server_options),
    ]
    if settings.key is not None:
        lines.append(f"  signature {settings.key}")
    changes = find_changes(settings.repository)
    if changes:
        lines.append(f"warning: Since it was verified, {', '.join(changes[:FAULTS_SHOWN])}.")
    misfit = describe_misfit(settings.repository, settings.profile)
    if misfit is not None:
        lines.append(f"warning: {misfit}")
    return lines


def describe_catalogue(settings: Settings, models: list[str]) -> list[str]:
    """Returns the lines with the catalogue's folder and the file with its key."""
    if "catalogue" not in models or settings.state_dir is None:
        return []
    state = StateFolder(settings.state_dir.absolute())
    return [
        f"  catalogue {settings.catalogue_dir or state.catalogue}",
        f"    key     {state.catalogue_key_file}",
    ]


def describe_requests(ports: Ports, models: list[str], server_options: Sequence[str] = ()) -> list[str]:
    """Returns example requests that run as they are: with paths for programs not on PATH, and an existing photo.

    Of gRPC with TLS, only the reader knows the authority that the certificate is from, and a certificate of their own.
    """
    if "recognizer" not in models:
        return []
    program, python = (_as_typed(Path(sys.executable).with_name(name)) for name in ("triptych", "python"))
    photo = _as_typed(next(iter(sorted(SAMPLE_PHOTOS.glob("*.jpg"))), Path("PHOTO")))
    over_grpc = [
        f"  {program} recognize {photo} --target {ports.grpc_target}",
        f'  {python} -c \'from triptych import Client; print(Client("{ports.grpc_target}").recognize("{photo}").top)\'',
    ]
    options = dict(option.partition("=")[::2] for option in server_options)
    is_mutual = options.get("--grpc-use-ssl-mutual", "").lower() in ("true", "1")
    if is_mutual or options.get("--grpc-use-ssl", "").lower() in ("true", "1"):
        own = " --tls-cert CLIENT.pem --tls-key CLIENT.key" if is_mutual else ""
        over_grpc = [
            f"  {program} recognize {photo} --target grpcs://{ports.grpc_target} --tls-ca CA.pem{own}",
            f"  (CA.pem: the authority of {options.get('--grpc-server-cert', 'the certificate')}, or a self-signed one "
            "itself; HOST instead of 127.0.0.1 if the certificate is for a name)",
        ]
    return [
        "Recognize a photo:",
        *over_grpc,
        "The same over plain HTTP; the answer is a JSON header, then raw numbers:",
        f"  curl --data-binary @{photo} -H 'Inference-Header-Content-Length: 0' "
        f"{ports.http_url}/v2/models/recognizer/infer -o answer.bin",
    ]


def _as_typed(path: Path) -> str:
    """Returns the shortest form that works here: the name if on PATH, else a relative path, else an absolute one."""
    if shutil.which(path.name) == str(path):
        return path.name
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
