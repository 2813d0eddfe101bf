"""Open-loop load over bare gRPC: requests arrive at random times, independent of the server's answers.

Latencies count from the time at which a request was due, so that a late generator cannot hide a queue.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import grpc
import grpc.aio
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

from loadtest.errors import LoadTestError
from loadtest.traffic.corpus import unique_bytes

Floats = npt.NDArray[np.float32]

_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# The sum of an embedding's terms has another order in a batch. Two different sample photos are below 0.9.
SAME_COSINE = 1 - 1e-4
# To open the connection; not part of the measurement.
_CONNECT_S = 10.0
_PATIENCE_S = 60.0


@dataclass
class StreamResult:
    """Results of the requests of one stream.

    Attributes:
        sent: requests.
        latencies_s: of each answer, from the time at which its request was due.
        answered_at_s: time of each answer, from the start.
        errors: status and sentence -> requests.
        error_latencies_s: of each failed request.
        lags_s: delay of the generator: from the time at which a request was due to its sending.
        wrong_answers: answers that differ from the photo's reference.
        duration_s: time in which requests were sent.
    """

    sent: int = 0
    latencies_s: list[float] = field(default_factory=list)
    answered_at_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    error_latencies_s: list[float] = field(default_factory=list)
    lags_s: list[float] = field(default_factory=list)
    wrong_answers: int = 0
    duration_s: float = 0.0

    @property
    def rate(self) -> float:
        """Answers per second while requests were sent; answers after the last request do not count."""
        return sum(at_s <= self.duration_s for at_s in self.answered_at_s) / self.duration_s if self.duration_s else 0.0

    def latency_ms(self, percentile: float) -> float:
        """Of the answers; NaN without any."""
        return _percentile_ms(self.latencies_s, percentile)

    def error_latency_ms(self, percentile: float) -> float:
        """Of the failed requests; NaN without any."""
        return _percentile_ms(self.error_latencies_s, percentile)

    def lag_ms(self, percentile: float) -> float:
        """Of the generator; NaN without requests."""
        return _percentile_ms(self.lags_s, percentile)


def _percentile_ms(seconds: Sequence[float], percentile: float) -> float:
    return float(np.percentile(seconds, percentile)) * 1e3 if seconds else float("nan")


class EncodedRequests:
    """Requests of all outputs with one encoded photo each; every request ends in 8 unique bytes after the photo."""

    def __init__(self, photos: Sequence[bytes]) -> None:
        self._bodies = [_encode(photo) for photo in photos]

    def __len__(self) -> int:
        return len(self._bodies)

    def next_body(self, number: int) -> bytes:
        """A request that no cache can answer, with the photo `number` modulo the number of photos."""
        return self._bodies[number % len(self._bodies)] + unique_bytes()


def _encode(photo: bytes) -> bytes:
    """A request without its last 8 bytes; the photo is the last field of the message."""
    request = service_pb2.ModelInferRequest(model_name="recognizer")
    request.parameters["source"].string_param = "internal"
    image = request.inputs.add(name="image", datatype="BYTES")
    image.shape.extend([1, 1])
    request.raw_input_contents.append(struct.pack("<I", len(photo) + 8) + photo + bytes(8))
    return bytes(request.SerializeToString()[:-8])


def arrivals(rate: float, duration_s: float, seed: int) -> Iterator[float]:
    """Seconds from the start at which requests are due: a Poisson process."""
    chance = random.Random(seed)
    at_s = 0.0
    while (at_s := at_s + chance.expovariate(rate)) < duration_s:
        yield at_s


def run_open_loop(
    target: str,
    requests: EncodedRequests,
    references: Sequence[Floats],
    *,
    rate: float,
    duration_s: float,
    timeout_s: float,
    seed: int = 7,
) -> StreamResult:
    """Sends at `rate` requests per second for `duration_s`, then waits for the answers; a call fails at `timeout_s`."""
    stream = _Stream(target, requests, references, timeout_s)
    return asyncio.run(stream.run(lambda: stream.send_at(list(arrivals(rate, duration_s, seed)))))


def run_closed_loop(
    target: str, requests: EncodedRequests, references: Sequence[Floats], *, concurrency: int, duration_s: float
) -> StreamResult:
    """Keeps `concurrency` requests in flight: the capacity of the server."""
    stream = _Stream(target, requests, references, _PATIENCE_S)
    return asyncio.run(stream.run(lambda: stream.send_in_turns(concurrency, duration_s)))


def fetch_references(target: str, requests: EncodedRequests) -> list[Floats]:
    """The embedding of each photo, `float32[D]`, one request at a time.

    Raises:
        LoadTestError: no server answers.
    """
    with grpc.insecure_channel(target, options=_UNLIMITED) as channel:
        call = channel.unary_unary(_METHOD)
        try:
            return [
                _read_embedding(call(requests.next_body(number), timeout=_PATIENCE_S))
                for number in range(len(requests))
            ]
        except grpc.RpcError as error:
            raise LoadTestError(
                f"{target} does not answer ({error.code().name}: {error.details()}). Start a server with `make serve`, "
                "or run the command under `triptych run --`."
            ) from error


class _Stream:
    _send_request: grpc.aio.UnaryUnaryMultiCallable

    def __init__(self, target: str, requests: EncodedRequests, references: Sequence[Floats], timeout_s: float) -> None:
        self._target = target
        self._requests = requests
        self._references = references
        self._timeout_s = timeout_s
        self._result = StreamResult()
        self._answers: list[tuple[int, bytes]] = []
        self._started_s = 0.0

    async def run(self, send: Callable[[], Awaitable[None]]) -> StreamResult:
        async with grpc.aio.insecure_channel(self._target, options=_UNLIMITED) as channel:
            await asyncio.wait_for(channel.channel_ready(), _CONNECT_S)
            self._send_request = channel.unary_unary(_METHOD)
            self._started_s = time.perf_counter()
            await send()
        # After the run, because the comparison uses CPU time.
        for number, answer in self._answers:
            expected = self._references[number % len(self._references)]
            found = _read_embedding(answer)
            is_same = found.shape == expected.shape and float(found @ expected) > SAME_COSINE
            self._result.wrong_answers += not is_same
        return self._result

    async def send_at(self, due_s: Sequence[float]) -> None:
        tasks = set()
        for number, at_s in enumerate(due_s):
            pause_s = self._started_s + at_s - time.perf_counter()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            task = asyncio.create_task(self._send(number, self._started_s + at_s))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        self._result.duration_s = time.perf_counter() - self._started_s
        await asyncio.gather(*tasks)

    async def send_in_turns(self, concurrency: int, duration_s: float) -> None:
        numbers = itertools.count()

        async def take_turns() -> None:
            while time.perf_counter() - self._started_s < duration_s:
                await self._send(next(numbers), time.perf_counter())

        await asyncio.gather(*(take_turns() for _ in range(concurrency)))
        self._result.duration_s = duration_s

    async def _send(self, number: int, due_s: float) -> None:
        result = self._result
        result.sent += 1
        result.lags_s.append(time.perf_counter() - due_s)
        try:
            answer = await self._send_request(self._requests.next_body(number), timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            # Without the request id, so that equal errors count together.
            sentence = (error.details() or "").rpartition("] ")[2]
            result.error_latencies_s.append(time.perf_counter() - due_s)
            result.errors[f"{error.code().name}: {sentence}"] += 1
        else:
            now_s = time.perf_counter()
            result.latencies_s.append(now_s - due_s)
            result.answered_at_s.append(now_s - self._started_s)
            self._answers.append((number, answer))


def _read_embedding(answer: bytes) -> Floats:
    response = service_pb2.ModelInferResponse.FromString(answer)
    place = [output.name for output in response.outputs].index("embedding")
    return np.frombuffer(response.raw_output_contents[place], np.float32)
