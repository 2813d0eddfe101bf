"""Checks what would keep a server from starting, or from being safe, before it starts; or the access to a running one.

Starts nothing and makes nothing. Must not import `ops.cli`.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from google.protobuf import text_format
from loky import cpu_count
from tritonclient.grpc import model_config_pb2

from ops.check_machine import (
    check_damage,
    check_disk,
    check_memory,
    check_packages,
    check_paths,
    check_proxies,
    check_state_folder,
    find_own_server,
)
from ops.errors import OpsError, WrongUsage
from ops.finding import Finding
from ops.observability.slo.objectives import read_objectives
from ops.release import find_faults, find_release, verify
from ops.repository import (
    check_repository,
    count_instances,
    describe_misfit,
    list_models,
    models_folder,
    read_config,
    read_python_models,
)
from ops.server.launch import find_exposed, is_loopback
from ops.server.ports import choose_ports
from ops.server.probe import ask
from ops.server.processes import SHARED_MEMORY
from ops.server.server_binary import SystemServer, find_server
from ops.server.state import StateFolder
from ops.settings import ADDRESS, STATE_DIR, Settings

# Initial shared-memory segment of each Python process; observed on Triton 2.51.0.
SEGMENT_BYTES = 2**20
WHEEL_RELEASE = "24.10"  # nvidia-pytriton 0.7.0 holds Triton 2.51.0
PYTHONS = ((3, 10), (3, 12))
# APIs that change the server or read more than answers, by their names in --http-restricted-api.
APIS = {
    "model-repository": ("POST", "/v2/repository/index"),
    "shared-memory": ("GET", "/v2/systemsharedmemory/status"),
    "trace": ("GET", "/v2/trace/setting"),
    "logging": ("GET", "/v2/logging"),
}


def check(settings: Settings, url: str | None) -> int:
    """Prints one line for each finding; returns 1 when a finding is an error, else 0."""
    findings = examine(settings) if url is None else check_exposure(url)
    for finding in findings:
        print(f"{finding.level:<8} {finding.subject:<14} {finding.sentence} {finding.fix}".rstrip())
    return 1 if any(finding.level == "error" for finding in findings) else 0


def examine(settings: Settings) -> list[Finding]:
    """Returns every finding about a server with these settings; beside one's own server, not about a start."""
    state_dir = settings.state_dir or STATE_DIR
    own = find_own_server(state_dir)
    is_running = own is not None and StateFolder(state_dir.absolute()).is_supervised()
    found = [
        *([own] if own is not None else []),
        *check_models(settings.repository, settings.profile),
        *check_weights(settings.repository),
        *check_hardware(settings.repository, settings.profile),
        *check_versions(settings.repository),
        *check_packages(),
        check_proxies(os.environ),
        check_access(settings),
    ]
    if is_running:  # it has the ports and the memory
        return found
    return [
        *found,
        *check_shared_memory(settings.repository, settings.profile),
        *check_ports(settings),
        check_memory(settings.repository, settings.profile),
        check_disk(state_dir, settings.cache_mb),
        check_state_folder(state_dir),
        *check_paths(settings, state_dir),
        *check_damage(state_dir),
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
    """Checks whether the placed files are the verified ones; of a release, all that `triptych verify` checks."""
    if (release := find_release(repository)) is not None:
        faults = verify(release.folder, None)
        if faults:
            return [Finding("error", "release", " ".join(faults), "Download or make the release again.")]
        return [Finding("ok", "release", f"{release.name}: {len(release.files)} files match the manifest.")]
    manifest = repository / "manifest.json"
    again = "Place them again with `make build`."
    try:
        digests: dict[str, str] = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return [Finding("warning", "weights", f"{manifest} does not list the verified files.", again)]
    faults = find_faults(repository, digests)
    if faults:
        return [Finding("error", "weights", f"Since the verification, {', '.join(faults)}.", again)]
    return [Finding("ok", "weights", f"{len(digests)} files are unchanged since the verification.")]


def check_hardware(repository: Path, profile: str | None) -> list[Finding]:
    """Checks whether the profile fits the available cores, and whether a single model exceeds them."""
    misfit = describe_misfit(repository, profile)
    if misfit is not None:
        return [Finding("warning", "cores", misfit)]
    cores = cpu_count()
    oversized = [
        Finding(
            "warning",
            "cores",
            f"{model} runs {threads} threads on {cores} cores, which slows down every photo.",
            "Lower its instance_group count or intra_op_threads, or use --profile cpu.",
        )
        for model, config in read_python_models(repository, profile).items()
        if (threads := count_instances(config) * int(config.parameters["intra_op_threads"].string_value or 1)) > cores
    ]
    return oversized or [Finding("ok", "cores", f"The profile {profile or 'of config.pbtxt'} fits {cores} cores.")]


def check_shared_memory(repository: Path, profile: str | None, free_bytes: int | None = None) -> list[Finding]:
    """Checks whether the largest requests fit: each process keeps the segment of its largest request so far."""
    models = read_python_models(repository, profile)
    processes_bytes = sum(map(count_instances, models.values())) * SEGMENT_BYTES
    photos_bytes = largest_bytes = 0
    # A fused `recognizer` does the work of the other models, so callers reach no other.
    for config in [models["recognizer"]] if "recognizer" in models else models.values():
        limit_bytes = int(config.parameters["max_image_bytes"].string_value or 0)
        request_bytes = max(1, config.max_batch_size) * limit_bytes
        photos_bytes += count_instances(config) * request_bytes
        largest_bytes = max(largest_bytes, request_bytes)
    if free_bytes is None:
        status = os.statvfs(SHARED_MEMORY)
        free_bytes = status.f_bavail * status.f_frsize
    needed_bytes = processes_bytes + photos_bytes
    sentence = (
        f"{_mib(free_bytes)} free in {SHARED_MEMORY}; {processes_bytes // SEGMENT_BYTES} processes with the largest "
        f"requests at once need {_mib(needed_bytes)}."
    )
    if free_bytes >= needed_bytes:
        return [Finding("ok", "shared memory", sentence)]
    fix = "Docker: --shm-size=1g; Kubernetes: a memory volume at /dev/shm."
    if free_bytes >= processes_bytes + largest_bytes:
        return [Finding("warning", "shared memory", sentence, fix)]
    return [Finding("error", "shared memory", f"{sentence} One such request is already too large.", fix)]


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
    exposed = find_exposed(settings.server_options)
    reached = [name for name in ("http", "grpc") if name in exposed]
    if not reached:
        sentence = f"`serve` listens only on {ADDRESS}; changing its models needs the key in its state folder."
        return Finding("ok", "access", sentence)
    return Finding("ok", "access", f"Other machines reach {' and '.join(reached)}; {', '.join(APIS)} need a key.")


def check_exposure(url: str) -> list[Finding]:
    """Returns findings about the server at `http://HOST:PORT`.

    Raises:
        WrongUsage: the URL has another form.
    """
    address = urlsplit(url)
    try:
        port = address.port
    except ValueError:
        port = None
    if address.scheme != "http" or address.hostname is None or port is None:
        raise WrongUsage(f"--url is {url}; expected http://HOST:PORT, the HTTP endpoint of a server.")
    status, body = ask("GET", port, "/v2", host=address.hostname)
    if status == 0:
        return [Finding("error", "server", f"{url} does not answer.", "Start the server, or correct --url.")]
    if status != http.client.OK:
        sentence = f"{url} answers {status} to /v2: another program, or a server that requires a key."
        return [Finding("error", "server", sentence)]
    about = json.loads(body)
    found = Finding("ok", "server", f"{about.get('name')} {about.get('version')} answers.")
    open_apis = [
        api
        for api, (method, path) in APIS.items()
        if ask(method, port, path, host=address.hostname)[0] == http.client.OK
    ]
    if not open_apis:
        return [found, Finding("ok", "access", f"Restricted: {', '.join(APIS)}.")]
    sentence = f"Everyone who reaches {url} can use {', '.join(open_apis)} without a key."
    if is_loopback(address.hostname):
        return [found, Finding("ok", "access", f"{sentence} Only this machine reaches it.")]
    closed = f"{','.join(open_apis)}:KEY=VALUE"
    flags = f"--http-restricted-api={closed} and --grpc-restricted-protocol={closed}"
    fix = f"Start the server with {flags}: an open control API allows running code."
    return [found, Finding("error", "access", sentence, fix)]
