"""Proxies of the environment: what runs beside the server must not ask one for an address of this machine."""

from __future__ import annotations

from collections.abc import Mapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
# Programs read the one or the other; curl and Python prefer the first.
EXEMPT = ("no_proxy", "NO_PROXY")
# gRPC reads this one instead, where it is set.
EXEMPT_FROM_GRPC = "no_grpc_proxy"


def exempt_loopback(variables: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment variables of a process whose requests to this machine pass by every proxy."""
    given = next((variables[name] for name in EXEMPT if variables.get(name)), "")
    exempt = dict.fromkeys(EXEMPT, _with_loopback(given))
    if variables.get(EXEMPT_FROM_GRPC):
        exempt[EXEMPT_FROM_GRPC] = _with_loopback(variables[EXEMPT_FROM_GRPC])
    return {**variables, **exempt}


def find_catching(variables: Mapping[str, str]) -> list[str]:
    """Returns the names of the variables by which programs would ask a proxy for 127.0.0.1."""
    given = next((variables[name] for name in EXEMPT if variables.get(name)), "")
    if LOOPBACK[0] not in _missing(given):
        return []
    return [name for proxy in PROXIES for name in (proxy, proxy.upper()) if variables.get(name)]


def _with_loopback(exempt: str) -> str:
    return ",".join([*([exempt] if exempt else []), *_missing(exempt)])


def _missing(exempt: str) -> list[str]:
    """Returns the loopback names that a list such as `.example.com,localhost` lacks; `*` is every name."""
    named = {name.strip() for name in exempt.split(",")}
    return [] if "*" in named else [name for name in LOOPBACK if name not in named]
