"""The decision records: their fields, and the page that lists them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from docs.generation.pages import ROOT, GenerationError, Page, table

FOLDER = ROOT / "docs/decisions"
_TITLE = re.compile(r"# (\d{4}) (.+)")
_FIELD = re.compile(r"- (Status|Date|Supersedes|Amends|Amended by): (.+)")
_STATUS = re.compile(r"accepted|(?:partly )?superseded by (.+)")
_LINK = re.compile(r"\[(\d{4})\]\((\d{4}-[a-z0-9-]+\.md)\)")
_INTRODUCTION = """# Decisions

One record for each choice between libraries, formats or designs. A record is not rewritten: a later record supersedes
or amends it. Figures without a machine were taken on a 2-core AMD EPYC VM on the day of the record. Paths in a record
are those of its day.
"""


@dataclass(frozen=True)
class Decision:
    """One record.

    Attributes:
        number: `0007`.
        fields: `Status`, `Date` and the others as they are written.
        text: what follows the fields.
    """

    file: Path
    number: str
    title: str
    fields: dict[str, str]
    text: str

    def linked(self, field: str) -> list[str]:
        """Numbers of the records that a field links.

        Raises:
            GenerationError: a link's text and file are not of the same record.
        """
        links = _LINK.findall(self.fields.get(field, ""))
        for number, name in links:
            if not name.startswith(f"{number}-") or not (self.file.parent / name).is_file():
                raise GenerationError(f"{self.file.name}: {field} links {name} as {number}; no such record is there.")
        return [number for number, _ in links]


def read_decisions(folder: Path = FOLDER) -> list[Decision]:
    """All records, the oldest first.

    Raises:
        GenerationError: a record without title, status or date.
    """
    return [_read(file) for file in sorted(folder.glob("[0-9]*.md"))]


def render() -> list[Page]:
    """The list: number, title, date, status."""
    rows = [
        (f"[{each.number}]({each.file.name})", each.title, _unbroken(each.fields["Date"]), each.fields["Status"])
        for each in read_decisions()
    ]
    return [Page("decisions/index.md", f"{_INTRODUCTION}\n{table(('number', 'decision', 'date', 'status'), rows)}")]


def _unbroken(date: str) -> str:
    """With hyphens at which no line breaks."""
    return date.replace("-", "\N{NON-BREAKING HYPHEN}")


def _read(file: Path) -> Decision:
    lines = file.read_text(encoding="utf-8").splitlines()
    title = _TITLE.fullmatch(lines[0])
    fields = {match[1]: match[2] for match in map(_FIELD.fullmatch, lines) if match}
    if title is None or not file.name.startswith(f"{title[1]}-"):
        raise GenerationError(f"{file.name}: the first line is {lines[0]!r}; expected '# {file.name[:4]} <title>'.")
    if not {"Status", "Date"} <= set(fields) or not _STATUS.fullmatch(fields["Status"]):
        raise GenerationError(f"{file.name}: expected '- Status: accepted' or 'superseded by ...', and '- Date: ...'.")
    text = "\n".join(line for line in lines[1:] if not _FIELD.fullmatch(line)).strip()
    return Decision(file, title[1], title[2], fields, text)
