"""SECURITY.md: each promise names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def promises(page: str) -> list[tuple[str, list[str]]]:
    """The rows of the table of promises: the promise and its tests."""
    table = page.partition("| promise | test |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines()]
    return [(promise.strip(), re.findall(r"`([^`]+)`", tests)) for promise, tests in rows]


def missing_tests(page: str) -> list[str]:
    """Promises without a test, and tests that do not exist or hold no assertion of their own."""
    missing = [promise for promise, tests in promises(page) if not tests]
    for _, tests in promises(page):
        for test in tests:
            file, _, name = test.partition("::")
            found = names_of_tests(ROOT / file)
            missing += [test] if not found or (name and name not in found) else []
    return missing


def names_of_tests(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    functions = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)]
    return {function.name for function in functions if function.name.startswith("test_")}


def test_each_promise_has_a_test() -> None:
    assert len(promises(PAGE)) > 20
    assert missing_tests(PAGE) == []


def test_a_promise_without_a_test_is_found() -> None:
    head = "| promise | test |\n|---|---|\n"
    assert missing_tests(f"{head}| a | |\n\n") == ["a"]
    assert missing_tests(f"{head}| a | `tests/no.py` |\n\n") == ["tests/no.py"]
    assert missing_tests(f"{head}| a | `tests/contract/test_security_page.py::test_no` |\n\n") != []
