"""Where a server is and how to get in: addresses, TLS, credentials. Opens nothing; must not import gRPC."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from triptych.errors import InvalidInput

Carrier = Literal["grpc", "http"]
Balance = Literal["round_robin", "pick_first"]
Auth: TypeAlias = Mapping[str, str] | Callable[[], Mapping[str, str]]
"""Headers of every call, or a function that is asked for them at each: {"authorization": "Bearer ..."}."""

_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:")
# What both HTTP and gRPC carry: a name without spaces, and printable ASCII.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[ -~]*")
_EXAMPLES = "Pass 127.0.0.1:8001, dns:///triptych-headless.shop:8001 or 10.0.0.7:8001,10.0.0.8:8001, for example."


@dataclass(frozen=True)
class TLS:
    """How to trust a server, and what to show one that asks (mutual TLS). Files are PEM.

    Attributes:
        root_certificates: of the authorities to trust; None trusts those of the machine.
        certificate: the client's own chain; needs `private_key`.
        private_key: of the first certificate in it.
        server_name: the name the server's certificate must hold, where it is not the target's host.
    """

    root_certificates: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    private_key: str | os.PathLike[str] | None = field(default=None, repr=False)
    server_name: str | None = None

    def __post_init__(self) -> None:
        """Raises `InvalidInput` where half of the client's own identity is missing or a file cannot be used."""
        if (self.certificate is None) != (self.private_key is None):
            raise InvalidInput("TLS has a certificate or a private key alone; expected both. Pass the other too.")
        for role in ("root_certificates", "certificate", "private_key"):
            self.read(role)
        if self.root_certificates is not None or self.certificate is not None:
            self.context()

    def read(self, role: str) -> bytes | None:
        """The content of one of the files, None where it was not given."""
        path = getattr(self, role)
        if path is None:
            return None
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise InvalidInput(
                f"The {role} of TLS cannot be read: {os.fspath(path)!r} ({error.strerror}). Pass a PEM file's path."
            ) from error

    def roots(self) -> bytes | None:
        """PEM of the authorities to trust: those given, else the machine's, None where it has no such file."""
        if self.root_certificates is not None:
            return self.read("root_certificates")
        machines = ssl.get_default_verify_paths().cafile
        if not machines:
            return None
        with open(machines, "rb") as file:
            return file.read()

    def context(self) -> ssl.SSLContext:
        """The same for Python's own TLS. Raises `InvalidInput` for files that are not what they should be."""
        role = "root_certificates"
        try:
            given = self.read(role)
            context = ssl.create_default_context(cadata=None if given is None else given.decode("ascii"))
            if self.certificate is not None:
                role = "certificate and private_key"
                # An encrypted key would make Python ask for its password on the terminal.
                context.load_cert_chain(self.certificate, self.private_key, password=lambda: "")
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"The {role} of TLS cannot be used ({getattr(error, 'reason', None) or error}). Pass PEM files; a key "
                "without a password, and the one that its certificate was made for."
            ) from error
        return context


@dataclass(frozen=True)
class Connection:
    """One way to a server or to several that serve the same; the arguments of `Client` of the same names."""

    target: str
    carrier: Carrier
    channels: int
    tls: TLS | None
    balance: Balance
    api_key: tuple[str, str] | None = field(repr=False)
    shared_memory: bool

    def __post_init__(self) -> None:
        """Raises `InvalidInput` for what no transport could use."""
        check_target(self.target, self.carrier, self.tls)
        _check_choice("transport", self.carrier, get_args(Carrier))
        _check_choice("balance", self.balance, get_args(Balance))
        if not isinstance(self.channels, int) or isinstance(self.channels, bool) or self.channels < 1:
            raise InvalidInput(f"channels is {self.channels!r}; expected a whole number, at least 1.")
        if self.shared_memory and self.carrier != "grpc":
            raise InvalidInput("Shared memory goes with gRPC. Leave out transport='http' or shared_memory=True.")


