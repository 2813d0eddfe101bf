"""Targets: the addresses and URLs that name a server, and what they say about transport and TLS. Opens no connection.

A target is HOST:PORT, a list of them, a name of gRPC's resolver (`dns:///name:port`), or a URL: its scheme names the
transport and whether the connection is encrypted.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, get_args
from urllib.parse import SplitResult, urlsplit

from triptych._transport.tls import TLS
from triptych.errors import InvalidInput

Carrier = Literal["grpc", "http"]

# Scheme of a URL -> transport, and whether the connection is encrypted.
_SCHEMES: dict[str, tuple[Carrier, bool]] = {
    "grpc": ("grpc", False),
    "grpcs": ("grpc", True),
    "http": ("http", False),
    "https": ("http", True),
}
# Source: https://github.com/grpc/grpc/blob/master/doc/naming.md
_RESOLVERS = ("dns:", "ipv4:", "ipv6:", "unix:")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

_GRPC_EXAMPLES = (
    "Pass for example 127.0.0.1:8001, grpcs://shop.example:443, dns:///triptych-headless.shop:8001 or "
    "10.0.0.7:8001,10.0.0.8:8001."
)
_HTTP_EXAMPLES = "Pass for example 127.0.0.1:8000, https://shop.example or 10.0.0.7:8000,10.0.0.8:8000."


def resolve_target(target: str, transport: Carrier | None, tls: TLS | None) -> tuple[Carrier, TLS | None]:
    """The transport and TLS of a connection: those given, otherwise those of the target's scheme, otherwise gRPC.

    Raises:
        InvalidInput: the scheme is unknown, or contradicts `transport` or `tls`.
    """
    if transport not in (None, *get_args(Carrier)):
        raise InvalidInput(f"transport is {transport!r}; expected {' or '.join(map(repr, get_args(Carrier)))}.")
    scheme = _scheme_of(target) if isinstance(target, str) else None
    if scheme is None:
        return transport or "grpc", tls
    carrier, is_encrypted = _SCHEMES[scheme]
    if transport not in (None, carrier):
        raise InvalidInput(
            f"The target {_shown(target)} has the scheme {scheme}, but transport is {transport!r}; expected "
            f"transport={carrier!r}. Change one of them, or leave transport out: the scheme sets it."
        )
    if tls is not None and not is_encrypted:
        raise InvalidInput(
            f"The target {_shown(target)} is not encrypted ({scheme}://), but tls was given; expected {scheme}s://. "
            "Change the scheme, or leave tls out."
        )
    return carrier, TLS() if is_encrypted and tls is None else tls


def check_target(target: str, carrier: Carrier, tls: TLS | None = None) -> None:
    """Raises `InvalidInput` for a target that the transport cannot use."""
    if not isinstance(target, str) or not (":" in target or (carrier == "http" and "://" in target)):
        raise InvalidInput(f"The target is {target!r}; expected host and port of a server. {_GRPC_EXAMPLES}")
    if carrier == "http":
        http_addresses(target, tls)
    else:
        grpc_address(target)


def is_ip_address(target: str) -> bool:
    """Whether the target is a single IP address; a name may stand for several servers."""
    try:
        ipaddress.ip_address(urlsplit(target if "://" in target else f"//{target}").hostname or "")
    except ValueError:
        return False
    return True


def grpc_address(target: str) -> str:
    """The target in the syntax of gRPC's name resolution, which has one form for a list of addresses.

    Raises:
        InvalidInput: gRPC cannot resolve the target.
    """
    if target.startswith(_RESOLVERS):
        return target
    entries = [_grpc_entry(entry.strip()) for entry in target.split(",")]
    if len(entries) == 1:
        return entries[0]
    hosts = {entry.rpartition(":")[0].strip("[]") for entry in entries}
    try:
        versions = {ipaddress.ip_address(host).version for host in hosts}
    except ValueError as error:
        raise InvalidInput(
            f"The target {target!r} lists host names ({error}); expected a list of IP addresses, or one name that "
            f"stands for several. {_GRPC_EXAMPLES}"
        ) from error
    if len(versions) != 1:
        raise InvalidInput(f"The target {target!r} mixes IPv4 and IPv6; expected addresses of one kind. Pass one kind.")
    return f"ipv{versions.pop()}:{','.join(entries)}"


def http_addresses(target: str, tls: TLS | None) -> tuple[str, ...]:
    """The base URLs of the target. A path in a URL is a prefix: a proxy may serve Triptych below it.

    Raises:
        InvalidInput: HTTP cannot use the target, or its scheme contradicts `tls`.
    """
    scheme = _scheme_of(target) or ("http" if tls is None else "https")
    if scheme == "http" and tls is not None:
        raise InvalidInput(
            f"The target {_shown(target)} is not encrypted (http://), but tls was given; expected https://. Change the "
            "scheme, or leave tls out."
        )
    addresses = []
    for entry in (entry.strip() for entry in target.split(",")):
        has_scheme = "://" in entry
        address = entry if has_scheme else f"{scheme}://{entry}"
        parts = _split(address)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and (has_scheme or _port(parts))
        if not is_address or _port(parts) == 0:
            raise InvalidInput(f"The target {entry!r} is no HTTP address; expected host and port. {_HTTP_EXAMPLES}")
        addresses.append(address.rstrip("/"))
    return tuple(addresses)


def _grpc_entry(entry: str) -> str:
    """One address without its scheme."""
    if "://" not in entry:
        return entry
    parts = _split(entry)
    if not (parts.hostname and _port(parts)):
        raise InvalidInput(f"The target {entry!r} has no host and port; expected both. {_GRPC_EXAMPLES}")
    if parts.path.strip("/"):
        raise InvalidInput(
            f"The target {entry!r} has the path {parts.path!r}, which gRPC does not use; expected host and port. "
            f"Pass {parts.scheme}://{parts.netloc}."
        )
    return parts.netloc


def _scheme_of(target: str) -> str | None:
    """The URL scheme of all addresses of a target, None without one.

    Raises:
        InvalidInput: the scheme is unknown, or the addresses have different ones.
    """
    if target.startswith(_RESOLVERS):
        return None
    schemes = {match[1].lower() for entry in target.split(",") if (match := _SCHEME.match(entry.strip()))}
    for scheme in sorted(schemes - _SCHEMES.keys()):
        raise InvalidInput(
            f"The target {_shown(target)} has the scheme {scheme!r}; expected one of {', '.join(_SCHEMES)}, or host "
            f"and port without a scheme. {_GRPC_EXAMPLES}"
        )
    if len(schemes) > 1:
        raise InvalidInput(
            f"The target {_shown(target)} has the schemes {' and '.join(sorted(schemes))}; expected one scheme for all "
            "addresses. Write the same scheme before each."
        )
    return next(iter(schemes), None)


def _split(address: str) -> SplitResult:
    """Parses a URL; refuses a user name, a query and a fragment."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise InvalidInput(f"The target {address!r} is no URL ({error}). {_HTTP_EXAMPLES}") from error
    if parts.username is not None or parts.password is not None:
        # The message does not repeat the target, because of the password in it.
        raise InvalidInput(
            "The target has a user name or a password; expected host and port alone. Pass credentials with "
            "auth={'authorization': ...}."
        )
    if parts.query or parts.fragment:
        raise InvalidInput(
            f"The target {address!r} has a query or a fragment; expected scheme, host and port. Remove everything from "
            f"{'?' if parts.query else '#'} on."
        )
    return parts


def _port(parts: SplitResult) -> int | None:
    """The port of a URL, 0 for one that is no number from 1 to 65535, None where there is none."""
    try:
        return parts.port
    except ValueError:
        return 0


def _shown(target: str) -> str:
    """The target for a message, without a user name and password."""
    return repr(re.sub(r"//[^/,@]*@", "//...@", target))
