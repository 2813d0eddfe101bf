"""Who may reach a server that `serve` starts."""

from __future__ import annotations

import pytest

from ops.errors import WrongUsage
from ops.server.launch import refuse_open

LOOPBACK = ["--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1"]


@pytest.mark.parametrize("name", ["http", "grpc", "metrics"])
@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", ""])
def test_addresses_that_others_reach_are_refused_when_nothing_encrypts(name: str, address: str) -> None:
    with pytest.raises(WrongUsage, match=f"--{name}-address is .*--open-to-network"):
        refuse_open([*LOOPBACK, f"--{name}-address={address}"])


def test_loopback_and_grpc_with_tls_are_fine() -> None:
    refuse_open(LOOPBACK)
    refuse_open([*LOOPBACK, "--grpc-address=0.0.0.0", "--grpc-use-ssl=true"])
