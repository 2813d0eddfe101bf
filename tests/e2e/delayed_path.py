"""A way to a server that takes its time and no processor: what is far away, without being far away."""

from __future__ import annotations

import queue
import socket
import threading
import time


class DelayedPath:
    """Carries each connection to `target`, every byte `delay_s` late in both directions. A context manager.

    Attributes:
        address: host and port to call instead of the target.
        connections: opened so far.
    """

    def __init__(self, target: str, delay_s: float) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._delay_s = delay_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0

    def __enter__(self) -> DelayedPath:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # A thread in accept() holds a closed socket open: shut it down first.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            far = socket.create_connection(self._target)
            self._ends += [near, far]
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink in ((near, far), (far, near)):
                self._carry(source, sink)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        under_way: queue.Queue[tuple[float, bytes]] = queue.Queue()

        def read() -> None:
            content = b"-"
            while content:
                try:
                    content = source.recv(65536)
                except OSError:
                    content = b""
                under_way.put((time.monotonic() + self._delay_s, content))

        def write() -> None:
            while True:
                due_s, content = under_way.get()
                time.sleep(max(0.0, due_s - time.monotonic()))
                try:
                    if not content:
                        sink.shutdown(socket.SHUT_WR)
                        return
                    sink.sendall(content)
                except OSError:
                    return

        for work in (read, write):
            threading.Thread(target=work, daemon=True).start()
