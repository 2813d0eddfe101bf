"""`python -m ops check`: everything that can be known to go wrong before, or while, a server serves. Starts nothing."""

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

from ops.errors import OpsError
from ops.exposure import APIS, check_exposure, is_loopback
from ops.launch import server_options
from ops.objectives import read_objectives
from ops.ports import choose_ports
from ops.repository import check_repository, list_models, models_folder, read_config
from ops.server_binary import SystemServer, find_server
from ops.settings import ADDRESS, Ports, Settings
from ops.shared_memory import SHARED_MEMORY
from ops.sizing import describe_misfit

Level = Literal["ok", "warning", "error"]
# What the Python backend gives each of its processes to begin with; seen on 2.51.0.
SEGMENT_BYTES = 2**20
WHEEL_RELEASE = "24.10"  # what nvidia-pytriton 0.7.0 holds: Triton 2.51.0
PYTHONS = ((3, 10), (3, 12))


@dataclass(frozen=True)
class Finding:
    """Attributes:
    subject: what was looked at, in a word or two.
    sentence: what was found; `fix`: what to do, empty where nothing is to be done.
    """

    level: Level
    subject: str
    sentence: str
    fix: str = ""


def check(settings: Settings, url: str | None) -> int:
    """Prints a line a finding; 1 when one of them is an error, else 0."""
    findings = examine(settings) if url is None else [Finding(*parts) for parts in check_exposure(url)]
    for finding in findings:
        print(f"{finding.level:<8} {finding.subject:<14} {finding.sentence} {finding.fix}".rstrip())
    return 1 if any(finding.level == "error" for finding in findings) else 0


def examine(settings: Settings) -> list[Finding]:
    """Every finding about what `serve` would serve with these settings."""
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
    """Whether the repository would load: configs parse, code, steps and named files are there."""
    broken = [_parse_error(config) for config in sorted(models_folder(repository).glob("*/**/*.pbtxt"))]
    mistakes = [Finding("error", "repository", sentence, "Correct it.") for sentence in broken if sentence]
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
        return f"{config.parent.name}/{config.name} cannot be read: {error}."
    return None


def _incomplete(model: Path, config: Any, models: list[str]) -> list[tuple[str, str]]:
    if config.platform == "ensemble":
        steps = [step.model_name for step in config.ensemble_scheduling.step]
        return [
            (f"{model.name} has a step {step}, which is not in the repository.", "Add it, or correct the name.")
            for step in steps
            if step not in models
        ]
    versions = [folder for folder in model.iterdir() if folder.is_dir() and folder.name.isdecimal()]
    if not versions:
        return [(f"{model.name} has no version folder.", "Expected a folder 1 with the model in it.")]
    return [
        (f"{model.name}/{folder.name} has no model.py, which its Python backend runs.", "Restore it.")
        for folder in versions
        if config.backend == "python" and not (folder / "model.py").is_file()
    ]


def check_weights(repository: Path) -> list[Finding]:
    """Whether the placed files are those that were verified."""
    manifest = repository / "manifest.json"
    again = "Place them again with `make export`."
    try:
        digests: dict[str, str] = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return [Finding("warning", "weights", f"{manifest} does not say which files were verified.", again)]
    missing = [name for name in digests if not (repository / name).is_file()]
    changed = [name for name in digests if name not in missing and _digest(repository / name) != digests[name]]
    if missing:
        return [Finding("error", "weights", f"Missing: {', '.join(missing)}.", again)]
    if changed:
        return [Finding("error", "weights", f"Not what was verified: {', '.join(changed)}.", again)]
    return [Finding("ok", "weights", f"{len(digests)} files as they were verified.")]


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def check_hardware(repository: Path, profile: str | None) -> list[Finding]:
    """Whether the profile fits the cores seen here, and no model alone wants more than there are."""
    misfit = describe_misfit(repository, profile)
    if misfit is not None:
        return [Finding("warning", "cores", misfit)]
    cores = cpu_count()
    greedy = []
    for model in list_models(repository):
        config = read_config(models_folder(repository) / model, profile)
        threads = _threads(config)
        if threads > cores:
            greedy.append(
                Finding(
                    "warning",
                    "cores",
                    f"{model} runs {threads} threads on {cores} cores: every photo gets slower.",
                    "Lower its instance_group count or intra_op_threads, or serve the cpu profile.",
                )
            )
    return greedy or [Finding("ok", "cores", f"The profile {profile or 'of config.pbtxt'} fits {cores} cores.")]


