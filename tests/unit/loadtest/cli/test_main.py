"""Renamed and removed commands."""

from __future__ import annotations

import pytest

from loadtest.cli.main import main


def test_renamed_command_warns_and_runs(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--rate", "5", "--metrics", "http://127.0.0.1:1/metrics"]
    assert main(["server", *words]) == 1
    errors = capsys.readouterr().err
    assert "warning: `server` is deprecated and will be removed in the next release; use `open-loop`." in errors
    assert "No metrics at http://127.0.0.1:1/metrics" in errors


@pytest.mark.parametrize("name", ["agree", "catalogue-start", "client", "quality", "recommend-eval", "scale"])
def test_removed_command_names_its_replacement(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([name, "--json", "x.json"])
    assert f"the command `{name}` was removed. " in capsys.readouterr().err


def test_renamed_option_warns_and_sets_its_replacement(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["locust", "--users-of", "http", "--metrics", "http://127.0.0.1:1/metrics"]
    assert main(words) == 1
    assert (
        "warning: --users-of is deprecated and will be removed in the next release: use --transport"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "words", [["--bad-share", "-0.1"], ["--repeat-share", "1.5"], ["--zipf", "-1"], ["--zipf", "nan"]]
)
def test_share_is_refused_when_out_of_range(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["locust", *words])
    assert f"argument {words[0]}: got {words[1]}, expected 0 or more" in capsys.readouterr().err
