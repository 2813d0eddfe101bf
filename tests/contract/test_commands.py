"""The commands of `triptych`, by room: an added, lost or renamed one fails here; former names work and warn."""

from __future__ import annotations

import argparse
import runpy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from export.cli import main as export_main
from loadtest.cli import main as loadtest_main
from ops.cli import main as ops_main
from triptych.cli import main
from triptych.cli.command_tree import SYNONYMS
from triptych.cli.main import OWN_COMMANDS, RENAMED, make_parser

# Room -> its commands; what only `python -m ops` has is not among them.
COMMANDS = {
    "client": {"recognize", "embed", "search", "explain", "catalogue", "models", "health"},
    "export": {
        "train", "evaluate", "label", "build", "quantize", "inspect", "diff", "release", "verify", "publish",
        "rollback", "prune", "bulk-embed",
    },
    "ops": {
        "serve", "run", "status", "logs", "reload", "restart", "stop", "check", "version", "observe", "render", "image",
        "sbom",
    },
    "loadtest": {"loadtest"},
}  # fmt: skip
GROUPS = {
    "catalogue": {
        "import", "count", "get", "delete", "export", "duplicates", "rebuild", "status", "info", "activate",
        "verify", "backup", "restore",
    },
    "label": {"suggest", "auto", "check", "estimate"},
    "loadtest": {"locust", "open-loop", "plan", "bench", "overload", "search", "baseline", "report"},
}  # fmt: skip
OF_PYTHON_M_OPS = {"chart", "release-check"}
FORMER = {
    "place": "build",
    "suggest-labels": "label suggest",
    "auto-label": "label auto",
    "find-label-errors": "label check",
    "few-shot": "label estimate",
    "embed-catalogue": "bulk-embed",
    "catalogue import-embeddings": "catalogue import",
    "loadtest server": "loadtest open-loop",
}
REMOVED = {"agree", "catalogue-start", "client", "quality", "recommend-eval", "scale"}
# Options of the release before. `--narrow-by` warns when the command runs: tests/unit/client/cli.
FORMER_OPTIONS = {
    ("train", "--publish-worse"),
    ("search", "--narrow-by"),
    ("serve", "--restarts"),
    ("loadtest locust", "--users-of"),
    ("loadtest open-loop", "--repeat-share"),
    ("loadtest plan", "--no-simulation"),
    ("loadtest plan", "--peak"),
    ("loadtest plan", "--seed"),
    ("loadtest search", "--chart"),
}

Main = Callable[[list[str]], int]


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Name -> parser of each subcommand."""
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(actions[0].choices) if actions else {}


def leaves_of(parser: argparse.ArgumentParser, words: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Words -> parser of each command that runs something."""
    below = commands_of(parser)
    if not below:
        yield words, parser
    for name, command in below.items():
        yield from leaves_of(command, f"{words} {name}".strip())


@pytest.fixture(scope="module")
def parser() -> argparse.ArgumentParser:
    return make_parser()


def run(program: Main, words: list[str]) -> int | str | None:
    """The exit code of a call that ends before its command runs."""
    with pytest.raises(SystemExit) as end:
        program(words)
    return end.value.code


def test_triptych_has_these_commands_and_no_others(parser: argparse.ArgumentParser) -> None:
    assert set(commands_of(parser)) == set().union(*COMMANDS.values())
    groups = {name: set(commands_of(command)) for name, command in commands_of(parser).items() if commands_of(command)}
    assert groups == GROUPS


def test_each_room_brings_its_own_commands() -> None:
    assert set(OWN_COMMANDS) == COMMANDS["client"]
    assert set(commands_of(ops_main.build_parser())) == COMMANDS["ops"] | OF_PYTHON_M_OPS
    assert set(commands_of(loadtest_main.make_parser())) == GROUPS["loadtest"]
    for room, add_commands in (("export", export_main.add_commands), ("ops", ops_main.add_commands)):
        made = argparse.ArgumentParser().add_subparsers()
        add_commands(lambda title, made=made: made)  # type: ignore[misc]
        assert set(made.choices) == COMMANDS[room]


