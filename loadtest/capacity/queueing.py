"""Queueing model of a replica: from a measured curve to latencies at a rate, and to the number of replicas.

A replica has c servers (the model's instances) and one queue. Arrivals are Poisson: a load balancer that splits a
Poisson process at random gives each replica one. Service times are lognormal: their mean follows from the capacity
with all instances busy, their spread from p50 and p99 of single requests. M/G/c has no exact solution. The model uses
Erlang C for the share of photos that wait (exact for M/M/c), and for the wait its exponential tail scaled by
(1 + cv^2) / 2 (Lee and Longton, 1959; exact mean for M/G/1). A single request uses all cores (docs/decisions, "All
cores for a lone request"), so the mean service time grows with the load from that of a single request to c / capacity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

# Steps of the numeric convolution of wait and service time.
_QUANTILES = 400
# Of the capacity: the rate of an idle replica.
_IDLE_SHARE = 1e-4
# Highest planned utilization, a reserve for a lost replica and for bursts.
MOST_BUSY = 0.85


@dataclass(frozen=True)
class Replica:
    """Measured properties of one replica.

    Attributes:
        instances: c.
        service_s: mean service time of a photo with all instances busy.
        cv: standard deviation of the service time over its mean.
        single_s: mean latency of a photo without other load.
    """

    instances: int
    service_s: float
    cv: float
    single_s: float

    @property
    def capacity(self) -> float:
        """Photos per second with all instances busy: c / S."""
        return self.instances / self.service_s

    @classmethod
    def from_curve(cls, curve: dict[str, Any]) -> Replica:
        """Of a report of `triptych loadtest open-loop --curve --json`."""
        single, instances = curve["single"], int(curve["instances"])
        service_s = instances / float(curve["capacity_per_s"])
        # For a lognormal p99 / p50 = exp(2.326 sigma), and cv^2 = exp(sigma^2) - 1.
        sigma = math.log(single["p99_ms"] / single["p50_ms"]) / 2.326
        return cls(instances, service_s, math.sqrt(math.exp(sigma**2) - 1), single["mean_ms"] / 1e3)


@dataclass(frozen=True)
class Prediction:
    """One replica at one rate.

    Attributes:
        utilization: rho, share of the instances' time.
        waiting_share: Erlang C, share of the photos that wait.
        wait_s: mean wait of these photos.
        p50_s, p99_s: of wait and service time.
    """

    utilization: float
    waiting_share: float
    wait_s: float
    p50_s: float
    p99_s: float


def erlang_c(servers: int, offered: float) -> float:
    """Share of arrivals that wait in M/M/c with `offered` = arrival rate x service time, less than `servers`."""
    blocked = 1.0  # Erlang B by its recursion, which does not overflow
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


def predict(replica: Replica, rate: float) -> Prediction:
    """One replica at `rate` photos per second; latencies are infinite from its capacity on."""
    utilization = rate / replica.capacity
    if utilization >= 1:
        return Prediction(utilization, 1.0, math.inf, math.inf, math.inf)
    waiting = erlang_c(replica.instances, rate * replica.service_s)
    wait_s = (1 + replica.cv**2) / 2 / (replica.capacity - rate)
    p50_s, p99_s = (_quantile(replica, utilization, waiting, wait_s, share) for share in (0.5, 0.99))
    return Prediction(utilization, waiting, wait_s, p50_s, p99_s)


def _quantile(replica: Replica, utilization: float, waiting: float, wait_s: float, share: float) -> float:
    """Of W + S by bisection: W is 0 with 1 - waiting, else exponential of mean wait_s; S is lognormal."""
    sigma = math.sqrt(math.log(1 + replica.cv**2))
    normal = NormalDist()
    ranks = np.array([normal.inv_cdf((step + 0.5) / _QUANTILES) for step in range(_QUANTILES)])
    single_s = min(replica.single_s, replica.service_s)
    mean_s = single_s + utilization * (replica.service_s - single_s)
    service_s = mean_s * np.exp(sigma * ranks - sigma**2 / 2)
    low, high = 0.0, float(service_s[-1]) + 40 * wait_s
    for _ in range(60):
        middle = (low + high) / 2
        left_s = middle - service_s
        later = np.where(left_s < 0, 1.0, waiting * np.exp(-np.maximum(left_s, 0) / wait_s))
        low, high = (middle, high) if float(later.mean()) > 1 - share else (low, middle)
    return high


@dataclass(frozen=True)
class Plan:
    """Number of replicas for a rate.

    Attributes:
        highest_rate: photos per second at which one replica meets p99; None where an idle replica misses it.
        by_capacity: replicas at which the utilization is at most `MOST_BUSY`.
        by_latency: replicas at which p99 is met; None where there is no such number.
        replicas: the larger of both, and the spare replicas.
        prediction: of each replica with none lost; of an idle one where there is no number.
    """

    rate: float
    p99_s: float
    highest_rate: float | None
    by_capacity: int
    by_latency: int | None
    replicas: int | None
    prediction: Prediction


def plan(replica: Replica, rate: float, p99_s: float, spare: int = 1) -> Plan:
    """The fewest replicas for `rate` photos per second with 99 % of answers within `p99_s`, and `spare` more."""
    by_capacity = math.ceil(rate / (replica.capacity * MOST_BUSY))
    highest = highest_rate(replica, p99_s)
    if highest is None:
        return Plan(rate, p99_s, None, by_capacity, None, None, predict(replica, replica.capacity * _IDLE_SHARE))
    by_latency = math.ceil(rate / highest)
    needed = max(by_capacity, by_latency)
    return Plan(rate, p99_s, highest, by_capacity, by_latency, needed + spare, predict(replica, rate / needed))


def highest_rate(replica: Replica, p99_s: float) -> float | None:
    """Photos per second of one replica with p99 met; None where an idle replica misses it."""
    low, high = replica.capacity * _IDLE_SHARE, replica.capacity
    if predict(replica, low).p99_s > p99_s:
        return None
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if predict(replica, middle).p99_s <= p99_s else (low, middle)
    return low


def describe(replica: Replica, made: Plan) -> list[str]:
    """The arithmetic, one step per line."""
    bound, found = f"{made.p99_s * 1e3:g} ms", made.prediction
    lines = [
        f"service time S = c / capacity = {replica.instances} / {replica.capacity:.1f} = "
        f"{replica.service_s * 1e3:.1f} ms; cv = {replica.cv:.2f} (from p99 / p50 of single requests, mean "
        f"{replica.single_s * 1e3:.1f} ms)",
        f"by capacity: n = ceil(rate / (capacity x {MOST_BUSY})) = ceil({made.rate:g} / ({replica.capacity:.1f} x "
        f"{MOST_BUSY})) = {made.by_capacity}",
    ]
    if made.by_latency is None:
        return [
            *lines,
            f"by latency: an idle replica has p99 {found.p99_s * 1e3:.0f} ms, more than {bound}. No number of replicas "
            "meets the bound; faster instances or a higher bound do.",
        ]
    needed = max(made.by_capacity, made.by_latency)
    return [
        *lines,
        f"by latency: one replica meets p99 <= {bound} up to {made.highest_rate:.1f}/s, so "
        f"n = ceil({made.rate:g} / {made.highest_rate:.1f}) = {made.by_latency}",
        f"at n = {needed}: {made.rate / needed:.2f}/s each, offered load a = rate x S = "
        f"{made.rate / needed * replica.service_s:.2f} Erlang on c = {replica.instances}, utilization "
        f"{found.utilization:.0%}",
        f"share that waits (Erlang C) = {found.waiting_share:.1%}, mean wait (1 + cv^2) / 2 / (capacity - rate) = "
        f"{found.wait_s * 1e3:.1f} ms",
        f"wait + service: p50 {found.p50_s * 1e3:.0f} ms, p99 {found.p99_s * 1e3:.0f} ms; with spare replicas: "
        f"{made.replicas} replicas",
    ]