def parse_api_key(text: str | None) -> tuple[str, str] | None:
    """The name and value of a restricted API's key, as Triton's own flags spell them: "name=value".

    Raises:
        InvalidInput: `text` is not of that form; the message does not repeat it.
    """
    if text is None:
        return None
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise InvalidInput("The api_key is not of the form name=value. Pass it as --grpc-restricted-protocol names it.")
    check_headers({name: value})
    return name, value


def check_target(target: str, carrier: Carrier, tls: TLS | None = None) -> None:
    """Raises `InvalidInput` for what a transport would take and then look for in the wrong place."""
    if not isinstance(target, str) or ":" not in target:
        raise InvalidInput(f"The target is {target!r}; expected host and port of a server. {_EXAMPLES}")
    if carrier == "http":
        http_addresses(target, tls)
        return
    if target.startswith(("http://", "https://")):
        raise InvalidInput(
            f"The target is {target!r}; expected the host and gRPC port of a server, without a scheme. {_EXAMPLES} "
            "For TLS pass tls=TLS(), for HTTP transport='http'."
        )
    grpc_address(target)


def is_ip_address(target: str) -> bool:
    """Whether the target is one address and no name, which may stand for several."""
    host = target.rpartition("//")[2].rpartition(":")[0].strip("[]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def grpc_address(target: str) -> str:
    """The target as gRPC's name resolution takes it: several addresses become one list of them."""
    if target.startswith(_SCHEMES) or "," not in target:
        return target
    hosts = {entry.strip().rpartition(":")[0].strip("[]") for entry in target.split(",")}
    try:
        versions = {ipaddress.ip_address(host).version for host in hosts}
    except ValueError as error:
        raise InvalidInput(
            f"The target {target!r} lists host names ({error}); gRPC takes a list of IP addresses, or one name that "
            f"stands for several. {_EXAMPLES}"
        ) from error
    if len(versions) != 1:
        raise InvalidInput(f"The target {target!r} mixes IPv4 and IPv6. Pass addresses of one kind.")
    return f"ipv{versions.pop()}:{','.join(entry.strip() for entry in target.split(','))}"


def http_addresses(target: str, tls: TLS | None) -> tuple[str, ...]:
    """The target's addresses with their scheme: TLS decides it where none is given.

    Raises:
        InvalidInput: one that HTTP cannot reach, or whose scheme says otherwise than `tls`.
    """
    addresses = []
    for entry in (entry.strip() for entry in target.split(",")):
        address = entry if "://" in entry else f"http{'' if tls is None else 's'}://{entry}"
        try:
            parts = urlsplit(address)
            is_address = parts.scheme in ("http", "https") and parts.hostname and (parts.port or "://" in entry)
        except ValueError:
            is_address = False
        if is_address and parts.username is not None:
            # Not repeated, for the password in it.
            raise InvalidInput("The target holds a user name. Pass credentials with auth={'authorization': ...}.")
        if not is_address or parts.query or parts.fragment:
            raise InvalidInput(
                f"The target {entry!r} is no HTTP address. Pass 127.0.0.1:8000, https://shop.example or "
                "10.0.0.7:8000,10.0.0.8:8000, for example."
            )
        if parts.scheme == "http" and tls is not None:
            raise InvalidInput(
                f"The target {entry!r} is not encrypted, yet tls is given. Write https://, or no scheme."
            )
        addresses.append(address.rstrip("/"))
    return tuple(addresses)


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises `InvalidInput` for what no request could carry; the message does not repeat the value."""
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidInput(f"A header is named {name!r}; expected letters, digits and dashes.")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidInput(
                f"The value of the header {name!r} cannot be sent; expected a str of printable ASCII. "
                "A line break at its end, from a file, is the usual cause: strip() it."
            )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidInput(f"{name} is {value!r}; expected {' or '.join(map(repr, choices))}.")
