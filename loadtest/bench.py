"""What serving costs: the same photos through one process, raw tritonclient and the client, in interleaved turns.

Turns are short and take each other's place every round, because these machines drift by a third within minutes: only
ratios inside one run mean anything.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import tritonclient.grpc as triton
from rich.console import Console
from rich.progress import track
from rich.table import Table

from triptych import Client

Recognize = Callable[[bytes], object]


@dataclass
class Contestant:
    """One way to recognise a photo, and how long each call took (seconds), a list a round."""

    name: str
    recognize: Recognize
    rounds: list[list[float]] = field(default_factory=list)

    @property
    def p50_ms(self) -> float:
        """Median over all calls, milliseconds."""
        return statistics.median(self._latencies_s) * 1e3

    @property
    def p99_ms(self) -> float:
        """99th percentile over all calls, milliseconds."""
        return float(np.percentile(self._latencies_s, 99)) * 1e3

    @property
    def _latencies_s(self) -> list[float]:
        return [latency for latencies in self.rounds for latency in latencies]

    def ratios_to(self, other: Contestant) -> list[float]:
        """Median over median, one figure a round."""
        return [
            statistics.median(mine) / statistics.median(theirs)
            for mine, theirs in zip(self.rounds, other.rounds, strict=True)
        ]


def raw_grpc(channel: triton.InferenceServerClient) -> Recognize:
    """The least a Python caller can do over gRPC: one tritonclient request, outputs as arrays."""

    def recognize(photo: bytes) -> object:
        image = triton.InferInput("image", [1, 1], "BYTES")
        image.set_data_from_numpy(np.array([[photo]], dtype=object))
        answer = channel.infer("recognizer", [image])
        return answer.as_numpy("category_scores"), answer.as_numpy("embedding")

    return recognize


def measure(contestants: Sequence[Contestant], photos: Sequence[bytes], rounds: int, console: Console) -> None:
    """One photo at a time, every contestant in turn, `rounds` times; two unmeasured photos before each turn."""
    for _ in track(range(rounds), description="Measuring", console=console, transient=True):
        for contestant in contestants:
            for photo in photos[:2]:
                contestant.recognize(photo)
            latencies = []
            for photo in photos:
                started = time.perf_counter()
                contestant.recognize(photo)
                latencies.append(time.perf_counter() - started)
            contestant.rounds.append(latencies)


def report(contestants: Sequence[Contestant], console: Console) -> None:
    """A table: medians, and the ratio to the first contestant with its range over the rounds."""
    base = contestants[0]
    table = Table("one photo at a time", "p50 ms", "p99 ms", "ratio", "range over rounds", box=None)
    for contestant in contestants:
        ratios = contestant.ratios_to(base)
        table.add_row(
            contestant.name,
            f"{contestant.p50_ms:.2f}",
            f"{contestant.p99_ms:.2f}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f}-{max(ratios):.2f}",
        )
    console.print(table)


def served_threads(channel: triton.InferenceServerClient) -> int:
    """ONNX Runtime threads of one embedder instance, as the running server has it."""
    config = channel.get_model_config("embedder").config
    return int(config.parameters["intra_op_threads"].string_value)


def is_cached(recognize: Recognize, photo: bytes) -> bool:
    """Whether a repeated photo is answered without computing it: such a server's latencies would mean nothing."""
    took = []
    for _ in range(5):
        started = time.perf_counter()
        recognize(photo)
        took.append(time.perf_counter() - started)
    return min(took[1:]) < took[0] / 4


def through_client(client: Client) -> Recognize:
    """The client's `recognize`."""
    return lambda photo: client.recognize(photo)
