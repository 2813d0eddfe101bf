"""The error codes of the server and what the client, its README and the tests of them know of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.client.error_cases import CASES, ELSEWHERE
from triptych.error_codes import MEANINGS
from triptych_models.errors import Code, Origin, Status, render

ROOT = Path(__file__).resolve().parents[2]


def test_client_knows_every_code_and_no_other_when_compared_with_the_servers() -> None:
    assert set(MEANINGS) == {code.text for code in Code}


@pytest.mark.parametrize("code", Code, ids=lambda code: code.text)
def test_client_expects_the_status_that_the_code_is_sent_with(code: Code) -> None:
    assert MEANINGS[code.text].status == code.status.value


@pytest.mark.parametrize("code", Code, ids=lambda code: code.text)
def test_client_retries_what_may_pass_and_nothing_else(code: Code) -> None:
    assert MEANINGS[code.text].error.retryable is (code.status is Status.UNAVAILABLE)


def test_document_is_current_when_written_again() -> None:
    assert (ROOT / "model_repository/ERRORS.md").read_text(encoding="utf-8") == render(), "run `make generate`"


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
