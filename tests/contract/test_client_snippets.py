"""No code of the client's pages escapes the tests: each block runs or says why not, and each inline call is valid."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import triptych
import triptych.metrics
from tests.contract.client_pages import CLIENT, PAGES, Block, blocks, docstring_examples, faults, program

PAGE = Path("page.md")
# Where the prose names calls of the client.
PROSE = (CLIENT / "README.md", *sorted((CLIENT.parent / "docs/guides").glob("*.md")))


def inline_calls(page: Path) -> list[str]:
    """Calls of the client's classes in the prose of a page, `Client("127.0.0.1:8001")` for example."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [span for span in re.findall(r"`([^`\n]+)`", prose) if called_class(span) is not None]


def called_class(span: str) -> Any:
    """The class that an expression calls, None where it is no such call."""
    try:
        expression = ast.parse(span, mode="eval").body
    except SyntaxError:
        return None
    if not isinstance(expression, ast.Call) or not isinstance(expression.func, ast.Name):
        return None
    found = vars(triptych).get(expression.func.id)
    return found if isinstance(found, type) else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_has_no_block_that_escapes_the_tests(page: Path) -> None:
    assert faults(page) == []


def test_blocks_that_are_not_run_are_few_and_say_why() -> None:
    skipped = [block for page in PAGES for block in blocks(page) if block.reason is not None]
    assert {(block.page.name, block.language) for block in skipped} == {
        ("README.md", "bash"),
        ("search-a-catalogue.md", "bash"),
    }
    assert all(len(str(block.reason)) > 10 for block in skipped)
    assert list(map(str, skipped)) == [
        str(block) for page in PAGES for block in blocks(page) if block.language == "bash"
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```python\nx = 1\n```\n", None),
        ("<!-- not run: it needs a GPU -->\n```bash\ntriptych health\n```\n", None),
        ("```\npip install x\n```\n", "a block of language ''"),
        ("```sh\npip install x\n```\n", "a block of language 'sh'"),
        ("- item\n  ```python\n  x = 1\n  ```\n", "a fence is indented"),
        ("~~~python\nx = 1\n~~~\n", "a fence is indented"),
        ("```python\nx = 1\n```\n\nIt prints:\n\n```text\n1\n```\n", "does not directly follow"),
    ],
)
def test_fault_is_found_when_a_block_escapes(text: str, fault: str | None) -> None:
    found = faults(PAGE, text)
    assert (found == []) if fault is None else (len(found) == 1 and fault in found[0])


def test_block_has_its_reason_and_its_output() -> None:
    text = "# A\n<!-- not run: why -->\n```bash\nx\n```\n## B\n```python\nprint(1)\n```\n```text\n1\n```\n"
    first, second, _ = blocks(PAGE, text)
    assert (first.heading, first.reason, first.output) == ("A", "why", "")
    assert (second.heading, second.reason, second.output) == ("B", None, "1\n")


def test_docstring_example_becomes_a_program() -> None:
    code, output = program(Block(PAGE, "", "pycon", ">>> async with x as y:\n...     await y\nfound\n", "", None))
    assert code.splitlines()[1:] == [
        "import asyncio",
        "async def main():",
        "    async with x as y:",
        "        await y",
        "asyncio.run(main())",
    ]
    assert output == "found\n"
    assert [example.heading for example in docstring_examples()] == ["AsyncClient", "Client"]


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_inline_calls_are_accepted_by_what_they_call(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Client("http://127.0.0.1:8000")` stood in the guide before the client accepted it: prose is checked too."""
    monkeypatch.chdir(CLIENT)
    for span in inline_calls(page):
        if "..." in span:
            continue  # an argument is left out; its name is checked below
        made = eval(span, {**vars(triptych), "ClientMetrics": lambda: None})
        if isinstance(made, triptych.Client):
            made.close()


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_inline_calls_name_arguments_that_exist(page: Path) -> None:
    for span in inline_calls(page):
        expression = ast.parse(span, mode="eval").body
        assert isinstance(expression, ast.Call)
        parameters = called_class(span).__init__.__code__.co_varnames
        assert {keyword.arg for keyword in expression.keywords} <= set(parameters), span


def test_inline_calls_are_found_on_the_pages() -> None:
    found = [span for page in PROSE for span in inline_calls(page)]
    assert 'Client("http://127.0.0.1:8000", tracing=True)' in found
    assert len(found) >= 5
