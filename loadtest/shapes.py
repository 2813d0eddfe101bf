"""How many users when: the shapes of a run, as plain numbers. No Locust in here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loadtest.errors import LoadTestError

STEP_USERS = (1, 2, 4, 8, 16, 32)
# A break is looked for up to here; past it the generator is what breaks.
MOST_USERS = 128


@dataclass(frozen=True)
class Phase:
    """So many users for so long.

    Attributes:
        start_s: since the start of the run.
        settle_s: at the beginning, left out of the phase's figures: users arrive, queues of the phase before empty.
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
        """From and until, whole seconds of the day, once it has settled: a call belongs to the second it ended in."""
        return math.ceil(started_s + self.start_s + self.settle_s), math.floor(started_s + self.end_s)


@dataclass(frozen=True)
class Shape:
    """Phases one after the other.

    Attributes:
        judged: the phase whose figures must hold the objective; None judges none, because the shape overloads.
        ends_at_break: stops after the first phase that broke.
    """

    name: str
    what: str
    phases: tuple[Phase, ...]
    judged: str | None
    ends_at_break: bool = False

    @property
    def duration_s(self) -> float:
        return self.phases[-1].end_s

    def phase_at(self, run_s: float) -> Phase | None:
        """None once it is over."""
        return next((phase for phase in self.phases if phase.start_s <= run_s < phase.end_s), None)


SHAPES = {
    "smoke": "1 user: does it work, does it hold the objective?",
    "step": "1, 2, 4, ... 32 users: where is the knee?",
    "spike": "1 user, suddenly 32, then 1 again: does it recover?",
    "soak": "a few users for long: does it stay as it is?",
    "breakpoint": "ever more users until 1 % fail or the objective is missed by half: where does it break?",
}


def make_shape(name: str, *, scale: float = 1.0, soak_s: float = 600, soak_users: int = 1) -> Shape:
    """One of `SHAPES`.

    Args:
        name: of the shape.
        scale: of all durations; a test runs shorter.
        soak_s: how long a soak takes, whatever the scale.
        soak_users: of a soak.

    Raises:
        LoadTestError: there is no such shape, or nothing lasts.
    """
    if name not in SHAPES:
        raise LoadTestError(f"There is no shape {name!r}; expected one of {', '.join(SHAPES)}.")
    if scale <= 0 or soak_s <= 0:
        raise LoadTestError(f"A run of {name} with scale {scale:g} and soak {soak_s:g} s ends at once; give more.")
    judged = {"smoke": "steady", "soak": "soak", "spike": "after"}.get(name)
    phases = {
        "smoke": [("steady", 1, 20 * scale)],
        "step": [(_of(users), users, 10 * scale) for users in STEP_USERS],
        "spike": [("before", 1, 10 * scale), ("spike", 32, 10 * scale), ("after", 1, 20 * scale)],
        "soak": [("soak", soak_users, soak_s)],
        "breakpoint": [(_of(users), users, 6 * scale) for users in range(2, MOST_USERS + 1, 6)],
    }[name]
    return Shape(name, SHAPES[name], _in_turn(phases), judged, ends_at_break=name == "breakpoint")


def _of(users: int) -> str:
    return f"{users} user{'s' * (users > 1)}"


def _in_turn(phases: list[tuple[str, int, float]]) -> tuple[Phase, ...]:
    made, start_s = [], 0.0
    for name, users, duration_s in phases:
        made.append(Phase(name, users, start_s, duration_s, settle_s=min(5.0, duration_s / 4)))
        start_s += duration_s
    return tuple(made)
