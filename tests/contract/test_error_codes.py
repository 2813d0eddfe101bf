"""The error codes of the server and what the client, the documentation and the tests of them know of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import triptych
from docs.generation.tables import render_error_codes
from tests.e2e.client.error_cases import CASES, ELSEWHERE
from triptych._core.failures.codes import MEANINGS
from triptych.errors import TriptychError
from triptych_models.errors import Code, Origin, Status

ROOT = Path(__file__).resolve().parents[2]


def test_client_knows_every_code_and_no_other_when_compared_with_the_servers() -> None:
    assert set(MEANINGS) == {code.text for code in Code}


@pytest.mark.parametrize("code", Code, ids=lambda code: code.text)
def test_client_expects_the_status_that_the_code_is_sent_with(code: Code) -> None:
    assert MEANINGS[code.text].status == code.status.value


@pytest.mark.parametrize("code", Code, ids=lambda code: code.text)
def test_client_retries_what_may_pass_and_nothing_else(code: Code) -> None:
    assert MEANINGS[code.text].error.retryable is (code.status is Status.UNAVAILABLE)


@pytest.mark.parametrize("code", Code, ids=lambda code: code.text)
def test_page_has_every_code_with_its_status_and_class(code: Code) -> None:
    error = MEANINGS[code.text].error.__name__
    link = f"[`{error}`](python/errors.md#triptych.{error})"
    assert f"| `{code.text}` | {code.status.value} | {link} | " in render_error_codes()


def test_page_has_every_error_class_with_its_codes() -> None:
    rows = re.findall(r"^\| \[`(\w+)`\]\([^)]*\) \| (yes|no) \| ([^|]*) \|", render_error_codes(), re.M)
    errors = [getattr(triptych, name) for name in triptych.__all__]
    classes = {
        error
        for error in errors
        if isinstance(error, type) and issubclass(error, TriptychError) and error is not TriptychError
    }
    assert {name: retryable == "yes" for name, retryable, _ in rows} == {
        error.__name__: error.retryable for error in classes
    }
    written = {code: name for name, _, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert written == {code: meaning.error.__name__ for code, meaning in MEANINGS.items()}


@pytest.mark.parametrize("code", Code, ids=lambda code: code.text)
def test_every_code_is_got_out_of_a_real_server_or_by_the_test_that_is_named(code: Code) -> None:
    walked = {case.code for case in CASES}
    assert (code.text in walked) is not (code.text in ELSEWHERE)
    if code.origin is Origin.MODEL:
        assert code.text in walked
        # Else a code that is dropped may be made up for by the client: what it got is looked at too.
        assert any(case.code == code.text and case.wire and f"[{code.text}] " in case.wire for case in CASES)


@pytest.mark.parametrize(("code", "named"), ELSEWHERE.items())
def test_test_that_is_named_for_a_code_is_there(code: str, named: tuple[str, str]) -> None:
    file, test = named
    text = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {test}\(", text, re.MULTILINE)
    assert code in text


def test_page_has_a_row_for_every_code_under_its_origin() -> None:
    page = render_error_codes()
    for origin in Origin:
        section = page.partition(f"## {origin.value}")[2].partition("\n## ")[0]
        rows = {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}
        assert rows == {code.text for code in Code if code.origin is origin}
