"""The options of the connection, the same for every subcommand."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable
from typing import Any, TypeAlias, get_args

from triptych._core.protocol import PRIORITY_LEVELS
from triptych._runtime.configuration import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, arguments_from_env
from triptych._transport.target import Carrier
from triptych._transport.tls import TLS
from triptych.cli.exit_codes import WrongUsage
from triptych.client import Client
from triptych.errors import InvalidInput

OpenClient: TypeAlias = Callable[..., Client]
"""`Client.from_env`, or a replacement of a test."""

# Triton's default port of HTTP; 8001, the default of every client, is the port of gRPC.
_DEFAULT_HTTP_TARGET = "127.0.0.1:8000"

# Bulk calls wait while interactive calls keep the server busy; the server's queues drop calls that wait longer.
_BULK_TIMEOUT_S = 60.0


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options; each default is that of the environment, then that of the client."""
    options = parser.add_argument_group("connection")
    options.add_argument(
        "--target",
        metavar="TARGET",
        help=f"the server: HOST:PORT, or a URL whose scheme sets transport and TLS (http, https, grpc, grpcs); "
        f"several servers as dns:///NAME:PORT or HOST:PORT,HOST:PORT (default: $TRIPTYCH_TARGET, otherwise "
        f"{DEFAULT_TARGET}, or {_DEFAULT_HTTP_TARGET} with --transport http)",
    )
    options.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help=f"longest wait for one answer (default: $TRIPTYCH_TIMEOUT_S, otherwise {DEFAULT_TIMEOUT_S:g}, or "
        f"{_BULK_TIMEOUT_S:g} for bulk)",
    )
    options.add_argument(
        "--priority",
        choices=tuple(PRIORITY_LEVELS),
        help="the server runs bulk calls when no interactive call waits (default: $TRIPTYCH_PRIORITY, otherwise bulk "
        "for embed, catalogue import and recognize --output, interactive for the others)",
    )
    options.add_argument(
        "--transport",
        choices=get_args(Carrier),
        help="default: $TRIPTYCH_TRANSPORT, otherwise that of the target's scheme, otherwise grpc",
    )
    options.add_argument("--tls", action="store_true", help="encrypt; trust the authorities of this machine")
    options.add_argument("--tls-ca", metavar="FILE", help="encrypt; trust these authorities (PEM)")
    options.add_argument("--tls-cert", metavar="FILE", help="this client's certificate (PEM), for mutual TLS")
    options.add_argument("--tls-key", metavar="FILE", help="its private key (PEM)")
    options.add_argument(
        "--api-key-file", metavar="FILE", help="file with name=value of a restricted API (default: $TRIPTYCH_API_KEY)"
    )


def add_catalogue_key_option(parser: argparse.ArgumentParser) -> None:
    """Adds the option of the commands that need the catalogue's key."""
    parser.add_argument(
        "--catalogue-key-file",
        metavar="FILE",
        help="file with the catalogue's key (default: $TRIPTYCH_CATALOGUE_KEY_FILE, $TRIPTYCH_CATALOGUE_KEY); "
        "`triptych serve` writes it to its state folder",
    )


def open_connection(
    arguments: argparse.Namespace, open_client: OpenClient, *, is_job: bool = False, **options: Any
) -> Client:
    """Opens the client that the options and the environment describe.

    Args:
        arguments: those of the command.
        open_client: creates the client.
        is_job: whether the default priority is bulk.
        options: further arguments of the client; None is the default.

    Raises:
        WrongUsage: an argument has a wrong value.
    """
    given = {"timeout_s": arguments.timeout, "transport": arguments.transport, **options}
    given["priority"] = arguments.priority or os.environ.get("TRIPTYCH_PRIORITY") or ("bulk" if is_job else None)
    if given["priority"] == "bulk" and arguments.timeout is None and "TRIPTYCH_TIMEOUT_S" not in os.environ:
        given["timeout_s"] = _BULK_TIMEOUT_S
    try:
        return open_client(
            target=target_of(arguments),
            **{name: value for name, value in given.items() if value is not None},
            **_tls(arguments),
            **_key("api_key", "the API key", arguments.api_key_file, "name=value"),
            **_key("catalogue_key", "the catalogue's key", _catalogue_key_file(arguments), "the key alone"),
        )
    except (InvalidInput, ModuleNotFoundError) as error:
        raise WrongUsage(str(error)) from error


def target_of(arguments: argparse.Namespace) -> str:
    """The target of the client."""
    target: str | None = arguments.target or os.environ.get("TRIPTYCH_TARGET")
    transport = arguments.transport or os.environ.get("TRIPTYCH_TRANSPORT")
    return target or (_DEFAULT_HTTP_TARGET if transport == "http" else DEFAULT_TARGET)


def _tls(arguments: argparse.Namespace) -> dict[str, TLS]:
    named = {
        "root_certificates": arguments.tls_ca,
        "certificate": arguments.tls_cert,
        "private_key": arguments.tls_key,
    }
    files = {role: path for role, path in named.items() if path is not None}
    if not (files or arguments.tls):
        return {}
    return {"tls": dataclasses.replace(arguments_from_env().get("tls") or TLS(), **files)}


def _catalogue_key_file(arguments: argparse.Namespace) -> str | None:
    """The file of the key, for the commands that have this option."""
    if "catalogue_key_file" not in arguments:
        return None
    path: str | None = arguments.catalogue_key_file or os.environ.get("TRIPTYCH_CATALOGUE_KEY_FILE")
    return path


def _key(argument: str, name: str, path: str | None, expected: str) -> dict[str, str]:
    if path is None:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            return {argument: file.read().strip()}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise WrongUsage(
            f"The file of {name} cannot be read: {path!r} ({reason}). Pass a file with {expected}."
        ) from error
