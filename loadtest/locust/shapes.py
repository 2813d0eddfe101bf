"""Load shapes: the number of users over time. Must not import Locust."""

from __future__ import annotations

import math
from dataclasses import dataclass

STEP_USERS = (1, 2, 4, 8, 16, 32)
# The shape breakpoint ends here: with more users the generator is the limit.
MOST_USERS = 128


@dataclass(frozen=True)
class Phase:
    """A constant number of users.

    Attributes:
        start_s: since the start of the run.
        settle_s: at the start of the phase, excluded from its figures: users start, queues of the last phase drain.
    """

    name: str
    users: int
    start_s: float
    duration_s: float
    settle_s: float

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s

    def seconds(self, started_s: float) -> tuple[int, int]:
        """First and end second (time of day) after settling; a call counts in the second in which it ended."""
        return math.ceil(started_s + self.start_s + self.settle_s), math.floor(started_s + self.end_s)


@dataclass(frozen=True)
class Shape:
    """Phases in sequence.

    Attributes:
        objective_phase: the phase that must meet the objective; None for shapes that overload the server.
        ends_at_break: whether the run ends after the first phase that breaks.
    """

    name: str
    description: str
    phases: tuple[Phase, ...]
    objective_phase: str | None
    ends_at_break: bool = False

    @property
    def duration_s(self) -> float:
        return self.phases[-1].end_s

    def phase_at(self, run_s: float) -> Phase | None:
        """None after the end."""
        return next((phase for phase in self.phases if phase.start_s <= run_s < phase.end_s), None)


SHAPES = {
    "smoke": "1 user: correct answers and the objective",
    "step": "1, 2, 4, ... 32 users: the knee of the throughput",
    "spike": "1 user, then 32, then 1: recovery",
    "soak": "constant users for a long time: stability",
    "breakpoint": "6 more users per step until 1 % of calls fail or p99 exceeds 1.5 times the objective",
}


def make_shape(name: str, *, scale: float = 1.0, soak_s: float = 600, soak_users: int = 1) -> Shape:
    """One of `SHAPES`; `scale` is a factor of all durations but that of a soak."""
    objective_phase = {"smoke": "steady", "soak": "soak", "spike": "after"}.get(name)
    phases = {
        "smoke": [("steady", 1, 20 * scale)],
        "step": [(_format_users(users), users, 10 * scale) for users in STEP_USERS],
        "spike": [("before", 1, 10 * scale), ("spike", 32, 10 * scale), ("after", 1, 20 * scale)],
        "soak": [("soak", soak_users, soak_s)],
        "breakpoint": [(_format_users(users), users, 6 * scale) for users in range(2, MOST_USERS + 1, 6)],
    }[name]
    return Shape(name, SHAPES[name], _in_sequence(phases), objective_phase, ends_at_break=name == "breakpoint")


def _format_users(users: int) -> str:
    return f"{users} user{'s' * (users > 1)}"


def _in_sequence(phases: list[tuple[str, int, float]]) -> tuple[Phase, ...]:
    made, start_s = [], 0.0
    for name, users, duration_s in phases:
        made.append(Phase(name, users, start_s, duration_s, settle_s=min(5.0, duration_s / 4)))
        start_s += duration_s
    return tuple(made)
