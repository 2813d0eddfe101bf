"""Options that were renamed still work, and say so."""

from __future__ import annotations

import argparse

import pytest

from export.cli import train


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    train.add_parser(parser.add_subparsers())
    return parser.parse_args(["train", "shop", *words])


def test_deprecated_flag_sets_the_new_option_and_warns(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse("--publish-worse").allow_regression
    warning = (
        "warning: --publish-worse is deprecated and will be removed in the next release; use --allow-regression.\n"
    )
    assert capsys.readouterr().err == warning


def test_new_flag_does_not_warn(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse("--allow-regression").allow_regression
    assert not parse().allow_regression
    assert capsys.readouterr().err == ""


def test_deprecated_flag_is_not_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    text = capsys.readouterr().out
    assert "--allow-regression" in text
    assert "--publish-worse" not in text


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "two"])
def test_count_is_a_whole_number_from_one(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as usage:
        parse("--trials", count)
    assert usage.value.code == 2
    assert "expected a whole number from 1" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--output", ""), ("--cache=",), ("--repository", "")])
def test_empty_path_is_refused_because_it_would_be_the_working_directory(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(*words)
    assert exit_.value.code == 2
    assert "'' is no path; expected the name of a file or a folder" in capsys.readouterr().err
