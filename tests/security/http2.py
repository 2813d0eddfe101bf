"""A caller that writes its own frames of HTTP/2, as no library lets it. Source of the formats: RFC 9113, RFC 7541."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Mapping

from ops.settings import ADDRESS

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
END_STREAM, END_HEADERS = 1, 4
CANCEL = struct.pack(">I", 8)
INITIAL_WINDOW = 4
MOST_BYTES = 16_384


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def packed(message: bytes) -> bytes:
    """A message of gRPC without compression."""
    return b"\0" + struct.pack(">I", len(message)) + message


class Http2:
    """One connection; what comes back is read and forgotten."""

    def __init__(self, port: int, initial_window: int = 65_535) -> None:
        """
        Args:
            port: of the front's gRPC.
            initial_window: bytes of an answer that may be sent before the caller has read any.
        """
        self._socket = socket.create_connection((ADDRESS, port))
        self._stream = -1
        settings = struct.pack(">HI", INITIAL_WINDOW, initial_window)
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(65_536):
                pass

    def call(self, path: str, message: bytes, *, is_taken_back: bool = False) -> bool:
        """Sends a call of gRPC, and takes it back at once; False where the connection has been closed."""
        self._stream += 2
        body = packed(message)
        parts = [body[start : start + MOST_BYTES] for start in range(0, len(body), MOST_BYTES)]
        frames = [frame(HEADERS, END_HEADERS, self._stream, _block(path))]
        frames += [
            frame(DATA, END_STREAM if number == len(parts) else 0, self._stream, part)
            for number, part in enumerate(parts, 1)
        ]
        if is_taken_back:
            frames.append(frame(RST_STREAM, 0, self._stream, CANCEL))
        try:
            self._socket.sendall(b"".join(frames))
        except OSError:
            return False
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()


def _block(path: str) -> bytes:
    fields: Mapping[str, str] = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "a",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())


def _text(text: str) -> bytes:
    assert len(text) < 127, "one byte of length, without Huffman's code"
    return bytes([len(text)]) + text.encode()
