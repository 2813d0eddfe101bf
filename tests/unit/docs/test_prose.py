"""The prose linter finds what it should, where it stands, and reads no code of a Markdown file."""

from __future__ import annotations

from pathlib import Path

import pytest
from proselint.registry.checks import Check

from docs import prose


@pytest.fixture
def vocabulary(tmp_path: Path) -> list[Check]:
    path = tmp_path / "vocabulary.yaml"
    path.write_text("yardsticks?: FastAPI baseline\ngoes on where: resumes\n")
    return prose.read_vocabulary(path)


def test_markdown_is_reworded_where_it_has_a_term_or_a_weasel(tmp_path: Path, vocabulary: list[Check]) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\nA Yardstick is very useful.\n\nIt goes on\nwhere it was.\n")
    assert [(line, "not" in message) for _, line, message in sorted(prose.check_markdown(page, vocabulary))] == [
        (3, False),  # proselint's advice about "very"
        (3, True),
        (5, True),
    ]


@pytest.mark.parametrize(
    "code",
    [
        "```bash\nmake yardstick\n```",
        "  ```\n  yardstick\n  ```",
        "`yardstick`",
        "[baseline](yardstick.md)",
        "<!-- yardstick -->",
    ],
)
def test_markdown_is_not_reworded_within_code(tmp_path: Path, vocabulary: list[Check], code: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Text.\n\n{code}\n\nyardstick\n")
    lines = [line for _, line, _ in prose.check_markdown(page, vocabulary)]
    assert lines == [len(f"Text.\n\n{code}\n\n".splitlines()) + 1]


def test_module_is_reworded_in_names_comments_and_texts(tmp_path: Path, vocabulary: list[Check]) -> None:
    module = tmp_path / "module.py"
    docstring = '"""Says.\n\nThe yardstick.\n"""\n\n'
    body = "class OldYardstick:\n    yardstick_s = 1  # a yardstick\n\n"
    module.write_text(docstring + body + 'TEXT = f"yardsticks {1}"\nYARD = "stick \\udcff"\n')
    found = sorted(line for _, line, _ in prose.check_python(module, vocabulary))
    assert found == [3, 6, 7, 7, 9]


@pytest.mark.parametrize("content", ["[yardstick]", "yardstick: 3", "text"])
def test_vocabulary_is_refused_when_it_is_no_mapping(tmp_path: Path, content: str) -> None:
    path = tmp_path / "vocabulary.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match="expected a mapping"):
        prose.read_vocabulary(path)


def test_command_exits_1_when_it_finds_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("Our yardstick.\n")
    assert prose.main([str(page)]) == 1
    assert capsys.readouterr().out == f"{page}:1: Write 'FastAPI baseline', not 'yardstick'.\n"
    page.write_text("Our baseline.\n")
    assert prose.main([str(page)]) == 0
    assert prose.main([]) == 2


def test_heading_and_the_paragraph_behind_its_code_are_no_repetition(tmp_path: Path, vocabulary: list[Check]) -> None:
    page = tmp_path / "page.md"
    page.write_text("## Verify a release\n\n```bash\nmake\n```\n\nA release is a folder of the the kind.\n")
    (finding,) = prose.check_markdown(page, vocabulary)
    assert finding.line == 7
    assert "the the" in finding.message
