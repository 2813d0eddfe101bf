"""From a measured curve to replicas: the queueing arithmetic, each step as a line that can be checked by hand.

A replica is c servers (the model's instances) with one queue. Its arrivals are Poisson, as those of a fleet are that
is split evenly at random. Service takes S, lognormal: its mean from what the replica can do with every instance busy,
its spread from how long one photo took alone. M/G/c has no exact solution; used are Erlang C for the share that waits
(exact for M/M/c) and, for how long, its exponential tail scaled by (1 + cv^2) / 2 (Lee and Longton, 1959; exact mean
for M/G/1). M/D/c is the case cv = 0. A photo that is alone has all cores to itself (DECISIONS.md, "All cores for a lone
request"), so the service time goes from that of a lone photo, idle, to c / capacity, busy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from loadtest.errors import LoadTestError

# Steps of the numeric convolution of waiting and service.
_QUANTILES = 400
# A fleet is not run nearer to its limit: a lost replica, a wave of photos.
MOST_BUSY = 0.85


@dataclass(frozen=True)
class Replica:
    """What one replica can do, as measured.

    Attributes:
        instances: c.
        service_s: mean time of a photo in an instance while all are busy.
        cv: standard deviation of the service time over its mean.
        alone_s: mean time of a photo, from call to answer, with nothing else going on.
    """

    instances: int
    service_s: float
    cv: float
    alone_s: float

    @property
    def capacity(self) -> float:
        """Photos a second with every instance busy: c / S."""
        return self.instances / self.service_s

    @classmethod
    def from_curve(cls, curve: dict[str, Any]) -> Replica:
        """Of `python -m loadtest server --curve --json`.

        Raises:
            LoadTestError: it is no curve.
        """
        try:
            alone, instances = curve["alone"], int(curve["instances"])
            service_s = instances / float(curve["offline_per_s"])
            # Of a lognormal p99 / p50 = exp(2.326 sigma), and cv^2 = exp(sigma^2) - 1.
            sigma = math.log(alone["served_p99_ms"] / alone["served_p50_ms"]) / 2.326
            return cls(instances, service_s, math.sqrt(math.exp(sigma**2) - 1), alone["served_mean_ms"] / 1e3)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise LoadTestError(
                f"This is no curve ({error!r}). `python -m ops run -- python -m loadtest server --curve --json FILE` "
                "measures one."
            ) from error


@dataclass(frozen=True)
class Answer:
    """One replica at one rate.

    Attributes:
        busy: rho, share of the instances' time.
        waits: Erlang C, share of the photos that wait.
        wait_s: mean wait of those that do.
        p50_s, p99_s: wait and service together.
    """

    busy: float
    waits: float
    wait_s: float
    p50_s: float
    p99_s: float


def erlang_c(servers: int, offered: float) -> float:
    """Share of arrivals that wait in M/M/c with `offered` = arrival rate x service time, below `servers`."""
    blocked = 1.0  # Erlang B by its recursion, which does not overflow
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


def answer_times(replica: Replica, rate: float) -> Answer:
    """Of one replica at `rate` photos a second; infinite from its capacity on."""
    busy = rate / replica.capacity
    if busy >= 1:
        return Answer(busy, 1.0, math.inf, math.inf, math.inf)
    waits = erlang_c(replica.instances, rate * replica.service_s)
    wait_s = (1 + replica.cv**2) / 2 / (replica.capacity - rate)
    return Answer(busy, waits, wait_s, *(_quantile(replica, busy, waits, wait_s, share) for share in (0.5, 0.99)))


def _quantile(replica: Replica, busy: float, waits: float, wait_s: float, share: float) -> float:
    """Of W + S: W is 0 with 1 - waits, else exponential of mean wait_s; S is lognormal. By bisection."""
    sigma = math.sqrt(math.log(1 + replica.cv**2))
    ranks = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    lone_s = min(replica.alone_s, replica.service_s)
    mean_s = lone_s + busy * (replica.service_s - lone_s)
    service_s = mean_s * np.exp(sigma * _normal_quantiles(ranks) - sigma**2 / 2)
    low, high = 0.0, float(service_s[-1]) + 40 * wait_s
    for _ in range(60):
        middle = (low + high) / 2
        left_s = middle - service_s
        later = np.where(left_s < 0, 1.0, waits * np.exp(-np.maximum(left_s, 0) / wait_s))
        low, high = (middle, high) if float(later.mean()) > 1 - share else (low, middle)
    return high


def _normal_quantiles(ranks: Any) -> Any:
    from statistics import NormalDist

    return np.array([NormalDist().inv_cdf(float(rank)) for rank in ranks])


@dataclass(frozen=True)
class Plan:
    """How many replicas a rate needs.

    Attributes:
        by_capacity: replicas at which none is busier than `MOST_BUSY`.
        by_latency: replicas at which p99 holds; None where even an idle one is too slow.
        replicas: the larger of both, and one more, so that one may be lost.
    """

    rate: float
    p99_s: float
    by_capacity: int
    by_latency: int | None
    replicas: int | None
    answer: Answer | None


def plan(replica: Replica, rate: float, p99_s: float, spare: int = 1) -> Plan:
    """The fewest replicas that take `rate` photos a second with 99 % answered within `p99_s`, and `spare` more."""
    by_capacity = math.ceil(rate / (replica.capacity * MOST_BUSY))
    highest = highest_rate(replica, p99_s)
    if highest is None:
        return Plan(rate, p99_s, by_capacity, None, None, None)
    by_latency = math.ceil(rate / highest)
    needed = max(by_capacity, by_latency)
    return Plan(rate, p99_s, by_capacity, by_latency, needed + spare, answer_times(replica, rate / needed))


def highest_rate(replica: Replica, p99_s: float) -> float | None:
    """Photos a second that one replica answers with p99 held; None where an idle one misses it."""
    low, high = replica.capacity * 1e-4, replica.capacity
    if answer_times(replica, low).p99_s > p99_s:
        return None
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if answer_times(replica, middle).p99_s <= p99_s else (low, middle)
    return low


def describe(replica: Replica, made: Plan) -> list[str]:
    """The arithmetic, a step a line."""
    lines = [
        f"service time S = c / capacity = {replica.instances} / {replica.capacity:.1f} = "
        f"{replica.service_s * 1e3:.1f} ms; cv = {replica.cv:.2f} (from p99 / p50 of one photo alone, "
        f"{replica.alone_s * 1e3:.1f} ms on the mean)",
        f"by capacity: n = ceil(rate / (capacity x {MOST_BUSY})) = ceil({made.rate:g} / ({replica.capacity:.1f} x "
        f"{MOST_BUSY})) = {made.by_capacity}",
    ]
    if made.by_latency is None or made.answer is None:
        idle = answer_times(replica, replica.capacity * 1e-4)
        return [
            *lines,
            f"by latency: an idle replica has p99 {idle.p99_s * 1e3:.0f} ms, more than {made.p99_s * 1e3:g} ms. No "
            "number of replicas mends that: faster instances or a looser bound would.",
        ]
    highest = highest_rate(replica, made.p99_s)
    needed, answer = max(made.by_capacity, made.by_latency), made.answer
    offered = made.rate / needed * replica.service_s
    return [
        *lines,
        f"by latency: one replica holds p99 <= {made.p99_s * 1e3:g} ms up to {highest:.1f}/s, so "
        f"n = ceil({made.rate:g} / {highest:.1f}) = {made.by_latency}",
        f"at n = {needed}: {made.rate / needed:.2f}/s each, a = rate x S = {offered:.2f} Erlang on "
        f"c = {replica.instances}, busy {answer.busy:.0%}",
        f"share that waits (Erlang C) = {answer.waits:.1%}; they wait (1 + cv^2) / 2 / (capacity - rate) = "
        f"{answer.wait_s * 1e3:.1f} ms on the mean",
        f"wait + service: p50 {answer.p50_s * 1e3:.0f} ms, p99 {answer.p99_s * 1e3:.0f} ms; with one replica to lose: "
        f"{made.replicas} replicas",
    ]
