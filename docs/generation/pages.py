"""What every generator returns, and the Markdown that all of them write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class GenerationError(Exception):
    """A page cannot be derived; the message names the source and the next step. The build stops."""


@dataclass(frozen=True)
class Page:
    """One generated page.

    Attributes:
        path: below `docs/`, with the suffix `.md`.
        text: Markdown; the first line is the title.
    """

    path: str
    text: str


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; line breaks and bars in a cell are escaped."""
    lines = [_row(head), _row(["---"] * len(head)), *(_row([_cell(cell) for cell in row]) for row in rows)]
    return "\n".join(lines) + "\n"


def fence(code: str, language: str = "text") -> str:
    """A code block."""
    return f"```{language}\n{code.rstrip()}\n```\n"


def as_text(text: str) -> str:
    """Text as Markdown that shows it unchanged: no HTML tag, no link, no emphasis; code in backticks stays code."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("[", "&#91;").replace("*", "&#42;") for part in parts[::2]]
    return "`".join(parts)


def relative(path: Path) -> str:
    """A file as the pages name it: from the repository's root."""
    return path.relative_to(ROOT).as_posix()


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
