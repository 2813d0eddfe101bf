"""What more cores would give, on paper: measured service times in a small queueing model, checked where it can be.

One photo costs `instance_ms` of one core in a recognizer instance and `front_ms` in the server's own threads. Arrivals
are Poisson; a photo takes the first instance that is free (G/G/c, first come first served), single-threaded, as under
load. Not in the model: memory bandwidth, shared caches, clock speed under load, the network.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loadtest.errors import LoadTestError

PHOTOS = 20_000
SEED = 7
# Triton 2.51.0 reads gRPC inference calls in this many threads (grpc_server.cc, REGISTER_GRPC_INFER_THREAD_COUNT).
GRPC_THREADS = 2
OBJECTIVE_MS = 250.0


@dataclass(frozen=True)
class Costs:
    """What one photo costs, as measured by the bench with 16 callers.

    Attributes:
        instance_ms: CPU in the recognizer's processes.
        front_ms: CPU in the server process.
        client_ms: CPU of the load generator, which shared the machine.
        spread: standard deviation of the logarithm of the service time.
        instance_mb: memory of one instance, shared pages counted once.
    """

    instance_ms: float
    front_ms: float
    client_ms: float
    spread: float
    instance_mb: float

    @classmethod
    def from_report(cls, report: dict[str, Any], name: str = "gRPC, bare") -> Costs:
        """Reads `python -m loadtest bench c16 --json`.

        Raises:
            LoadTestError: the report has no c16.
        """
        if "c16" not in report.get("scenarios", {}):
            raise LoadTestError(
                "The report has no scenario c16. Make one with `python -m loadtest bench c16 --json FILE`."
            )
        rows = {row["name"]: row for row in report["scenarios"]["c16"]["rows"]}
        row = rows[name]
        lone = next(row for row in rows.values() if row["is_ceiling"])
        return cls(
            instance_ms=row["server_cpu_ms"] - row["front_cpu_ms"],
            front_ms=row["front_cpu_ms"],
            client_ms=row["client_cpu_ms"],
            spread=math.log(lone["p99_ms"] / lone["p50_ms"]) / 2.326,  # the normal's 99th percentile
            instance_mb=report["server_memory_mb"]["pss"] / report["machine"]["cores"],
        )


@dataclass(frozen=True)
class Forecast:
    """One size of machine.

    Attributes:
        capacity: photos a second with every core busy.
        rate_in_objective: photos a second at which 99 % are answered within `OBJECTIVE_MS`.
        p50_ms, p99_ms: at 70 % of the capacity.
        front_busy: share of the gRPC threads' time at capacity; near 1 they are the limit.
    """

    cores: int
    capacity: float
    rate_in_objective: float
    p50_ms: float
    p99_ms: float
    front_busy: float
    memory_gb: float


def forecast(costs: Costs, cores: int) -> Forecast:
    """For a machine that has nothing else to do; callers are elsewhere."""
    capacity = cores * 1e3 / (costs.instance_ms + costs.front_ms)
    usual = latencies_ms(costs, cores, 0.7 * capacity)
    return Forecast(
        cores=cores,
        capacity=capacity,
        rate_in_objective=_highest_rate(costs, cores, capacity),
        p50_ms=float(np.percentile(usual, 50)),
        p99_ms=float(np.percentile(usual, 99)),
        front_busy=capacity * costs.front_ms / 1e3 / GRPC_THREADS,
        memory_gb=cores * costs.instance_mb / 1e3,
    )


def latencies_ms(costs: Costs, cores: int, rate: float) -> npt.NDArray[np.float64]:
    """Simulated time in the system of `PHOTOS` photos that arrive at `rate` a second."""
    random = np.random.default_rng(SEED)
    arrivals_ms = np.cumsum(random.exponential(1e3 / rate, PHOTOS))
    # The lognormal's mean is the measured cost; the server's own threads take their share of the cores.
    mean_ms = costs.instance_ms + costs.front_ms
    services_ms = random.lognormal(math.log(mean_ms) - costs.spread**2 / 2, costs.spread, PHOTOS)
    free_at_ms = [0.0] * cores
    latencies = np.empty(PHOTOS)
    for index, (arrival_ms, service_ms) in enumerate(zip(arrivals_ms, services_ms, strict=True)):
        done_ms = max(arrival_ms, heapq.heappop(free_at_ms)) + service_ms
        heapq.heappush(free_at_ms, done_ms)
        latencies[index] = done_ms - arrival_ms
    return latencies


def closed_loop_rate(costs: Costs, cores: int) -> float:
    """Photos a second with callers enough to keep every core busy and the generator on the same machine."""
    return cores * 1e3 / (costs.instance_ms + costs.front_ms + costs.client_ms)


def _highest_rate(costs: Costs, cores: int, capacity: float) -> float:
    low, high = 0.0, capacity
    for _ in range(12):
        middle = (low + high) / 2
        if float(np.percentile(latencies_ms(costs, cores, middle), 99)) <= OBJECTIVE_MS:
            low = middle
        else:
            high = middle
    return low
