"""One line of `triptych check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """Attributes:
    subject: the checked thing, in one or two words.
    sentence: the finding.
    fix: the next step; empty when none is needed.
    """

    level: Literal["ok", "warning", "error"]
    subject: str
    sentence: str
    fix: str = ""
