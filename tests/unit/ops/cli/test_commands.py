"""The commands: each one fits under any other parser, and an error is a line on stderr and an exit code."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import pytest

from ops.cli.main import OF_THE_REPOSITORY, SECTIONS, main
from ops.cli.server import add_status


def test_command_runs_under_another_parser(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_status(parser.add_subparsers().add_parser("server").add_subparsers())
    options = parser.parse_args(["server", "status", f"--state-dir={tmp_path}"])
    assert options.run(options) == 1
    assert "stopped" in capsys.readouterr().out


def test_error_of_a_command_is_printed_and_becomes_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["image", str(tmp_path / "none"), f"--context={tmp_path / 'context'}"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert "is not a release" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    "add", [*itertools.chain(*SECTIONS.values()), *OF_THE_REPOSITORY], ids=lambda add: add.__name__
)
def test_help_of_every_command_is_a_sentence_with_its_defaults(add: object, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    add(commands)  # type: ignore[operator]
    (name,) = commands.choices
    with pytest.raises(SystemExit):
        parser.parse_args([name, "--help"])
    described = " ".join(capsys.readouterr().out.split())
    assert "%(default)s" not in described
    assert (commands.choices[name].description or "").endswith(".")


def test_logs_name_the_folder_when_no_server_was_started_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", f"--state-dir={tmp_path}"]) == 1
    assert f"There is no log {tmp_path / 'server.log'}" in capsys.readouterr().err
    (tmp_path / "server.log").write_text("one\ntwo\n")
    assert main(["logs", f"--state-dir={tmp_path}", "-n", "1"]) == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert (heading, line.split()) == (f"==> {tmp_path / 'server.log'} <==", ["info", "two"])


def test_default_of_the_key_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    for command, default in (("serve", "signatures are not checked"), ("reload", "the --key of `serve`")):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert f"(default: {default})" in " ".join(capsys.readouterr().out.split())
