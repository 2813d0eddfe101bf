"""How to connect to a server: target, transport, credentials. Opens no connection; must not import gRPC."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from triptych._transport.target import Carrier, check_target
from triptych._transport.tls import TLS
from triptych.errors import InvalidInput

Balance = Literal["round_robin", "pick_first"]
Auth: TypeAlias = Mapping[str, str] | Callable[[], Mapping[str, str]]
"""Headers of every call, {"authorization": "Bearer ..."}, or a function that returns them, called for each call."""

# Header names and values that both HTTP and gRPC can send.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[ -~]*")


@dataclass(frozen=True)
class Connection:
    """How to connect to one server, or to several that serve the same; the arguments of `Client` of the same names."""

    target: str
    carrier: Carrier
    channels: int
    tls: TLS | None
    balance: Balance
    api_key: tuple[str, str] | None = field(repr=False)
    shared_memory: bool

    def __post_init__(self) -> None:
        """Raises `InvalidInput` for values that no transport can use."""
        check_target(self.target, self.carrier, self.tls)
        _check_choice("balance", self.balance, get_args(Balance))
        if not isinstance(self.channels, int) or isinstance(self.channels, bool) or self.channels < 1:
            raise InvalidInput(f"channels is {self.channels!r}; expected a whole number, at least 1.")
        if self.shared_memory and self.carrier != "grpc":
            raise InvalidInput(
                "Shared memory goes with gRPC, but the transport is HTTP. Pass a gRPC target, or no shared_memory."
            )


def parse_api_key(text: str | None) -> tuple[str, str] | None:
    """The name and value of the key of a restricted API, in the syntax of Triton's flags: "name=value".

    Raises:
        InvalidInput: `text` has another form; the message does not repeat it.
    """
    if text is None:
        return None
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise InvalidInput(
            "The api_key has not the form name=value. Pass it as in the server's --grpc-restricted-protocol; of the "
            "file control.key that `triptych serve` writes, as triptych-control-key=<text of the file>."
        )
    check_headers({name: value})
    return name, value


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises `InvalidInput` for headers that no request can carry; the message does not repeat the value."""
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidInput(f"A header is named {name!r}; expected letters, digits and dashes.")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidInput(
                f"The value of the header {name!r} cannot be sent; expected a str of printable ASCII. "
                "The usual cause is a line break at its end, from a file: strip() the value."
            )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidInput(f"{name} is {value!r}; expected {' or '.join(map(repr, choices))}.")
