"""The open loop: requests that come when they come, however the server fares, as shoppers do. Over bare gRPC.

Latencies count from when a request was due, so a caller that falls behind hides nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import grpc
import grpc.aio
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

from loadtest.errors import LoadTestError

Floats = npt.NDArray[np.float32]

_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# An embedding beside others in a batch is summed in another order; two photos of the samples are below 0.9.
SAME_COSINE = 1 - 1e-4
# For a connection to open; not part of what is measured.
_CONNECT_S = 10.0


@dataclass
class Seen:
    """What happened to the requests of one stream.

    Attributes:
        due: how many should have been sent.
        took_s: of each answer, from when it was due.
        answered_s: when each came, from the beginning.
        refused: status and beginning of the sentence -> how often.
        refused_s: how long each refusal took.
        wrong: answers that are not the photo's.
        lasted_s: how long requests were sent.
    """

    due: int = 0
    took_s: list[float] = field(default_factory=list)
    answered_s: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    refused_s: list[float] = field(default_factory=list)
    wrong: int = 0
    lasted_s: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second while requests were sent; what a queue still held then is not in it."""
        return sum(at_s <= self.lasted_s for at_s in self.answered_s) / self.lasted_s if self.lasted_s else 0.0

    def took_ms(self, percentile: float) -> float:
        """Of the answers; nan where there is none."""
        return _percentile_ms(self.took_s, percentile)

    def refused_ms(self, percentile: float) -> float:
        """Of the refusals; nan where there is none."""
        return _percentile_ms(self.refused_s, percentile)


def _percentile_ms(seconds: Sequence[float], percentile: float) -> float:
    return float(np.percentile(seconds, percentile)) * 1e3 if seconds else float("nan")


class Questions:
    """Requests for one photo's embedding, encoded once; each sent with eight bytes of its own behind the photo.

    Args:
        photos: encoded.
        parameters: of the requests: Triton's `priority` and `timeout` (microseconds).
    """

    def __init__(self, photos: Sequence[bytes], parameters: dict[str, int]) -> None:
        self._bodies = [_encode(photo, parameters) for photo in photos]
        self._numbers = itertools.count(time.time_ns())

    def __len__(self) -> int:
        return len(self._bodies)

    def fresh(self, number: int) -> bytes:
        """A photo nobody has sent before: no cache answers it."""
        return self._bodies[number % len(self._bodies)] + next(self._numbers).to_bytes(8, "big")


def _encode(photo: bytes, parameters: dict[str, int]) -> bytes:
    """A whole request but for its last eight bytes: the photo is the last field of the message."""
    request = service_pb2.ModelInferRequest(model_name="recognizer")
    for name, value in parameters.items():
        request.parameters[name].int64_param = value
    image = request.inputs.add(name="image", datatype="BYTES")
    image.shape.extend([1, 1])
    request.outputs.add(name="embedding")
    request.raw_input_contents.append(struct.pack("<I", len(photo) + 8) + photo + bytes(8))
    return bytes(request.SerializeToString()[:-8])


def arrivals(rate: float, duration_s: float, seed: int) -> Iterator[float]:
    """Seconds from the start at which requests are due: a Poisson stream."""
    chance = random.Random(seed)
    at_s = 0.0
    while (at_s := at_s + chance.expovariate(rate)) < duration_s:
        yield at_s


def run_stream(
    target: str,
    questions: Questions,
    golden: Sequence[Floats],
    *,
    rate: float,
    duration_s: float,
    patience_s: float,
) -> Seen:
    """Sends at `rate` for `duration_s`, then waits for what is on its way; a caller gives up after `patience_s`."""
    return asyncio.run(_Stream(target, questions, golden, patience_s).run(list(arrivals(rate, duration_s, seed=7))))


def run_closed(target: str, questions: Questions, golden: Sequence[Floats], *, callers: int, duration_s: float) -> Seen:
    """So many callers, each of which sends its next photo when it has its answer: what the server can do."""
    return asyncio.run(_Stream(target, questions, golden, 60.0).run_callers(callers, duration_s))


def ask_golden(target: str, questions: Questions) -> list[Floats]:
    """The embedding of each photo, `float32[D]`, asked for one by one while nothing else goes on.

    Raises:
        LoadTestError: no server answers there.
    """
    with grpc.insecure_channel(target, options=_UNLIMITED) as channel:
        call = channel.unary_unary(_METHOD)
        try:
            return [_embedding(call(questions.fresh(number), timeout=60)) for number in range(len(questions))]
        except grpc.RpcError as error:
            raise LoadTestError(
                f"{target} does not answer ({error.code().name}: {error.details()}). Start a server with `make serve`, "
                "or let `python -m ops run` do it."
            ) from error


class _Stream:
    def __init__(self, target: str, questions: Questions, golden: Sequence[Floats], patience_s: float) -> None:
        self._target = target
        self._questions = questions
        self._golden = golden
        self._patience_s = patience_s
        self._seen = Seen()
        self._answers: list[tuple[int, bytes]] = []
        self._started_s = 0.0

    async def run(self, due_s: Sequence[float]) -> Seen:
        async with grpc.aio.insecure_channel(self._target, options=_UNLIMITED) as channel:
            await asyncio.wait_for(channel.channel_ready(), _CONNECT_S)
            call = channel.unary_unary(_METHOD)
            started_s = self._started_s = time.perf_counter()
            tasks = set()
            for number, at_s in enumerate(due_s):
                pause_s = started_s + at_s - time.perf_counter()
                if pause_s > 0:
                    await asyncio.sleep(pause_s)
                task = asyncio.create_task(self._ask(call, number, started_s + at_s))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            self._seen.lasted_s = time.perf_counter() - started_s
            await asyncio.gather(*tasks)
        return self._judged()

    async def run_callers(self, callers: int, duration_s: float) -> Seen:
        async with grpc.aio.insecure_channel(self._target, options=_UNLIMITED) as channel:
            await asyncio.wait_for(channel.channel_ready(), _CONNECT_S)
            call = channel.unary_unary(_METHOD)
            numbers = itertools.count()
            started_s = self._started_s = time.perf_counter()

            async def go_on() -> None:
                while time.perf_counter() - started_s < duration_s:
                    await self._ask(call, next(numbers), time.perf_counter())

            await asyncio.gather(*(go_on() for _ in range(callers)))
            self._seen.lasted_s = duration_s
        return self._judged()

    async def _ask(self, call: grpc.aio.UnaryUnaryMultiCallable, number: int, due_s: float) -> None:
        seen = self._seen
        seen.due += 1
        try:
            answer = await call(self._questions.fresh(number), timeout=self._patience_s)
        except grpc.aio.AioRpcError as error:
            seen.refused_s.append(time.perf_counter() - due_s)
            seen.refused[f"{error.code().name}: {_without_id(error.details() or '')}"] += 1
        else:
            now_s = time.perf_counter()
            seen.took_s.append(now_s - due_s)
            seen.answered_s.append(now_s - self._started_s)
            self._answers.append((number, answer))

    def _judged(self) -> Seen:
        """Compared once all is over: it would take the processor from what is measured."""
        for number, answer in self._answers:
            expected = self._golden[number % len(self._golden)]
            found = _embedding(answer)
            self._seen.wrong += not (found.shape == expected.shape and float(found @ expected) > SAME_COSINE)
        return self._seen


def _without_id(sentence: str) -> str:
    """Of all refusals of one kind the same."""
    return sentence.rpartition("] ")[2]


def _embedding(answer: bytes) -> Floats:
    (content,) = service_pb2.ModelInferResponse.FromString(answer).raw_output_contents
    return np.frombuffer(content, np.float32)
