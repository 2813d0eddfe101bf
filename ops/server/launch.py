"""The server's command line and environment; starts the server, or another program, so that it ends with its parent."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ops.errors import WrongUsage
from ops.repository import models_folder
from ops.server.server_binary import PythonBackend, SystemServer, WheelServer
from ops.settings import ADDRESS, Ports, Settings

DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")


def server_options(settings: Settings, ports: Ports, segment_prefix: str) -> list[str]:
    options = [
        f"--model-repository={models_folder(settings.repository)}",
        "--exit-on-error=true",
        # Every config.pbtxt is complete, so Triton need not start each model twice: ready in 0.6 s instead of 2.0 s.
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


# Prefixes of the tritonserver options that name a file or a folder. Source: `tritonserver --help`, 2.51.0.
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
# Environment variables of the user in which the models find file names.
_FILE_VARIABLES = ("TRIPTYCH_CATALOGUE_WEAVIATE_KEY_FILE",)


def anchor_options(options: Sequence[str]) -> tuple[str, ...]:
    """Makes file names in the options absolute, because the server's working directory is not the user's."""
    return tuple(_anchor_option(option) for option in options)


def _anchor_option(option: str) -> str:
    for start in _FILE_OPTIONS:
        if option.startswith(start) and len(option) > len(start):
            return f"{start}{Path(option.removeprefix(start)).absolute()}"
    return option


def anchor_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Makes file names in environment variables absolute, as `anchor_options` does for options."""
    named = {name: str(Path(variables[name]).absolute()) for name in _FILE_VARIABLES if variables.get(name)}
    return {**variables, **named}


def refuse_open(options: Sequence[str]) -> None:
    """Raises:
    WrongUsage: these tritonserver options let other machines reach the server without TLS.
    """
    values = _last_values(options)
    has_tls = values.get("--grpc-use-ssl", "").lower() in ("true", "1")
    for name, address in find_exposed(options).items():
        if not (name == "grpc" and has_tls):
            raise WrongUsage(
                f"--{name}-address is {address or 'not set'}: other machines reach the server without encryption. "
                "Put a TLS proxy in front of it, or add --open-to-network in a trusted network."
            )


def find_exposed(options: Sequence[str]) -> dict[str, str]:
    """Returns the addresses that other machines reach, by service; an empty address is not set."""
    values = _last_values(options)
    addresses = {name: values.get(f"--{name}-address", "") for name in ("http", "grpc", "metrics")}
    return {name: address for name, address in addresses.items() if not is_loopback(address)}


def _last_values(options: Sequence[str]) -> dict[str, str]:
    return dict(option.partition("=")[::2] for option in options)  # tritonserver uses the last value of an option


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches the host; False for a name that does not resolve."""
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(address).is_loopback for address in addresses)


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


# glibc raises its threshold for mapped blocks to the largest block that was freed, up to 32 MB, and keeps one arena for
# each thread, so after one photo of 18 MB every arena holds memory. With these variables the server holds 60 MB less
# and returns the memory of a large request. The user's own values take precedence. The models' processes allocate the
# same buffers for every photo and set their own thresholds (triptych_models/triton/allocator.py).
ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "262144"}


def environment(
    backend: PythonBackend | None,
    folder: Path,
    temporary: Path,
    cache_mb: int,
    catalogue_dir: Path,
    catalogue_key_file: Path,
    inherited: Mapping[str, str],
) -> dict[str, str]:
    """Returns the server's environment; an installed server (`backend` None) finds its own libraries and Python.

    Args:
        backend: the Python backend prepared for the wheel's server.
        folder: parent of the package that the models import.
        temporary: folder of the recognizer's answer cache.
        cache_mb: size of the answer cache.
        catalogue_dir: the store of the models `index` and `catalogue`.
        catalogue_key_file: holds the key that allows writing to the store.
        inherited: environment variables of this process.
    """
    variables = {
        **ALLOCATOR,
        **anchor_variables(inherited),
        "TMPDIR": str(temporary),
        "TRIPTYCH_CACHE_MB": str(cache_mb),
        "TRIPTYCH_CATALOGUE_DIR": str(catalogue_dir),
        "TRIPTYCH_CATALOGUE_KEY_FILE": str(catalogue_key_file),
    }
    put_first(variables, "PYTHONPATH", [str(folder)])
    if backend is not None:
        put_first(variables, "LD_LIBRARY_PATH", [str(folder) for folder in backend.library_dirs])
        put_first(variables, "PATH", [str(backend.programs)])
    return variables


def put_first(variables: dict[str, str], name: str, folders: list[str]) -> None:
    """Puts the folders before those that the search path `name` already has."""
    already = [variables[name]] if variables.get(name) else []
    variables[name] = os.pathsep.join([*folders, *already])


def start(command: list[str], variables: dict[str, str], folder: Path, log_file: Path) -> subprocess.Popen[bytes]:
    """Starts a server in its own session, so that Ctrl-C reaches only the caller, which stops the server in order.

    Args:
        command: made by `command_line`.
        variables: the server's whole environment.
        folder: parent of the package that the models import, and working directory of the server: the interpreters
            of Triton 2.51's stubs are isolated, ignore PYTHONPATH and begin their path with the working directory.
        log_file: receives the server's output.
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