def _threads(config: Any | None) -> int:
    if config is None or config.backend != "python":
        return 0
    each = config.parameters["intra_op_threads"].string_value if "intra_op_threads" in config.parameters else "1"
    count: int = sum(group.count for group in config.instance_group)
    return count * int(each)


def check_shared_memory(
    repository: Path, profile: str | None, folder: Path = SHARED_MEMORY, free_bytes: int | None = None
) -> list[Finding]:
    """Whether the largest requests fit: each process grows to the largest one it has seen, and stays."""
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
    sentence = f"{_mib(free_bytes)} free in {folder}; {processes} processes with the largest requests at once take "
    if free_bytes < processes * SEGMENT_BYTES + largest_bytes:
        return [
            Finding("error", "shared memory", f"{sentence}{_mib(needed_bytes)}, one of them already too much.", fix)
        ]
    if free_bytes < needed_bytes:
        return [Finding("warning", "shared memory", f"{sentence}{_mib(needed_bytes)}.", fix)]
    return [Finding("ok", "shared memory", f"{sentence}{_mib(needed_bytes)}.")]


def _is_behind_fused(repository: Path, model: str, profile: str | None) -> bool:
    """Whether the model is a step that callers do not reach, because `recognizer` is fused."""
    folder = models_folder(repository) / "recognizer"
    recognizer = read_config(folder, profile) if folder.is_dir() else None
    return model != "recognizer" and recognizer is not None and recognizer.backend == "python"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"


def check_ports(settings: Settings) -> list[Finding]:
    """Whether the ports can be had."""
    try:
        choose_ports(settings.http_port, settings.grpc_port, settings.metrics_port)
    except OpsError as error:
        return [Finding("error", "ports", str(error))]
    ports = [port or "a free one" for port in (settings.http_port, settings.grpc_port, settings.metrics_port)]
    return [Finding("ok", "ports", f"HTTP {ports[0]}, gRPC {ports[1]}, metrics {ports[2]} on {ADDRESS}.")]


def check_versions(repository: Path) -> list[Finding]:
    """Whether server, Python and its packages go together, and the rules are rendered for this server."""
    found: list[Finding] = []
    low, high = PYTHONS
    running = sys.version_info[:2]
    if not low <= running <= high:
        sentence = f"Python {running[0]}.{running[1]} runs the models; 3.10 to 3.12 are supported."
        found.append(Finding("error", "versions", sentence, "Choose one: `make setup PYTHON=python3.12`."))
    try:
        numpy = version("numpy")
        if int(numpy.partition(".")[0]) > 1:
            found.append(
                Finding(
                    "error", "versions", f"numpy {numpy}: 2.51's stub dies on photos with numpy 2.", "`make setup`."
                )
            )
        server = find_server(repository)
        rendered_for = read_objectives(repository).server.release
    except (OpsError, PackageNotFoundError) as error:
        return [*found, Finding("error", "versions", f"{error}")]
    release = os.environ.get("NVIDIA_TRITON_SERVER_VERSION", "") if isinstance(server, SystemServer) else WHEEL_RELEASE
    if release and release != rendered_for:
        sentence = f"The server is of release {release}; the rules are rendered for {rendered_for}."
        fix = f"Set server.release in ops/slo.yaml, or `python -m ops render --release {release}`."
        found.append(Finding("warning", "versions", sentence, fix))
    sentence = (
        f"{server.executable.name} {release or 'of unknown release'}, Python {running[0]}.{running[1]}, numpy {numpy}."
    )
    return found or [Finding("ok", "versions", sentence)]


def check_access(settings: Settings) -> Finding:
    """Who could reach what `serve` starts, and what they could do; a server that runs is asked with --url."""
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
        sentence = f"`serve` listens on {ADDRESS} alone; who may change its models needs the key in its state folder."
        return Finding("ok", "access", sentence)
    return Finding("ok", "access", f"Other machines reach {' and '.join(reached)}; {', '.join(APIS)} want a key.")
