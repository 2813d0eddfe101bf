"""Checks models, weights, cores, shared memory, ports, versions and access before a server starts. Starts nothing."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from google.protobuf import text_format
from loky import cpu_count
from tritonclient.grpc import model_config_pb2

from ops.check.exposure import APIS, check_exposure
from ops.errors import OpsError
from ops.observability.slo.objectives import read_objectives
from ops.repository import check_repository, describe_misfit, list_models, models_folder, read_config
from ops.server.launch import is_loopback, server_options
from ops.server.ports import choose_ports
from ops.server.processes import SHARED_MEMORY
from ops.server.server_binary import SystemServer, find_server
from ops.settings import ADDRESS, Ports, Settings

Level = Literal["ok", "warning", "error"]
# Initial shared-memory segment of each Python process; observed on Triton 2.51.0.
SEGMENT_BYTES = 2**20
WHEEL_RELEASE = "24.10"  # nvidia-pytriton 0.7.0 holds Triton 2.51.0
PYTHONS = ((3, 10), (3, 12))


@dataclass(frozen=True)
class Finding:
    """Attributes:
    subject: the checked thing, in one or two words.
    sentence: the finding.
    fix: the next step; empty when none is needed.
    """

    level: Level
    subject: str
    sentence: str
    fix: str = ""


def check(settings: Settings, url: str | None) -> int:
    """Prints one line for each finding; returns 1 when a finding is an error, else 0."""
    findings = examine(settings) if url is None else [Finding(*parts) for parts in check_exposure(url)]
    for finding in findings:
        print(f"{finding.level:<8} {finding.subject:<14} {finding.sentence} {finding.fix}".rstrip())
    return 1 if any(finding.level == "error" for finding in findings) else 0


def examine(settings: Settings) -> list[Finding]:
    """Returns every finding about a server with these settings."""
    return [
        *check_models(settings.repository, settings.profile),
        *check_weights(settings.repository),
        *check_hardware(settings.repository, settings.profile),
        *check_shared_memory(settings.repository, settings.profile),
        *check_ports(settings),
        *check_versions(settings.repository),
        check_access(settings),
    ]


def check_models(repository: Path, profile: str | None) -> list[Finding]:
    """Checks whether the repository would load: configs parse; code, steps and named files exist."""
    broken = [_parse_error(config) for config in sorted(models_folder(repository).glob("*/**/*.pbtxt"))]
    mistakes = [Finding("error", "repository", sentence, "Correct the file.") for sentence in broken if sentence]
    if mistakes:
        return mistakes
    try:
        check_repository(repository, profile)
    except OpsError as error:
        return [Finding("error", "repository", str(error))]
    models = list_models(repository)
    for model in models:
        folder = models_folder(repository) / model
        config = read_config(folder, profile)
        mistakes += [Finding("error", "repository", *mistake) for mistake in _incomplete(folder, config, models)]
    return mistakes or [Finding("ok", "repository", f"{len(models)} models: {', '.join(models)}.")]


def _parse_error(config: Path) -> str | None:
    try:
        text_format.Parse(config.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        return f"{config.parent.name}/{config.name} cannot be parsed: {error}."
    return None


def _incomplete(model: Path, config: Any, models: list[str]) -> list[tuple[str, str]]:
    if config.platform == "ensemble":
        steps = [step.model_name for step in config.ensemble_scheduling.step]
        return [
            (f"{model.name} has the step {step}, which the repository lacks.", "Add the model, or correct the name.")
            for step in steps
            if step not in models
        ]
    versions = [folder for folder in model.iterdir() if folder.is_dir() and folder.name.isdecimal()]
    if not versions:
        return [(f"{model.name} has no version folder.", "Create a folder 1 that holds the model.")]
    return [
        (f"{model.name}/{folder.name} has no model.py, which the Python backend runs.", "Restore the file.")
        for folder in versions
        if config.backend == "python" and not (folder / "model.py").is_file()
    ]


def check_weights(repository: Path) -> list[Finding]:
    """Checks whether the placed files are the verified ones."""
    manifest = repository / "manifest.json"
    again = "Place them again with `make build`."
    try:
        digests: dict[str, str] = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return [Finding("warning", "weights", f"{manifest} does not list the verified files.", again)]
    missing = [name for name in digests if not (repository / name).is_file()]
    changed = [name for name in digests if name not in missing and _digest(repository / name) != digests[name]]
    if missing:
        return [Finding("error", "weights", f"Missing: {', '.join(missing)}.", again)]
    if changed:
        return [Finding("error", "weights", f"Changed since the verification: {', '.join(changed)}.", again)]
    return [Finding("ok", "weights", f"{len(digests)} files are unchanged since the verification.")]


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def check_hardware(repository: Path, profile: str | None) -> list[Finding]:
    """Checks whether the profile fits the available cores, and whether a single model exceeds them."""
    misfit = describe_misfit(repository, profile)
    if misfit is not None:
        return [Finding("warning", "cores", misfit)]
    cores = cpu_count()
    oversized = []
    for model in list_models(repository):
        config = read_config(models_folder(repository) / model, profile)
        threads = _threads(config)
        if threads > cores:
            oversized.append(
                Finding(
                    "warning",
                    "cores",
                    f"{model} runs {threads} threads on {cores} cores, which slows down every photo.",
                    "Lower its instance_group count or intra_op_threads, or use --profile cpu.",
                )
            )
    return oversized or [Finding("ok", "cores", f"The profile {profile or 'of config.pbtxt'} fits {cores} cores.")]


def _threads(config: Any | None) -> int:
    if config is None or config.backend != "python":
        return 0
    each = config.parameters["intra_op_threads"].string_value if "intra_op_threads" in config.parameters else "1"
    count: int = sum(group.count for group in config.instance_group)
    return count * int(each)


def check_shared_memory(
    repository: Path, profile: str | None, folder: Path = SHARED_MEMORY, free_bytes: int | None = None
) -> list[Finding]:
    """Checks whether the largest requests fit: each process keeps the segment of its largest request so far."""
    processes, photos_bytes, largest_bytes = 0, 0, 0
    for model in list_models(repository):
        config = read_config(models_folder(repository) / model, profile)
        if config is None or config.backend != "python":
            continue
        count = sum(group.count for group in config.instance_group)
        processes += count
        if "max_image_bytes" in config.parameters and not _is_behind_fused(repository, model, profile):
            limit_bytes = int(config.parameters["max_image_bytes"].string_value)
            request_bytes = max(1, config.max_batch_size) * limit_bytes
            photos_bytes += count * request_bytes
            largest_bytes = max(largest_bytes, request_bytes)
    if free_bytes is None:
        status = os.statvfs(folder)
        free_bytes = status.f_bavail * status.f_frsize
    needed_bytes = processes * SEGMENT_BYTES + photos_bytes
    fix = "Docker: --shm-size=1g; Kubernetes: a memory volume at /dev/shm."
    sentence = f"{_mib(free_bytes)} free in {folder}; {processes} processes with the largest requests at once need "
    if free_bytes < processes * SEGMENT_BYTES + largest_bytes:
        return [
            Finding(
                "error", "shared memory", f"{sentence}{_mib(needed_bytes)}. One such request is already too large.", fix
            )
        ]
    if free_bytes < needed_bytes:
        return [Finding("warning", "shared memory", f"{sentence}{_mib(needed_bytes)}.", fix)]
    return [Finding("ok", "shared memory", f"{sentence}{_mib(needed_bytes)}.")]


def _is_behind_fused(repository: Path, model: str, profile: str | None) -> bool:
    """Returns whether callers do not reach the model, because `recognizer` is fused and does its work."""
    folder = models_folder(repository) / "recognizer"
    recognizer = read_config(folder, profile) if folder.is_dir() else None
    return model != "recognizer" and recognizer is not None and recognizer.backend == "python"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"


def check_ports(settings: Settings) -> list[Finding]:
    """Checks whether the ports are free."""
    try:
        choose_ports(settings.http_port, settings.grpc_port, settings.metrics_port)
    except OpsError as error:
        return [Finding("error", "ports", str(error))]
    ports = [port or "free" for port in (settings.http_port, settings.grpc_port, settings.metrics_port)]
    return [Finding("ok", "ports", f"HTTP {ports[0]}, gRPC {ports[1]}, metrics {ports[2]} on {ADDRESS}.")]


def check_versions(repository: Path) -> list[Finding]:
    """Checks whether server, Python and packages are compatible, and whether the rules are for this server."""
    found: list[Finding] = []
    low, high = PYTHONS
    running = sys.version_info[:2]
    if not low <= running <= high:
        sentence = f"Python {running[0]}.{running[1]} would run the models; expected 3.10 to 3.12."
        found.append(Finding("error", "versions", sentence, "Run `make setup PYTHON=python3.12`."))
    try:
        numpy = version("numpy")
        if int(numpy.partition(".")[0]) > 1:
            found.append(
                Finding(
                    "error",
                    "versions",
                    f"numpy {numpy} ends the stub of Triton 2.51 on photos; expected numpy 1.",
                    "Run `make setup`.",
                )
            )
        server = find_server(repository)
        rendered_for = read_objectives(repository).server.release
    except (OpsError, PackageNotFoundError) as error:
        return [*found, Finding("error", "versions", f"{error}")]
    release = os.environ.get("NVIDIA_TRITON_SERVER_VERSION", "") if isinstance(server, SystemServer) else WHEEL_RELEASE
    if release and release != rendered_for:
        sentence = f"The server has release {release}; the rules are rendered for {rendered_for}."
        fix = f"Set server.release in ops/slo.yaml, or run `triptych render --release {release}`."
        found.append(Finding("warning", "versions", sentence, fix))
    sentence = (
        f"{server.executable.name} {release or 'of unknown release'}, Python {running[0]}.{running[1]}, numpy {numpy}."
    )
    return found or [Finding("ok", "versions", sentence)]


def check_access(settings: Settings) -> Finding:
    """Checks who could reach a server with these settings; --url checks a running server instead."""
    ports = Ports(http=settings.http_port, grpc=settings.grpc_port, metrics=settings.metrics_port)
    options = server_options(settings, ports, "check_")
    reached = [
        name
        for name in ("http", "grpc")
        if not is_loopback(
            [option.partition("=")[2] for option in options if option.startswith(f"--{name}-address=")][-1]
        )
    ]
    if not reached:
        sentence = f"`serve` listens only on {ADDRESS}; changing its models needs the key in its state folder."
        return Finding("ok", "access", sentence)
    return Finding("ok", "access", f"Other machines reach {' and '.join(reached)}; {', '.join(APIS)} need a key.")
