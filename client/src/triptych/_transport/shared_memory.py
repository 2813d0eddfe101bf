"""Sends photos to a server on this host through shared memory, all other data over gRPC; falls back to gRPC.

Shared memory saves copies of large photos. Measured with one caller on 2 shared cores, with cached answers so that the
transport dominates (ratio of p50, shared memory to messages): 10 kB 0.99, 90 kB 0.91-0.94, 1 MB 0.50-0.67, 4 MB 0.47
(5.1 ms instead of 10.7 ms). For photos that are not cached, inference dominates: a few per cent less for 4 MB, no
measurable difference for 90 kB.

The memory is unlinked as soon as the server has opened it, so that a killed client leaves nothing in /dev/shm. The
server releases its 32 MB when the client is closed or the server stops.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import warnings
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from triptych._core.deadline import Deadline
from triptych._core.failures.translation import read
from triptych._core.protocol import InferAnswer, InferRequest, Question, TransportError
from triptych._core.steps import Pause, drive, drive_async
from triptych._transport.connection import Connection
from triptych._transport.grpc_transport import (
    AsyncGrpcTransport,
    GrpcTransport,
    decode_answer,
    encode_header,
    encode_request,
)
from triptych._transport.interface import Headers
from triptych._transport.shared_region import Region, slot_size
from triptych.errors import ConnectionFailed, DeadlineExceeded, Unavailable

# Room for the largest photo that the server accepts (20 MB), or for 32 photos of 1 MB, which the `_many` calls keep in
# flight; half of the shared memory of a Docker container.
REGION_BYTES = 32 << 20

# Largest share of one call's time for opening the region.
_REGISTER_TIMEOUT_S = 1.0
# Shortest time between two attempts to open or replace a region.
_PAUSE_S = 1.0
# A region that the server loses within this time was lost early; a server that restarts loses a region once.
_EARLY_S = 60.0
_PATIENCE = 3

_CLOSE_TIMEOUT_S = 1.0
_CLOSE_PAUSE_S = 0.02


class SharedMemoryTransport(GrpcTransport):
    """Blocking `Transport`; the region is opened by the first inference."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._sharing = Sharing(connection.target)

    def infer(self, request: InferRequest, *, timeout_s: float, headers: Headers) -> InferAnswer:
        """See `Transport`."""
        self._sharing.headers = headers
        return decode_answer(self._carry_out(self._sharing.infer(request, timeout_s), headers))

    def close(self) -> None:
        """See `Transport`; the server closes the region first."""
        self._carry_out(self._sharing.close(), self._sharing.headers)
        super().close()

    def _carry_out(self, steps: Steps, headers: Headers) -> Any:
        return drive(steps, lambda step: self._perform(step, headers))

    def _perform(self, step: Step, headers: Headers) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        if isinstance(step, Ask):
            return self.ask(step.question, timeout_s=step.timeout_s, headers=headers)
        return self._send(self._calls.of("ModelInfer"), step.message, step.timeout_s, headers)


class AsyncSharedMemoryTransport(AsyncGrpcTransport):
    """`AsyncTransport` of the event loop it is made in; the region is opened by the first inference."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._sharing = Sharing(connection.target)

    async def infer(self, request: InferRequest, *, timeout_s: float, headers: Headers) -> InferAnswer:
        """See `AsyncTransport`."""
        self._sharing.headers = headers
        return decode_answer(await self._carry_out(self._sharing.infer(request, timeout_s), headers))

    async def close(self) -> None:
        """See `AsyncTransport`; the server closes the region first."""
        await self._carry_out(self._sharing.close(), self._sharing.headers)
        await super().close()

    async def _carry_out(self, steps: Steps, headers: Headers) -> Any:
        return await drive_async(steps, lambda step: self._perform(step, headers))

    async def _perform(self, step: Step, headers: Headers) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Ask):
            return await self.ask(step.question, timeout_s=step.timeout_s, headers=headers)
        return await self._send(self._calls.of("ModelInfer"), step.message, step.timeout_s, headers)


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a question -> its answer."""

    question: Question
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Infer:
    """Send a `ModelInferRequest` -> its response."""

    message: Any
    timeout_s: float


Step = Ask | Infer | Pause
Steps = Generator[Step, Any, Any]


