"""Progress of a job on stderr: a progress bar with the extra `cli`, otherwise a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from triptych._optional import require

# A shorter job shows no bar.
_DELAY_S = 1.0
_LINE_EVERY_S = 5.0


class Progress:
    """No progress; base class of the others."""

    def step(self, failed: int) -> None:
        """Counts one more photo; `failed` photos have failed so far."""

    def close(self) -> None:
        """Removes the progress bar."""


def open_progress(count: Callable[[], int], count_done: Callable[[], int], *, rows_on_terminal: bool) -> Progress:
    """Shows progress if stderr is a terminal, unless the results appear on the terminal.

    Args:
        count: counts all photos; called once, and only if progress is shown.
        count_done: counts the photos that an earlier run finished; called likewise.
        rows_on_terminal: whether the results appear on the terminal.
    """
    if rows_on_terminal or not sys.stderr.isatty():
        return Progress()
    try:
        bar = require("tqdm", extra="cli", wanted_by="A progress bar").tqdm
    except ModuleNotFoundError:
        return _Lines(count(), count_done())
    shown = {"unit": " photos", "delay": _DELAY_S, "dynamic_ncols": True, "leave": False, "file": sys.stderr}
    return _Bar(bar(total=count(), initial=count_done(), **shown))


class _Bar(Progress):
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def step(self, failed: int) -> None:
        if failed:
            self._bar.set_postfix(failed=failed, refresh=False)
        self._bar.update()

    def close(self) -> None:
        self._bar.close()


class _Lines(Progress):
    def __init__(self, total: int, done: int) -> None:
        self._total = total
        self._begin = self._done = done
        self._started_s = self._shown_s = time.monotonic()

    def step(self, failed: int) -> None:
        self._done += 1
        now_s = time.monotonic()
        if now_s - self._shown_s < _LINE_EVERY_S:
            return
        self._shown_s = now_s
        rate = (self._done - self._begin) / (now_s - self._started_s)
        failures = f", {failed} failed" if failed else ""
        print(f"triptych: {self._done} of {self._total} photos, {rate:.0f}/s{failures}", file=sys.stderr, flush=True)
