"""The options that say which server and how to get in, the same for every subcommand."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable
from typing import Any, TypeAlias, get_args

from triptych.client import Client
from triptych.command.exits import WrongUsage
from triptych.configuration import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, arguments_from_env
from triptych.connection import TLS, Carrier
from triptych.errors import InvalidInput
from triptych.protocol import PRIORITY_LEVELS

OpenClient: TypeAlias = Callable[..., Client]
"""`Client.from_env`, or what a test puts in its place."""

# Triton's own default; 8001, the default of every client, speaks gRPC.
_DEFAULT_HTTP_TARGET = "127.0.0.1:8000"

# A job may have to wait for as long as shoppers keep the server busy; a server's queues drop what waits longer.
_BULK_TIMEOUT_S = 60.0


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Each default is the environment's, then the client's."""
    options = parser.add_argument_group("connection")
    options.add_argument(
        "--target",
        metavar="HOST:PORT",
        help=f"the server; several as dns:///NAME:PORT or HOST:PORT,HOST:PORT (default: $TRIPTYCH_TARGET, else "
        f"{DEFAULT_TARGET}, over http {_DEFAULT_HTTP_TARGET})",
    )
    options.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help=f"longest wait for one answer (default: $TRIPTYCH_TIMEOUT_S, else {DEFAULT_TIMEOUT_S:g}, and "
        f"{_BULK_TIMEOUT_S:g} for bulk)",
    )
    options.add_argument(
        "--priority",
        choices=tuple(PRIORITY_LEVELS),
        help="bulk is served when nobody interactive waits (default: $TRIPTYCH_PRIORITY, else bulk for embed, "
        "catalogue import and recognize --output, interactive for all else)",
    )
    options.add_argument("--transport", choices=get_args(Carrier), help="default: $TRIPTYCH_TRANSPORT, else grpc")
    options.add_argument("--tls", action="store_true", help="encrypt, trusting the authorities of this machine")
    options.add_argument("--tls-ca", metavar="FILE", help="encrypt, trusting these authorities (PEM)")
    options.add_argument("--tls-cert", metavar="FILE", help="this client's certificate (PEM), for mutual TLS")
    options.add_argument("--tls-key", metavar="FILE", help="its private key (PEM)")
    options.add_argument(
        "--api-key-file", metavar="FILE", help="file that holds name=value of a restricted API (else $TRIPTYCH_API_KEY)"
    )


def add_catalogue_key_option(parser: argparse.ArgumentParser) -> None:
    """For what only keepers of the catalogue may."""
    parser.add_argument(
        "--catalogue-key-file",
        metavar="FILE",
        help="file that holds the catalogue's key (else $TRIPTYCH_CATALOGUE_KEY_FILE, $TRIPTYCH_CATALOGUE_KEY); of "
        "`ops serve` it is in the state folder",
    )


def open_connection(
    arguments: argparse.Namespace, open_client: OpenClient, *, is_job: bool = False, **options: Any
) -> Client:
    """The client that the options and the environment describe; raises `WrongUsage` where there is none.

    Args:
        arguments: the command's.
        open_client: makes it.
        is_job: the command's photos may wait, unless the caller says otherwise.
        options: further arguments of the client; None is as if not given.
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
    """Where the client goes."""
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
    """Only for the commands that take one."""
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
            f"The file of {name} cannot be read: {path!r} ({reason}). Pass a file that holds {expected}."
        ) from error
