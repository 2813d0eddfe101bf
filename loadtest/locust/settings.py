"""Server, users and traffic of a run: options of the command `locust` that it passes on to its Locust processes."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from typing import Any

from loadtest.arguments import add_server, positive
from loadtest.locust.shapes import Shape, make_shape
from loadtest.traffic.corpus import TrafficMix


@dataclass(frozen=True)
class RunSettings:
    """Values of `add_options`, and the latency bound of the objective."""

    target: str
    http: str
    think_s: float
    zipf: float
    repeat_share: float
    bad_share: float
    seed: int
    scale: float
    soak_s: float
    soak_users: int
    under_ms: float

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> RunSettings:
        return cls(**{field.name: getattr(options, field.name) for field in dataclasses.fields(cls)})

    def as_words(self) -> list[str]:
        """The options of a Locust process."""
        values = dataclasses.asdict(self)
        return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]

    @property
    def mix(self) -> TrafficMix:
        return TrafficMix(self.zipf, self.repeat_share, self.bad_share)

    def make_shape(self, name: str) -> Shape:
        """A shape with the durations of the run."""
        return make_shape(name, scale=self.scale, soak_s=self.soak_s, soak_users=self.soak_users)


def add_options(parser: Any) -> None:
    """To the command, and to Locust's own options."""
    add_server(parser, "--target", "--http")
    add = parser.add_argument
    number, share = positive(float, or_zero=True), positive(float, or_zero=True, most=1)
    add("--think-s", type=number, default=0.0, help="seconds between calls (%(default)s)")
    add("--scale", type=positive(float), default=1.0, help="factor of durations (%(default)s)")
    add("--soak-s", type=positive(float), default=600.0, help="seconds of a soak (%(default)s)")
    add("--soak-users", type=positive(int), default=1, help="users of a soak (%(default)s)")
    add("--zipf", type=number, default=TrafficMix.zipf, help="Zipf exponent of the photos' frequency (%(default)s)")
    add("--repeat-share", type=share, default=TrafficMix.repeat_share, help="share of repeated photos (%(default)s)")
    add("--bad-share", type=share, default=TrafficMix.bad_share, help="share of invalid photos (%(default)s)")
    add("--seed", type=int, default=1, help="of photos and draws (%(default)s)")
