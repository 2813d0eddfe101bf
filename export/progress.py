"""Progress of a command on the console."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def step(console: Console, name: str) -> Iterator[None]:
    """Shows a step while it runs, then its duration."""
    started = time.monotonic()
    with console.status(f"{name} ..."):
        yield
    console.print(f"  {name:<34} {time.monotonic() - started:5.1f} s")