class Sharing:
    """Decides whether a request uses shared memory. Its only I/O is the memory: its methods are generators of steps.

    A slot of a request that timed out is not used again, because the server may still read it: with other bytes in it,
    a cache of the server could store the answer to one photo as the answer to another. When such slots are half of the
    region, the region is replaced as soon as the server has stopped reading it.

    Attributes:
        headers: of the latest call; `close` uses them.
    """

    headers: Headers

    def __init__(self, target: str) -> None:
        self.headers = {}
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._region: Region | None = None
        self._is_off = False
        self._is_opening = False
        self._lost_bytes = 0
        self._losses = self._failures = 0
        self._opened_s = float("-inf")
        if "," in target:
            self._turn_off("the target names several servers, and only one of them could open the region")

    def infer(self, request: InferRequest, timeout_s: float) -> Steps:
        """-> `ModelInferResponse`."""
        deadline = Deadline(timeout_s)
        if not request.photos:
            return (yield Infer(encode_request(request, timeout_s), timeout_s))
        size_bytes = slot_size(request.photos)
        refusal = None
        if self._may_open():
            try:
                refusal = yield from self._open(min(_REGISTER_TIMEOUT_S, timeout_s / 2))
            finally:
                self._is_opening = False
        region = self._region
        start = None if region is None else region.take(size_bytes)
        if region is not None and start is not None:
            response = yield from self._infer_shared(request, region, start, size_bytes, deadline)
            if response is not None:
                return response
        left_s = max(0.0, deadline.remaining_s())
        response = yield Infer(encode_request(request, left_s), left_s)
        if refusal is not None:
            self._note_refusal(refusal)
        return response

    def close(self) -> Steps:
        """Closes the server's region; waits a short time until the server has stopped reading. -> None."""
        with self._lock:
            region, self._region, self._is_off = self._region, None, True
        if region is None or os.getpid() != self._pid:
            return
        deadline = Deadline(_CLOSE_TIMEOUT_S)
        while True:
            try:
                yield Ask(_unregister(region), _CLOSE_TIMEOUT_S)
            except TransportError as failure:
                if "in use" not in failure.detail or deadline.remaining_s() <= 0:
                    return
            else:
                return
            yield Pause(_CLOSE_PAUSE_S)

    def _infer_shared(
        self, request: InferRequest, region: Region, start: int, size_bytes: int, deadline: Deadline
    ) -> Steps:
        """-> `ModelInferResponse`, or None where the server does not know the region."""
        region.write(start, request.photos)
        left_s = max(0.0, deadline.remaining_s())
        message = encode_header(request, left_s)
        parameters = message.inputs[0].parameters
        parameters["shared_memory_region"].string_param = region.name
        parameters["shared_memory_offset"].int64_param = start
        parameters["shared_memory_byte_size"].int64_param = size_bytes
        is_read = False
        try:
            response = yield Infer(message, left_s)
            is_read = True
            return response
        except TransportError as failure:
            meaning = read(failure).error
            is_read = not issubclass(meaning, (ConnectionFailed, DeadlineExceeded))
            if failure.status == "NOT_FOUND" and "shared memory region" in failure.detail:
                self._note_loss(region)
                return None
            raise
        finally:
            if is_read:
                region.give_back(start, size_bytes)
            else:
                with self._lock:
                    self._lost_bytes += size_bytes

    def _may_open(self) -> bool:
        """Whether this caller must open a region, or replace one that is half full of timed-out requests."""
        with self._lock:
            is_wanted = self._region is None or self._lost_bytes > REGION_BYTES / 2
            if self._is_off or self._is_opening or not is_wanted or time.monotonic() - self._opened_s < _PAUSE_S:
                return False
            self._is_opening = True
            self._opened_s = time.monotonic()
            return True

    def _open(self, timeout_s: float) -> Generator[Step, Any, TransportError | None]:
        """Opens a region. -> The error, or None."""
        with self._lock:
            old, self._region = self._region, None
        if old is not None:
            try:
                yield Ask(_unregister(old), timeout_s)
            except TransportError:
                self._region = old  # still being read
                return None
        try:
            region = Region(REGION_BYTES)
        except OSError as error:
            self._turn_off(f"this host has no shared memory left ({error.strerror})")
            return None
        try:
            yield Ask(_register(region), timeout_s)
        except TransportError as failure:
            return failure
        finally:
            region.unlink()
        with self._lock:
            self._region, self._lost_bytes, self._failures = region, 0, 0
        return None

    def _note_refusal(self, failure: TransportError) -> None:
        """Counts a refusal of the region; a server that starts or shuts down refuses for a time."""
        self._failures += 1
        is_passing = issubclass(read(failure).error, (Unavailable, DeadlineExceeded))
        if not is_passing or self._failures == _PATIENCE:
            self._turn_off(f"the server refuses it ({failure.detail})")

    def _note_loss(self, region: Region) -> None:
        with self._lock:
            if self._region is not region:
                return
            self._region, self._opened_s = None, float("-inf")
            self._losses = self._losses + 1 if time.monotonic() - region.born_s < _EARLY_S else 1
        if self._losses == _PATIENCE:
            self._turn_off("the server lost it several times; the target may stand for more than one server")

    def _turn_off(self, reason: str) -> None:
        with self._lock:
            was_off, self._is_off, self._region = self._is_off, True, None
        if not was_off:
            warnings.warn(
                f"Photos are sent in messages, not through shared memory: {reason}. Shared memory needs one server on "
                "this host that has the same /dev/shm, may read this user's files there, and permits shared memory.",
                RuntimeWarning,
                stacklevel=2,
            )


def _register(region: Region) -> Question:
    fields = {"name": region.name, "key": f"/{region.name}", "offset": 0, "byte_size": region.size_bytes}
    path = f"/v2/systemsharedmemory/region/{region.name}/register"
    return Question("SystemSharedMemoryRegister", "POST", path, fields)


def _unregister(region: Region) -> Question:
    path = f"/v2/systemsharedmemory/region/{region.name}/unregister"
    return Question("SystemSharedMemoryUnregister", "POST", path, {"name": region.name})
