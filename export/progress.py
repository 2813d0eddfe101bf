"""Progress of a command on the console, and silence of the libraries that it calls."""

from __future__ import annotations

import io
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

from rich.console import Console
from rich.progress import Progress

# Number of finished and of all items.
OnProgress = Callable[[int, int], None]


@contextmanager
def step(console: Console, name: str) -> Iterator[None]:
    """Shows a step while it runs, then its duration."""
    started = time.monotonic()
    with console.status(f"{name} ..."):
        yield
    console.print(f"  {name:<34} {time.monotonic() - started:5.1f} s")


@contextmanager
def counted_step(console: Console, name: str) -> Iterator[OnProgress]:
    """A step with a progress bar, which the yielded function advances."""
    with Progress(console=console, transient=True) as bar, step(console, name):
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences a library: its warnings, its log messages below errors, and what it prints."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.setLevel(level)
