"""Chooses the ports that a server listens on, and names the process that holds a taken port."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import astuple

import psutil

from ops.errors import OpsError, WrongUsage
from ops.settings import ADDRESS, Ports

HIGHEST_PORT = 65535


def choose_ports(http: int, grpc: int, metrics: int) -> Ports:
    """Checks the given ports and replaces 0 by a free port.

    Raises:
        WrongUsage: a port is out of range, or given twice.
        OpsError: a port is taken.
    """
    wanted = {"http": http, "grpc": grpc, "metrics": metrics}
    _refuse_impossible(wanted)
    chosen = {}
    with contextlib.ExitStack() as held:  # holds every port until the last is chosen, so that all free ports differ
        for name, port in sorted(wanted.items(), key=lambda item: item[1] == 0):
            listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((ADDRESS, port))
                listener.listen(1)
            except OSError as error:
                raise OpsError(_taken(name, port, error)) from error
            chosen[name] = listener.getsockname()[1]
    return Ports(**chosen)


def choose_inner_ports(public: Ports) -> Ports:
    """Returns three free ports for Triton behind the front, none of them public."""
    while True:
        inner = choose_ports(0, 0, 0)
        if not set(astuple(inner)) & set(astuple(public)):
            return inner


def are_free(ports: Ports) -> bool:
    """Returns whether nothing listens on any of the ports."""
    try:
        choose_ports(ports.http, ports.grpc, ports.metrics)
    except OpsError:
        return False
    return True


def _refuse_impossible(wanted: dict[str, int]) -> None:
    for name, port in wanted.items():
        if not 0 <= port <= HIGHEST_PORT:
            raise WrongUsage(f"--{name}-port is {port}; expected 1 to {HIGHEST_PORT}, or 0 for a free port.")
    for port in wanted.values():
        twins = [other for other in wanted if port and wanted[other] == port]
        if len(twins) > 1:
            raise WrongUsage(f"--{twins[0]}-port and --{twins[1]}-port are both {port}; they must differ.")


def _taken(name: str, port: int, error: OSError) -> str:
    free = f"Stop it, or choose another with --{name}-port (0 chooses a free port)."
    holder = holder_of(port)
    if holder is not None:
        return f"Port {port} ({name}) is taken by {holder}. {free}"
    return f"Port {port} ({name}) cannot be used: {error.strerror}. {free}"


def holder_of(port: int) -> str | None:
    """Returns the process that listens on `port`, as `pid 12 (name)`; None if there is none or it is not visible."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        is_listening = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        if is_listening and connection.pid:
            try:
                return f"pid {connection.pid} ({psutil.Process(connection.pid).name()})"
            except psutil.Error:
                return f"pid {connection.pid}"
    return None
