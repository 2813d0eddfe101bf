"""What a long job shows on stderr, and when."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from triptych.cli.jobs import progress
from triptych.cli.jobs.progress import Progress, open_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    # pytest puts its own sys.stderr back between fixture and test.
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=terminal))
    return terminal


def show(photos: int, failed: int = 0, *, rows_on_terminal: bool = False) -> Progress:
    shown = open_progress(lambda: 12, lambda: 2, rows_on_terminal=rows_on_terminal)
    for _ in range(photos):
        shown.step(failed)
    shown.close()
    return shown


def test_bar_shows_what_an_earlier_run_did_and_goes_at_the_end(
    stderr: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_DELAY_S", 0)
    shown = open_progress(lambda: 12, lambda: 2, rows_on_terminal=False)
    shown.step(1)
    assert "2/12" in stderr.getvalue()
    shown.close()
    assert stderr.getvalue().rstrip(" ").endswith("\r")


def test_nothing_is_shown_when_work_is_short(stderr: Terminal) -> None:
    show(10)
    assert stderr.getvalue().strip() == ""


@pytest.mark.parametrize("rows_on_terminal", [True, False])
def test_nothing_is_shown_when_nobody_watches_or_the_rows_are(
    rows_on_terminal: bool, stderr: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not rows_on_terminal:
        monkeypatch.setattr(stderr, "isatty", lambda: False)
    monkeypatch.setattr(progress, "_DELAY_S", 0)
    show(10, rows_on_terminal=rows_on_terminal)
    assert stderr.getvalue() == ""


def test_lines_are_shown_when_the_extra_is_missing(stderr: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, **_: Any) -> None:
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(progress, "require", missing)
    show(10, failed=3)
    assert stderr.getvalue() == ""  # it took less than five seconds
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0)
    show(10, failed=3)
    *_, last = stderr.getvalue().splitlines()
    assert last.startswith("triptych: 12 of 12 photos, ")
    assert last.endswith("/s, 3 failed")
