"""The server's command line and environment, and the one place that starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.python_backend import PythonBackend
from ops.repository import models_folder
from ops.server_binary import SystemServer, WheelServer
from ops.settings import ADDRESS, Ports, Settings

DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")


@dataclass(frozen=True)
class Catalogue:
    """Where the models `index` and `catalogue` find the store, and the key of who may write to it."""

    folder: Path
    key_file: Path


def server_options(settings: Settings, ports: Ports, segment_prefix: str) -> list[str]:
    options = [
        f"--model-repository={models_folder(settings.repository)}",
        "--exit-on-error=true",
        # config.pbtxt is whole, so no model need be started twice to ask it for more: ready in 0.6 s instead of 2.0 s.
        "--disable-auto-complete-config",
        f"--exit-timeout-secs={settings.exit_timeout_s}",
        f"--http-address={ADDRESS}",
        f"--http-port={ports.http}",
        f"--grpc-address={ADDRESS}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-address={ADDRESS}",
        f"--metrics-port={ports.metrics}",
        "--metrics-config=summary_latencies=true",
        "--log-format=ISO8601",
        f"--backend-config=python,shm-region-prefix-name={segment_prefix}",
    ]
    if settings.profile is not None:
        options.append(f"--model-config-name={settings.profile}")
    if settings.log_level == "verbose":
        options.append("--log-verbose=1")
    if settings.trace_to is not None:
        options += _trace_options(settings.trace_to, settings.trace_rate)
    return [*options, *settings.server_options]


# What begins an option of tritonserver that names a file or a folder. Source: its `--help`, 2.51.0.
_FILE_OPTIONS = (
    "--grpc-server-cert=",
    "--grpc-server-key=",
    "--grpc-root-cert=",
    "--log-file=",
    "--trace-file=",
    "--trace-config=triton,file=",
    "--backend-directory=",
    "--repoagent-directory=",
    "--cache-directory=",
)
# Variables that the models read the names of files from, as the user has set them.
_FILE_VARIABLES = ("TRIPTYCH_CATALOGUE_WEAVIATE_KEY_FILE",)


def anchor_options(options: Sequence[str]) -> tuple[str, ...]:
    """Makes the files that they name absolute: the server's working directory is not the user's."""
    return tuple(_anchor_option(option) for option in options)


def _anchor_option(option: str) -> str:
    for start in _FILE_OPTIONS:
        if option.startswith(start) and len(option) > len(start):
            return f"{start}{Path(option.removeprefix(start)).absolute()}"
    return option


def anchor_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """As `anchor_options` does."""
    named = {name: str(Path(variables[name]).absolute()) for name in _FILE_VARIABLES if variables.get(name)}
    return {**variables, **named}


def _trace_options(collector_url: str, rate: int) -> list[str]:
    values = (
        "mode=opentelemetry",
        f"opentelemetry,url={collector_url}",
        "opentelemetry,resource=service.name=triptych",
        f"rate={rate}",
        "level=TIMESTAMPS",
    )
    return [f"--trace-config={value}" for value in values]


def command_line(server: SystemServer | WheelServer, backend: PythonBackend | None, options: list[str]) -> list[str]:
    command = [str(server.executable), *options]
    if backend is not None:
        command.append(f"--backend-directory={backend.backends}")
    return command


# glibc raises its threshold for mapped blocks to the largest that was freed, up to 32 MB, and keeps an arena a thread:
# after one photo of 18 MB each arena holds on to its share. With these the server keeps 60 MB less, and what a large
# request took is given back. Whoever sets them keeps theirs. The models' processes, which make the same buffers for
# every photo, choose their thresholds for themselves (triptych_models/triton/allocator.py).
ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "262144"}


def environment(
    backend: PythonBackend | None,
    folder: Path,
    temporary: Path,
    cache_mb: int,
    catalogue: Catalogue,
    inherited: Mapping[str, str],
) -> dict[str, str]:
    """What the server inherits; an installed server (`backend` None) knows its own libraries and Python.

    Args:
        backend: that was prepared for the wheel's server.
        folder: holds the package that the models import.
        temporary: the recognizer keeps its answer cache there.
        cache_mb: size of that cache.
        catalogue: where the catalogue is kept.
        inherited: variables of this process.
    """
    variables = {
        **ALLOCATOR,
        **anchor_variables(inherited),
        "TMPDIR": str(temporary),
        "TRIPTYCH_CACHE_MB": str(cache_mb),
        "TRIPTYCH_CATALOGUE_DIR": str(catalogue.folder),
        "TRIPTYCH_CATALOGUE_KEY_FILE": str(catalogue.key_file),
    }
    _put_first(variables, "PYTHONPATH", [str(folder)])
    if backend is not None:
        _put_first(variables, "LD_LIBRARY_PATH", [str(folder) for folder in backend.library_dirs])
        _put_first(variables, "PATH", [str(backend.programs)])
    return variables


def _put_first(variables: dict[str, str], name: str, folders: list[str]) -> None:
    already = [variables[name]] if variables.get(name) else []
    variables[name] = os.pathsep.join([*folders, *already])


def start(command: list[str], variables: dict[str, str], folder: Path, log_file: Path) -> subprocess.Popen[bytes]:
    """Starts the server in a session of its own, so that Ctrl-C reaches the caller alone, who drains first.

    Args:
        command: made by `command_line`.
        variables: its whole environment.
        folder: holds the package that the models import. It is the working directory, because the interpreters of
            2.51's stubs are isolated: they ignore PYTHONPATH and begin their path with the working directory.
        log_file: gets what it prints.
    """
    trampoline = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]
    with log_file.open("wb") as log:
        return subprocess.Popen(
            [*trampoline, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=variables,
            cwd=folder,
            start_new_session=True,
        )
