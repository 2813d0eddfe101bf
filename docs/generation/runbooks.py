"""The page that lists the runbooks, `docs/runbooks/<alert>.md`, with the first sentence of each."""

from __future__ import annotations

import re
from pathlib import Path

from docs.generation.pages import ROOT, GenerationError, Page, table

FOLDER = ROOT / "docs/runbooks"
_INTRODUCTION = """# Runbooks

Each alert has a runbook of the same name: meaning, impact, diagnosis, mitigation. Run the commands in the repository's
root on the machine that serves.
"""


def find_runbooks(folder: Path = FOLDER) -> list[Path]:
    """The files, by name.

    Raises:
        GenerationError: the folder has none.
    """
    found = sorted(folder.glob("*.md"))
    if not found:
        raise GenerationError(f"{folder} has no runbooks; expected one file for each alert.")
    return found


def render() -> list[Page]:
    """The list."""
    rows = [(f"[{file.stem}]({file.name})", _meaning(file.read_text(encoding="utf-8"))) for file in find_runbooks()]
    return [Page("runbooks/index.md", f"{_INTRODUCTION}\n{table(('alert', 'meaning'), rows)}")]


def _meaning(text: str) -> str:
    """The first sentence of the section Meaning."""
    section = re.search(r"^## Meaning\n+(.*?)(?:\n\n|\Z)", text, re.M | re.S)
    return re.split(r"(?<=\.)\s", section[1])[0] if section else ""
