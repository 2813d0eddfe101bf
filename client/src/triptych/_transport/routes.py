"""The route to a server: directly, or through the HTTP proxy that the environment names. Opens no connection.

gRPC core reads `grpc_proxy`, `https_proxy`, `http_proxy` (the first that is set; an empty value means no proxy), then
`no_grpc_proxy` or `no_proxy`. It would send loopback through the proxy too, send a list of addresses as one name, and
log an unusable value with its password. So the client reads the variables by the same rules and tells gRPC the result.
HTTP uses no proxy. Source: grpc/src/core/handshaker/http_connect/http_proxy_mapper.cc, tried on grpcio 1.85.
"""

from __future__ import annotations

import ipaddress
import os
import platform
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from triptych._core.protocol import TransportError

_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTION_VARIABLES = ("no_grpc_proxy", "no_proxy", "NO_PROXY")
_UNREAD = ("all_proxy",)
# What gRPC core parses as a URL of a proxy; credentials have only the characters of RFC 3986.
_PROXY = re.compile(
    r"http://(?P<user>[A-Za-z0-9._~!$&'()*+,;=:%-]+@)?(?P<place>(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?)/?"
)
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
# Messages of gRPC about the way to the server, not from it.
_ON_THE_WAY = re.compile(
    r"failed to connect|connections to all backends|errors resolving|socket closed|connection reset|broken pipe",
    re.IGNORECASE,
)
_TAIL = re.compile(r"(?:\]|\.|: ok)+$", re.IGNORECASE)


@dataclass
class Route:
    """The route to one target.

    Attributes:
        proxy: URL of the proxy, with its credentials; None connects directly.
        note: the route for an error message, without credentials; empty where nothing is worth a word.
        is_local: whether every address of the target is of this machine.
        has_answered: whether a server has answered on this route.
    """

    proxy: str | None = None
    note: str = ""
    is_local: bool = False
    has_answered: bool = False

    def options(self) -> list[tuple[str, Any]]:
        """The channel options of gRPC for this route."""
        if self.proxy is not None:
            return [("grpc.http_proxy", self.proxy)]
        options: list[tuple[str, Any]] = [("grpc.enable_http_proxy", 0)]
        # GRPC_ADDRESS_HTTP_PROXY, a second kind of proxy, ignores the first option.
        return [*options, ("grpc.address_http_proxy_enabled_addresses", "")] if self.is_local else options

    def failure(self, status: str, detail: str) -> TransportError:
        """The failure of a call; one on the way to the server names the proxy.

        A deadline that passes before the first answer through a proxy is no slow server, but no connection.
        """
        if status == "DEADLINE_EXCEEDED" and self.proxy is not None and not self.has_answered:
            return TransportError("UNAVAILABLE", f"no answer in time, {self.note}")
        if status == "UNAVAILABLE" and _ON_THE_WAY.search(detail):
            return TransportError(status, self.annotated(detail))
        self.has_answered = self.has_answered or status != "DEADLINE_EXCEEDED"
        return TransportError(status, detail)

    def annotated(self, detail: str) -> str:
        """The message of a failed connection, followed by the route."""
        return f"{_TAIL.sub('', detail)}, {self.note}" if self.note else detail


def grpc_route(address: str, environment: Mapping[str, str] = os.environ) -> Route:
    """The route to a gRPC address in the syntax of gRPC's name resolution."""
    hosts = _hosts(address)
    if all(map(is_local, hosts)):
        return Route(is_local=True)
    variable = next((name for name in _PROXY_VARIABLES if name in environment), None)
    if variable is None:
        return Route(note=_about_unread(environment))
    if not environment[variable]:
        return Route()
    if any(_is_excepted(host, environment) for host in hosts):
        return Route()
    if len(hosts) > 1:
        return Route(note=f"connected directly, because gRPC sends no list of addresses through a proxy ({variable})")
    match = _PROXY.fullmatch(environment[variable])
    if match is None:
        return Route(note=f"connected directly, because {variable} is no URL of the form http://HOST:PORT")
    note = f"through the proxy http://{match['place']} ({variable}); no_proxy={hosts[0]} connects directly"
    return Route(f"http://{match['user'] or ''}{match['place']}", note)


def http_route(address: str, environment: Mapping[str, str] = os.environ) -> Route:
    """The route to an HTTP address, a URL: always directly."""
    if is_local(urlsplit(address).hostname or ""):
        return Route(is_local=True)
    named = _set_variables(environment, ("https_proxy", "http_proxy", *_UNREAD))
    return Route(note=f"connected directly, because HTTP calls use no proxy ({named[0]})" if named else "")


def is_local(host: str) -> bool:
    """Whether a host name or address is of this machine: loopback, or the machine's own name. Asks no name server."""
    name = host.strip("[]").partition("%")[0].rstrip(".").lower()
    if name in (*_LOCAL_NAMES, platform.node().lower()) or name.endswith(".localhost"):
        return True
    try:
        ip = ipaddress.ip_address(name)
    except ValueError:
        try:
            ip = ipaddress.ip_address(socket.inet_aton(name))  # short forms, 127.1 for example
        except OSError:
            return False
    mapped = getattr(ip, "ipv4_mapped", None) or ip
    # The system connects to the unspecified address over loopback.
    return bool(mapped.is_loopback or mapped.is_unspecified)


def _hosts(address: str) -> list[str]:
    """The hosts of a gRPC address; a Unix socket is of this machine."""
    scheme, separator, rest = address.partition(":")
    if not separator or scheme not in ("dns", "ipv4", "ipv6", "unix"):
        return [_host(address)]
    if scheme == "unix":
        return ["localhost"]
    path = rest.split("/", 3)[-1] if rest.startswith("//") else rest  # behind the name server, if one is named
    return [_host(entry) for entry in unquote(path).split(",")]


def _host(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _is_excepted(host: str, environment: Mapping[str, str]) -> bool:
    """Whether the environment excepts a host from the proxy.

    As gRPC core does it: an entry is the end of the name, or a network, 10.0.0.0/8 for example. Besides, `*` stands for
    every host, as for other programs.
    """
    text = next((environment[name] for name in _EXCEPTION_VARIABLES if name in environment), "")
    for entry in filter(None, text.split(",")):
        entry = entry.strip()
        if host.lower().endswith(entry.removeprefix("*").lower()):
            return True
        if "/" in entry:
            try:
                if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                    return True
            except ValueError:
                continue
    return False


def _about_unread(environment: Mapping[str, str]) -> str:
    """A hint at a variable that other programs read and gRPC does not."""
    named = _set_variables(environment, (*_PROXY_VARIABLES, *_UNREAD))
    if not named:
        return ""
    name = named[0].lower()
    return f"connected directly, because gRPC does not read {name}{'' if name in _UNREAD else ' in capitals'}"


def _set_variables(environment: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """The variables of these names, in any letter case, that have a value."""
    return [name for name, value in environment.items() if value and name.lower() in names]
