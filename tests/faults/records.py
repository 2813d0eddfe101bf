"""What the tier saw, kept for `python -m tests.faults.report`: one JSON file a row in `.cache/faults`."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from tests.faults.load import Load

FOLDER = Path(__file__).resolve().parents[2] / ".cache/faults"


@dataclass(frozen=True)
class FaultRow:
    """One fault under load.

    Attributes:
        lost: calls that failed, by class of error.
        wrong: answers that were not the photo's.
    """

    fault: str
    servers: int
    tries: int
    lost: dict[str, int]
    wrong: int
    recovery_s: float
    test: str


@dataclass(frozen=True)
class InputRow:
    """One class of hostile input.

    Attributes:
        answered: odd but whole, or damaged where it does not matter.
        crashed: neither answered nor refused with a sentence.
    """

    kind: str
    against: str
    tries: int
    refused: int
    answered: int
    crashed: int
    most_cpu_s: float | None
    most_memory_bytes: int | None
    test: str


@dataclass(frozen=True)
class AttackRow:
    """One attack over the network, beside callers who recognize photos.

    Attributes:
        answer: what the attacker got.
        most_memory_mb: of server and front together, over what they held before; kept_memory_mb: what they held after.
        calm_p99_s: of the other callers before the attack; attacked_p99_s: of their calls that met it.
        lost: their calls that failed.
    """

    attack: str
    answer: str
    most_memory_mb: int
    kept_memory_mb: int
    calm_p99_s: float
    attacked_p99_s: float
    lost: int
    test: str


Row = TypeVar("Row", FaultRow, InputRow, AttackRow)


def keep(row: FaultRow | InputRow | AttackRow) -> None:
    """Replaces what an earlier run said of the same."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if isinstance(row, InputRow):
        name = f"{row.kind} against {row.against}"
    else:
        name = row.fault if isinstance(row, FaultRow) else row.attack
    servers = f" {row.servers}" if isinstance(row, FaultRow) else ""
    file = FOLDER / f"{type(row).__name__}-{re.sub('[^a-z0-9]+', '-', (name + servers).lower())}.json"
    file.write_text(json.dumps(asdict(row)) + "\n", encoding="utf-8")


def keep_load(fault: str, servers: int, load: Load, since_s: float, test: str) -> None:
    """A row about callers who never paused."""
    keep(FaultRow(fault, servers, load.tries, load.kinds(), load.wrong, round(load.recovery_s(since_s), 1), test))


def read(kind: type[Row]) -> list[Row]:
    """The rows of the last run of each test."""
    files = sorted(FOLDER.glob(f"{kind.__name__}-*.json"))
    return [kind(**json.loads(file.read_text(encoding="utf-8"))) for file in files]
