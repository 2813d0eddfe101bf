"""The decision records: complete, numbered without gaps, and their links to one another are mutual."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest

from docs.generation.decisions import FOLDER, Decision, read_decisions, render
from docs.generation.pages import ROOT, GenerationError

RECORDS = read_decisions()
BY_NUMBER = {record.number: record for record in RECORDS}


def test_numbers_are_contiguous_and_dates_rise() -> None:
    assert [record.number for record in RECORDS] == [f"{n:04d}" for n in range(1, len(RECORDS) + 1)]
    dates = [datetime.date.fromisoformat(record.fields["Date"]) for record in RECORDS]
    assert dates == sorted(dates)
    assert len(RECORDS) >= 60


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.number)
def test_record_says_what_was_chosen_and_is_short(record: Decision) -> None:
    assert re.search(r"^\*\*Choice\*?\*?:", record.text, re.M)
    assert len(record.file.read_text(encoding="utf-8").splitlines()) <= 24
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", record.file.name)


def test_every_markdown_file_of_the_folder_is_a_record() -> None:
    assert sorted(FOLDER.glob("*.md")) == [record.file for record in RECORDS]


@pytest.mark.parametrize(("later", "earlier"), [("Supersedes", "Status"), ("Amends", "Amended by")])
def test_links_between_records_are_mutual(later: str, earlier: str) -> None:
    forward = {(record.number, other) for record in RECORDS for other in record.linked(later)}
    backward = {(other, record.number) for record in RECORDS for other in record.linked(earlier)}
    assert forward
    assert forward == backward
    assert all(newer > older for newer, older in forward)


def test_records_that_code_and_documents_name_are_there() -> None:
    named = {}
    for room in ("client", "export", "helm", "loadtest", "model_repository", "ops", "tests"):
        for file in (ROOT / room).rglob("*"):
            if file.suffix in (".md", ".pbtxt", ".py", ".toml", ".yaml") and file.is_file():
                text = file.read_text(encoding="utf-8")
                assert "DECISIONS" + ".md" not in text, f"{file} names the file that the records replace"
                named.update(dict.fromkeys(re.findall(r"docs/decisions/(\d{4}[\w.-]*)", text), file))
    assert named
    files = {name for record in RECORDS for name in (record.number, record.file.name)}
    assert {name: file for name, file in named.items() if name.rstrip(".") not in files} == {}


def test_index_lists_every_record_with_its_status() -> None:
    (index,) = render()
    rows = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \| .* \| (.*) \|$", index.text, re.M)
    assert rows == [(record.number, record.file.name, record.fields["Status"]) for record in RECORDS]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# 0001 A\n\n- Date: 2026-01-01\n", "expected '- Status"),
        ("# 0001 A\n\n- Status: perhaps\n- Date: 2026-01-01\n", "expected '- Status"),
        ("# 0002 A\n\n- Status: accepted\n- Date: 2026-01-01\n", "expected '# 0001"),
    ],
)
def test_incomplete_record_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "0001-a.md").write_text(text)
    with pytest.raises(GenerationError, match=message):
        read_decisions(tmp_path)


def test_link_to_no_record_is_refused(tmp_path: Path) -> None:
    fields = "- Status: accepted\n- Date: 2026-01-01\n- Supersedes: [0002](0002-b.md)\n"
    (tmp_path / "0001-a.md").write_text(f"# 0001 A\n\n{fields}")
    (record,) = read_decisions(tmp_path)
    with pytest.raises(GenerationError, match="no such record"):
        record.linked("Supersedes")
