"""The checked arguments of a client: one value that `Client` and `AsyncClient` build from the same arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from triptych._core.deadline import check_timeout
from triptych._core.protocol import PRIORITY_LEVELS, SOURCES, Priority, Source
from triptych._core.retry import Retry
from triptych._core.session import Options, Session
from triptych._transport.connection import Auth, Balance, Connection, check_headers, parse_api_key
from triptych._transport.interface import Headers, HeaderSource
from triptych._transport.target import Carrier, is_ip_address, resolve_target
from triptych._transport.tls import TLS
from triptych.errors import InvalidInput

if TYPE_CHECKING:
    from triptych._core.session import Observer

DEFAULT_TARGET = "127.0.0.1:8001"
DEFAULT_TIMEOUT_S = 10.0
DEFAULT_MAX_IN_FLIGHT = 32
DEFAULT_RETRY = Retry()


@dataclass(frozen=True)
class Configuration:
    """The configuration of a client: connection, options, headers, metrics, permitted URLs, catalogue key."""

    connection: Connection
    options: Options
    header_sources: tuple[HeaderSource, ...] = field(repr=False)
    metrics: Observer | None
    private_urls: bool
    catalogue_key: str | None = field(default=None, repr=False)

    def new_session(self) -> Session:
        """The state that the calls of one client share."""
        observers = () if self.metrics is None else (self.metrics,)
        target = self.connection.target
        has_others = "," in target or not is_ip_address(target)
        return Session(target, observers, catalogue_key=self.catalogue_key, has_others=has_others)

    def headers(self) -> Headers:
        """The headers of a call. Raises `InvalidInput` for a header that cannot be sent."""
        headers = {name: value for source in self.header_sources for name, value in source().items()}
        check_headers(headers)
        return headers


def configure(
    target: str,
    *,
    timeout_s: float,
    retry: Retry,
    max_in_flight: int,
    channels: int,
    tls: TLS | None,
    auth: Auth | None,
    api_key: str | None,
    balance: Balance,
    transport: Carrier | None,
    shared_memory: bool,
    private_urls: bool,
    metrics: Observer | None,
    tracing: bool,
    catalogue_key: str | None = None,
    priority: Priority | None = None,
    source: Source | None = None,
) -> Configuration:
    """Checks the arguments of a client.

    Raises:
        InvalidInput: an argument has a wrong type or value.
        ModuleNotFoundError: the extra that an argument needs is not installed.
    """
    sources: list[HeaderSource] = []
    if auth is not None:
        sources.append(_auth_source(auth))
    if tracing:
        from triptych.tracing import trace_headers

        sources.append(trace_headers)
    carrier, tls = resolve_target(target, transport, tls)
    connection = Connection(target, carrier, channels, tls, balance, parse_api_key(api_key), shared_memory)
    return Configuration(
        connection,
        checked_options(Options(timeout_s, retry, max_in_flight, priority, source)),
        tuple(sources),
        metrics,
        private_urls,
        catalogue_key,
    )


def checked_options(options: Options) -> Options:
    """Returns the options; raises `InvalidInput` for wrong values."""
    check_timeout(options.timeout_s)
    if not isinstance(options.retry, Retry):
        raise InvalidInput(f"retry is {options.retry!r}; expected a Retry. Pass Retry(tries=1) for no retries.")
    most = options.max_in_flight
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise InvalidInput(f"max_in_flight is {most!r}; expected a whole number of photos, at least 1.")
    if options.priority not in (None, *PRIORITY_LEVELS):
        raise InvalidInput(f"priority is {options.priority!r}; expected {' or '.join(map(repr, PRIORITY_LEVELS))}.")
    if options.source not in (None, *SOURCES):
        raise InvalidInput(f"source is {options.source!r}; expected {', '.join(map(repr, SOURCES))}.")
    return options


def arguments_from_env(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The arguments of a client from the environment; README.md lists the variables.

    Raises:
        InvalidInput: a value cannot be parsed.
    """
    names = {"target": "TARGET", "transport": "TRANSPORT", "api_key": "API_KEY", "balance": "BALANCE"}
    names["priority"] = "PRIORITY"
    names["source"] = "SOURCE"
    names["catalogue_key"] = "CATALOGUE_KEY"
    named = {argument: environment.get(f"TRIPTYCH_{name}") for argument, name in names.items()}
    arguments: dict[str, Any] = {argument: value for argument, value in named.items() if value is not None}
    if "TRIPTYCH_TIMEOUT_S" in environment:
        try:
            arguments["timeout_s"] = float(environment["TRIPTYCH_TIMEOUT_S"])
        except ValueError as error:
            raise InvalidInput(
                f"TRIPTYCH_TIMEOUT_S is {environment['TRIPTYCH_TIMEOUT_S']!r}; expected seconds, 10 for example."
            ) from error
    if "TRIPTYCH_TOKEN" in environment:
        arguments["auth"] = {"authorization": f"Bearer {environment['TRIPTYCH_TOKEN']}"}
    files = {
        field_name: environment[f"TRIPTYCH_TLS_{name}"]
        for field_name, name in (("root_certificates", "CA"), ("certificate", "CERT"), ("private_key", "KEY"))
        if f"TRIPTYCH_TLS_{name}" in environment
    }
    if files or environment.get("TRIPTYCH_TLS") == "1":
        arguments["tls"] = TLS(**files, server_name=environment.get("TRIPTYCH_TLS_SERVER_NAME"))
    return arguments


def _auth_source(auth: Auth) -> HeaderSource:
    if callable(auth):
        return auth
    if not isinstance(auth, Mapping):
        raise InvalidInput(
            f"auth is a {type(auth).__name__}; expected headers, or a function that returns them. "
            "Pass {'authorization': 'Bearer ...'}, for example."
        )
    headers = dict(auth)
    return lambda: headers
