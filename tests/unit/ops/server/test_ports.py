import os
import socket

import pytest

from ops.errors import OpsError, WrongUsage
from ops.server.ports import choose_ports, holder_of


def test_free_ports_all_differ_when_zero_is_asked_for() -> None:
    ports = choose_ports(0, 0, 0)
    assert len({ports.http, ports.grpc, ports.metrics}) == 3
    assert ports.grpc_target == f"127.0.0.1:{ports.grpc}"


def test_taken_port_is_refused_with_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OpsError, match=rf"Port {port} \(grpc\) is taken by pid {os.getpid()} .*--grpc-port"):
            choose_ports(0, port, 0)
        assert str(os.getpid()) in (holder_of(port) or "")
    assert holder_of(port) is None


@pytest.mark.parametrize("port", [-1, 65536])
def test_impossible_port_is_wrong_usage(port: int) -> None:
    with pytest.raises(WrongUsage, match="--http-port"):
        choose_ports(port, 0, 0)


def test_same_port_twice_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match="--http-port and --metrics-port are both 9000"):
        choose_ports(9000, 0, 9000)
