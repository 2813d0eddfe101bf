"""Ctrl-C, SIGTERM and a closed terminal, counted: the first asks for a clean stop, the second for one at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequests:
    """Create it in the main thread; it handles the signals from then on."""

    def __init__(self) -> None:
        self._count = 0
        self._asked = threading.Event()
        for number in SIGNALS:
            signal.signal(number, self._note)

    def is_asked(self) -> bool:
        return self._count > 0

    def is_hurried(self) -> bool:
        return self._count > 1

    def wait(self, timeout_s: float) -> None:
        """Returns early when a signal comes."""
        self._asked.wait(timeout_s)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        self._asked.set()
