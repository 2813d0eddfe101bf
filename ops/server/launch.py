"""The server's command line and environment; starts the server, or another program, so that it ends with its parent."""

from __future__ import annotations

import ipaddress
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ops.errors import WrongUsage
from ops.front.limits import Limits
from ops.front.settings import AccessLog, Address, Addresses, Certificates, Front
from ops.proxies import exempt_loopback
from ops.repository import models_folder
from ops.server.files.private_files import PRIVATE_FILE
from ops.server.server_binary import PythonBackend, SystemServer, WheelServer
from ops.settings import ADDRESS, Ports, Settings

# What a server offers, each on a port of its own.
SERVICES = ("http", "grpc", "metrics")
# In the state folder, where the front runs.
ACCESS_LOG = "access.log"
DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")


def server_options(settings: Settings, ports: Ports, segment_prefix: str) -> list[str]:
    """Returns the options of a server whose working directory is the parent of its folder `models`.

    Its folders are named relative to that: Triton's Python backend puts their names, unquoted, into the command line
    of a shell that starts each model's process, where a blank, a quote or a `$` would end or change the command.
    """
    options = [
        f"--model-repository={models_folder(Path())}",
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
    return [*options, *(option for option in settings.server_options if _name(option) not in _OPTIONS_OF_FRONT)]


def _name(option: str) -> str:
    return option.partition("=")[0]


# What the user says about the side that callers reach; Triton itself listens on loopback, without TLS.
_OPTIONS_OF_FRONT = frozenset(
    {
        "--http-address",
        "--grpc-address",
        "--metrics-address",
        "--grpc-use-ssl",
        "--grpc-use-ssl-mutual",
        "--grpc-server-cert",
        "--grpc-server-key",
        "--grpc-root-cert",
    }
)


def front_settings(settings: Settings, public: Ports, inner: Ports, admin: str, key: str) -> Front:
    """Returns the settings of the front.

    Args:
        settings: its `server_options` name other addresses and certificates, as tritonserver's own.
        public: the ports that callers know.
        inner: Triton's ports.
        admin: Unix socket of the front's administration.
        key: which Triton expects of each call.

    Raises:
        WrongUsage: an address does not resolve.
    """
    values = _last_values(settings.server_options)
    public_addresses = {
        name: Address(_resolve(name, values.get(f"--{name}-address", ADDRESS)), getattr(public, name))
        for name in SERVICES
    }
    return Front(
        listens=Addresses(**public_addresses),
        triton=Addresses(**{name: Address(ADDRESS, getattr(inner, name)) for name in SERVICES}),
        admin=admin,
        key=key,
        tls=_certificates(values),
        access_log=AccessLog(ACCESS_LOG, settings.access_log_percent) if settings.access_log_percent else None,
        limits=Limits(requests_per_s=settings.requests_per_s),
    )


def _resolve(name: str, host: str) -> str:
    try:
        return str(socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise WrongUsage(f"--{name}-address is {host}, which does not resolve: {error.strerror}.") from error


def _certificates(values: Mapping[str, str]) -> Certificates | None:
    if not _has_tls(values):
        return None
    is_mutual = _is_true(values.get("--grpc-use-ssl-mutual", ""))
    return Certificates(
        _file(values, "--grpc-server-cert"),
        _file(values, "--grpc-server-key"),
        _file(values, "--grpc-root-cert") if is_mutual else None,
    )


def _file(values: Mapping[str, str], option: str) -> Path:
    file = Path(values.get(option, ""))
    if not file.is_file():
        raise WrongUsage(f"TLS needs {option}, the name of a file in PEM; got {values.get(option, 'no such option')}.")
    return file


def _has_tls(values: Mapping[str, str]) -> bool:
    return any(_is_true(values.get(option, "")) for option in ("--grpc-use-ssl", "--grpc-use-ssl-mutual"))


def _is_true(value: str) -> bool:
    return value.lower() in ("true", "1")


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
    has_tls = _has_tls(_last_values(options))
    for name, address in find_exposed(options).items():
        if not (name == "grpc" and has_tls):
            raise WrongUsage(
                f"--{name}-address is {address or 'not set'}: other machines reach the server without encryption. "
                "Put a TLS proxy in front of it, or add --open-to-network in a trusted network."
            )


def refuse_unquoted(options: Sequence[str]) -> None:
    """Raises:
    WrongUsage: a folder of backends has a name that the shell in which Triton starts the models' processes would split.
    """
    name = "--backend-directory"
    folder = _last_values(options).get(name)
    if folder is not None and folder != shlex.quote(folder):
        raise WrongUsage(
            f"{name} is {folder!r}: Triton puts the name into a command without quoting it. Name a link to the folder "
            "that has only letters, digits and _ - . / in its name."
        )


def find_exposed(options: Sequence[str]) -> dict[str, str]:
    """Returns the addresses that other machines reach, by service; an empty address is not set."""
    values = _last_values(options)
    addresses = {name: values.get(f"--{name}-address", ADDRESS) for name in SERVICES}
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


def command_line(
    server: SystemServer | WheelServer, backend: PythonBackend | None, folder: Path, options: list[str]
) -> list[str]:
    """Returns the command of a server whose working directory is `folder`; see `server_options`."""
    command = [str(server.executable), *options]
    if backend is not None:
        command.append(f"--backend-directory={os.path.relpath(backend.backends, folder)}")
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
    restarts: int,
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
        restarts: of this server by its supervisor so far.
        inherited: environment variables of this process.
    """
    variables = {
        **ALLOCATOR,
        **exempt_loopback(anchor_variables(inherited)),
        "TMPDIR": str(temporary),
        "TRIPTYCH_CACHE_MB": str(cache_mb),
        "TRIPTYCH_CATALOGUE_DIR": str(catalogue_dir),
        "TRIPTYCH_CATALOGUE_KEY_FILE": str(catalogue_key_file),
        "TRIPTYCH_RESTARTS": str(restarts),
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
    descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    with open(descriptor, "wb") as log:
        return subprocess.Popen(
            [*trampoline, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=variables,
            cwd=folder,
            start_new_session=True,
        )
