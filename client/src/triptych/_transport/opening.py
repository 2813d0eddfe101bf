"""The transport of a connection. Each is imported when it is opened: HTTP needs an extra."""

from __future__ import annotations

from triptych._transport.connection import Connection
from triptych._transport.interface import AsyncTransport, Transport


def open_transport(connection: Connection) -> Transport:
    """A blocking transport; it connects on the first call.

    Raises:
        ModuleNotFoundError: the connection uses HTTP and the extra `http` is not installed.
    """
    if connection.carrier == "http":
        from triptych._transport.http_transport import HttpTransport

        return HttpTransport(connection)
    if connection.shared_memory:
        from triptych._transport.shared_memory import SharedMemoryTransport

        return SharedMemoryTransport(connection)
    from triptych._transport.grpc_transport import GrpcTransport

    return GrpcTransport(connection)


def open_async_transport(connection: Connection) -> AsyncTransport:
    """`open_transport` for the running event loop."""
    if connection.carrier == "http":
        from triptych._transport.http_transport import AsyncHttpTransport

        return AsyncHttpTransport(connection)
    if connection.shared_memory:
        from triptych._transport.shared_memory import AsyncSharedMemoryTransport

        return AsyncSharedMemoryTransport(connection)
    from triptych._transport.grpc_transport import AsyncGrpcTransport

    return AsyncGrpcTransport(connection)