def test_every_command_runs_something_and_says_what(parser: argparse.ArgumentParser) -> None:
    described = parser.format_help()
    for name, command in commands_of(parser).items():
        assert f"\n  {name} " in described
        assert command.description, name
    for words, leaf in leaves_of(parser):
        assert leaf.get_default("run") or leaf.get_default("call"), words


@pytest.mark.parametrize("group", sorted(GROUPS))
@pytest.mark.parametrize("words", [[], ["help"], ["--help"]])
def test_bare_group_shows_its_commands(group: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, [group, *words]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: triptych {group} ")
    assert all(f"\n    {verb}" in shown for verb in GROUPS[group])


@pytest.mark.parametrize(("former", "now"), FORMER.items())
def test_former_command_works_and_warns(former: str, now: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, [*former.split(), "--help"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith(f"warning: `triptych {former}` is deprecated and will be removed in the next release;")
    assert err.endswith(f" use `triptych {now}`.\n")
    assert out.startswith(f"usage: triptych {now} ")


@pytest.mark.parametrize(
    ("program", "former", "now"),
    [(export_main.main, *pair) for pair in export_main.RENAMED.items()]
    + [(loadtest_main.main, *pair) for pair in loadtest_main.RENAMED.items()],
)
def test_former_command_works_and_warns_as_a_module(
    program: Main, former: str, now: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(program, [former, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == f"warning: `{former}` is deprecated and will be removed in the next release; use `{now}`.\n"
    assert out.splitlines()[0].partition(" [-h]")[0].endswith(now)


@pytest.mark.parametrize("command", ["image", "sbom", "chart"])
def test_former_module_works_and_warns(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(f"ops.{command}", run_name="__main__")
    assert end.value.code == 0
    out, err = capsys.readouterr()
    assert err == f"warning: `python -m ops.{command}` is deprecated; use `python -m ops {command}`.\n"
    assert out.startswith(f"usage: python -m ops {command} ")


def test_former_commands_are_these() -> None:
    of_loadtest = {f"loadtest {old}": f"loadtest {new}" for old, new in loadtest_main.RENAMED.items()}
    assert export_main.RENAMED | RENAMED | of_loadtest == FORMER
    assert set(loadtest_main.REMOVED) == REMOVED


def test_former_commands_are_in_no_help_completion_or_advice(
    parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    choices = {words for words, _ in leaves_of(parser)} | set(commands_of(parser))
    assert not choices & (set(FORMER) | {f"loadtest {name}" for name in REMOVED})
    assert run(main, ["--print-completion", "bash"]) == 0
    completion = capsys.readouterr().out
    assert "few-shot" not in completion
    assert "estimate" in completion
    assert run(main, ["few-shots"]) == 2
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(REMOVED))
def test_removed_command_says_what_to_do_instead(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    advice = loadtest_main.REMOVED[name]
    for program, words in ((main, ["loadtest", name, "--any"]), (loadtest_main.main, [name, "--any"])):
        assert run(program, words) == 2
        assert f"{name}` was removed. {advice}\n" in capsys.readouterr().err


def test_former_options_are_these_and_warn(parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]) -> None:
    hidden = {
        (words, action.option_strings[0]): (leaf, action)
        for words, leaf in leaves_of(parser)
        for action in leaf._actions
        if action.help == argparse.SUPPRESS and action.option_strings
    }
    assert set(hidden) == FORMER_OPTIONS
    for (words, option), (leaf, action) in hidden.items():
        if (words, option) != ("search", "--narrow-by"):
            action(leaf, argparse.Namespace(), "both", option)
            assert capsys.readouterr().err.startswith(
                f"warning: {option} is deprecated and will be removed in the next release"
            ), words


@pytest.mark.parametrize(("typed", "meant"), SYNONYMS.items())
def test_synonym_leads_to_a_command(
    parser: argparse.ArgumentParser, typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known: Any = {words for words, _ in leaves_of(parser)} | {"--version"}
    assert [words for words in known if f"{meant} ".startswith(f"{words} ")]
    assert run(main, [*typed.split(), "photo.jpg"]) == 2
    assert f"did you mean `triptych {meant}`" in capsys.readouterr().err
