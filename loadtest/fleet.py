"""A simulated fleet (SimPy): dynamic batching in each replica, an autoscaler over all of them.

Photos come as a Poisson process whose rate changes with time and are split evenly at random, so that a replica of n
gets a Poisson process of rate / n. All replicas are alike, so a few are simulated photo by photo and stand for the
fleet: 100,000 photos/s cost no more than 1,000.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy


@dataclass(frozen=True)
class Batching:
    """One replica.

    Attributes:
        instances: runs at once.
        fixed_s: of a run, whatever is in it.
        photo_s: of each photo in it.
        most: photos in a run.
        sigma: of a photo's lognormal spread.
        lone_s: of a single photo while nothing else runs, which has all cores to itself; None: as any other.
    """

    instances: int
    fixed_s: float
    photo_s: float
    most: int
    sigma: float
    lone_s: float | None = None

    @property
    def capacity(self) -> float:
        """Photos a second with full runs in every instance."""
        return self.instances * self.most / (self.fixed_s + self.photo_s * self.most)


@dataclass(frozen=True)
class Autoscaler:
    """Kubernetes' rule: wanted = ceil(replicas x measured / target), looked at every `period_s`.

    Attributes:
        target: photos in flight a replica.
        start_s: until a new replica answers.
        hold_s: what is taken away leaves the highest number that was wanted in the last so many seconds.
        tolerance: measured over target within which nothing is done.
        most: replicas at most.
        growth: replicas may at most so often multiply in a period.
    """

    target: float
    period_s: float = 15.0
    start_s: float = 30.0
    hold_s: float = 300.0
    tolerance: float = 0.1
    least: int = 1
    most: int = 100_000
    growth: float = 2.0


@dataclass
class Record:
    """What happened.

    Attributes:
        latencies: (arrival, latency), seconds.
        replicas: (time, replicas that answer, photos/s due).
    """

    latencies: list[tuple[float, float]] = field(default_factory=list)
    replicas: list[tuple[float, int, float]] = field(default_factory=list)

    def percentile_ms(self, percent: float, from_s: float = 0.0, until_s: float = math.inf) -> float:
        """Of photos that came in between; NaN where there were none."""
        chosen = [latency for arrived, latency in self.latencies if from_s <= arrived < until_s]
        return float(np.percentile(chosen, percent)) * 1e3 if chosen else math.nan


class _Replica:
    """A queue, and instances that take what waits, up to a full run: Triton's dynamic batching without a delay."""

    def __init__(self, environment: simpy.Environment, fleet: Fleet) -> None:
        self.waiting: deque[float] = deque()
        self.running = 0
        self.is_counted = True
        self._free = fleet.batching.instances
        self._environment = environment
        self._fleet = fleet

    @property
    def in_flight(self) -> int:
        return len(self.waiting) + self.running

    def arrive(self) -> None:
        self.waiting.append(self._environment.now)
        if self._free:
            self._free -= 1
            self._environment.process(self._run())

    def _run(self) -> Generator[simpy.Event, Any, None]:
        batching, fleet = self._fleet.batching, self._fleet
        while self.waiting:
            batch = [self.waiting.popleft() for _ in range(min(len(self.waiting), batching.most))]
            self.running += len(batch)
            mean_s = batching.fixed_s + batching.photo_s * len(batch)
            if batching.lone_s is not None and len(batch) == 1 and self._free == batching.instances - 1:
                mean_s = batching.lone_s
            # Photos of a run are as different as photos one by one: their sum varies less than each.
            spreads = fleet.draw.lognormal(-(batching.sigma**2) / 2, batching.sigma, len(batch))
            yield self._environment.timeout(mean_s * float(spreads.mean()))
            self.running -= len(batch)
            if self.is_counted:
                fleet.record.latencies += [(arrived, self._environment.now - arrived) for arrived in batch]
        self._free += 1


class Fleet:
    """One simulation.

    Args:
        batching: of each replica.
        rate_at: second -> photos a second that are due.
        scaler: None keeps the number of replicas.
        replicas: at the start.
        sample: how many of them are simulated; they stand for all.
        seed: of everything that is drawn.
    """

    def __init__(
        self,
        batching: Batching,
        rate_at: Callable[[float], float],
        *,
        scaler: Autoscaler | None = None,
        replicas: int = 1,
        sample: int = 8,
        seed: int = 1,
    ) -> None:
        self.batching = batching
        self.record = Record()
        self.draw = np.random.default_rng(seed)
        self._rate_at = rate_at
        self._scaler = scaler
        self._count = replicas
        self.sample = sample

    def run(self, duration_s: float) -> Record:
        """Simulates so long; photos still in flight at the end are left out."""
        environment = simpy.Environment()
        simulated = [_Replica(environment, self) for _ in range(min(self.sample, self._count))]
        for slot in range(len(simulated)):
            environment.process(self._feed(environment, slot, simulated))
        environment.process(self._watch(environment, simulated))
        environment.run(until=duration_s)
        return self.record

    def _feed(
        self, environment: simpy.Environment, slot: int, simulated: list[_Replica]
    ) -> Generator[simpy.Event, Any, None]:
        while True:
            rate = self._rate_at(environment.now) / self._count
            # A rate that changes is drawn anew at least once a second, which a Poisson process does not notice.
            wait_s = self.draw.exponential(1 / rate) if rate > 0 else math.inf
            yield environment.timeout(min(wait_s, 1.0))
            if wait_s <= 1.0:
                simulated[slot].arrive()

    def _watch(self, environment: simpy.Environment, simulated: list[_Replica]) -> Generator[simpy.Event, Any, None]:
        scaler, beats, in_flight = self._scaler, 0, 0.0
        wishes: deque[tuple[float, int]] = deque([(0.0, self._count)])
        while True:
            self.record.replicas.append((environment.now, self._count, self._rate_at(environment.now)))
            yield environment.timeout(1.0)
            if scaler is None:
                continue
            beats, in_flight = beats + 1, in_flight + sum(each.in_flight for each in simulated) / len(simulated)
            if beats < scaler.period_s:
                continue
            ratio = in_flight / beats / scaler.target
            beats, in_flight = 0, 0.0
            wanted = max(
                scaler.least, min(math.ceil(self._count * ratio), int(self._count * scaler.growth), scaler.most)
            )
            wishes.append((environment.now, self._count if abs(ratio - 1) <= scaler.tolerance else wanted))
            while wishes[0][0] <= environment.now - scaler.hold_s:
                wishes.popleft()
            if ratio > 1 + scaler.tolerance and wanted > self._count:
                environment.process(self._grow(environment, simulated, wanted, scaler.start_s))
            elif ratio < 1 - scaler.tolerance:
                self._count = min(self._count, max(wish for _, wish in wishes))

    def _grow(
        self, environment: simpy.Environment, simulated: list[_Replica], wanted: int, start_s: float
    ) -> Generator[simpy.Event, Any, None]:
        yield environment.timeout(start_s)
        if wanted <= self._count:
            return
        # New replicas have no backlog. The sample gets its share of them, or a few old ones would speak for all.
        new_share, self._count = 1 - self._count / wanted, wanted
        for slot, replica in enumerate(simulated):
            if self.draw.random() < new_share:
                replica.is_counted = False
                simulated[slot] = _Replica(environment, self)
        while len(simulated) < min(self.sample, self._count):
            simulated.append(_Replica(environment, self))
            environment.process(self._feed(environment, len(simulated) - 1, simulated))
