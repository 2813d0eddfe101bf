"""The tree of commands: bare commands teach, unknown ones get advice, installed packages add theirs."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from triptych.cli import command_tree
from triptych.cli.command_tree import WORKSPACE_ADVICE, CommandTree, Former, Parser, suggest


def add_commands(add_section: Any) -> Former:
    """An entry point as another package has it."""
    run_a_server = add_section("run a server")
    serve = run_a_server.add_parser("serve", help="start a server")
    serve.add_argument("--photos")
    serve.set_defaults(run=lambda options: 7)
    group = add_section("measure").add_parser("loadtest", help="load tests " + "long " * 30)
    group.add_subparsers(metavar="COMMAND").add_parser("bench").set_defaults(run=lambda options: 8)
    return {"launch": "serve", "speed": "loadtest bench", "loadtest closed": "loadtest bench"}, {
        "loadtest scale": "Use `triptych loadtest plan`.",
        "simulate": "No command replaces it.",
    }


def twice(add_section: Any) -> None:
    add_section("other").add_parser("serve")


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> CommandTree:
    installed = EntryPoint("other", f"{__name__}:add_commands", command_tree.ENTRY_POINTS)
    monkeypatch.setattr(EntryPoint, "load", lambda self: globals()[self.value.rpartition(":")[2]])
    monkeypatch.setattr(command_tree, "entry_points", lambda group: [installed])
    tree = CommandTree("A tree.", "examples:\n  triptych serve")
    tree.add_section("ask a server").add_parser("recognize", help="say what photos show")
    tree.add_installed()
    return tree


def test_help_lists_all_commands_in_their_sections(tree: CommandTree, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        tree.finish().parse_args([])
    assert caught.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "usage: triptych [-h] [--version] COMMAND ..."
    sections = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert sections == ["options:", "ask a server:", "run a server:", "measure:", "examples:"]
    assert "  serve               start a server" in lines
    assert max(map(len, lines)) <= 100


def test_commands_of_another_package_run(tree: CommandTree) -> None:
    parser = tree.finish()
    for words, code in ((["serve"], 7), (["loadtest", "bench"], 8)):
        options = parser.parse_args(words)
        assert options.run(options) == code


def test_bare_group_shows_its_help(tree: CommandTree, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        tree.finish().parse_args(["loadtest"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: triptych loadtest [-h] COMMAND ...")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["srve"], "triptych: there is no command 'srve'; did you mean `triptych serve`?"),
        (["Start"], "triptych: there is no command 'Start'; did you mean `triptych serve`?"),
        (["bench"], "triptych: there is no command 'bench'; did you mean `triptych loadtest bench`?"),
        (
            ["loadtest", "bnch"],
            "triptych loadtest: there is no command 'bnch'; did you mean `triptych loadtest bench`?",
        ),
        (["loadtest", "x"], "triptych loadtest: there is no command 'x', expected one of bench"),
        (["xyzzy"], "triptych: there is no command 'xyzzy', expected one of recognize, serve, loadtest"),
        (["help", "xyzzy"], "triptych: there is no command 'xyzzy', expected one of recognize, serve, loadtest"),
        (["finetune"], "triptych: there is no command 'finetune', expected one of recognize, serve, loadtest"),
        (["serve", "--nonsense"], "triptych: unrecognized arguments: --nonsense"),
    ],
)
def test_unknown_command_names_the_one_that_was_meant(
    tree: CommandTree, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        tree.finish().parse_args(words)
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[0] == sentence


def test_unknown_command_names_the_repository_when_the_client_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_tree, "entry_points", lambda group: [])
    assert suggest("serve", {"recognize": Parser()}) == f", expected one of recognize. {WORKSPACE_ADVICE}"


@pytest.mark.parametrize(
    ("words", "code", "now"),
    [
        (
            ["launch"],
            7,
            "`triptych launch` is deprecated and will be removed in the next release; use `triptych serve`.",
        ),
        (
            ["speed"],
            8,
            "`triptych speed` is deprecated and will be removed in the next release; use `triptych loadtest bench`.",
        ),
        (
            ["loadtest", "closed"],
            8,
            "`triptych loadtest closed` is deprecated and will be removed in the next release; use",
        ),
    ],
)
def test_renamed_command_runs_with_a_warning(
    tree: CommandTree, words: list[str], code: int, now: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = tree.finish().parse_args(words)
    assert options.run(options) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"warning: {now}")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["simulate"], "triptych: the command `simulate` was removed. No command replaces it."),
        (
            ["loadtest", "scale", "--x"],
            "triptych: the command `loadtest scale` was removed. Use `triptych loadtest plan`.",
        ),
    ],
)
def test_removed_command_says_what_to_do_instead(
    tree: CommandTree, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        tree.finish().parse_args(words)
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[0] == sentence


def test_former_commands_are_in_no_help_and_no_advice(tree: CommandTree, capsys: pytest.CaptureFixture[str]) -> None:
    parser = tree.finish()
    texts = [parser.format_help()]
    for words in (["--print-completion", "bash"], ["launc"], ["loadtest", "close"], ["loadtest"]):
        with pytest.raises(SystemExit):
            parser.parse_args(words)
        texts += capsys.readouterr()
    assert not [text for text in texts for name in ("launch", "speed", "closed", "simulate") if name in text]


@pytest.mark.parametrize("words", [["help"], ["help", "serve"], ["loadtest", "help"], ["help", "loadtest", "bench"]])
def test_help_is_also_a_word(tree: CommandTree, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        tree.finish().parse_args(words)
    assert caught.value.code == 0
    named = " ".join(word for word in words if word != "help")
    assert capsys.readouterr().out.startswith(f"usage: triptych {named}".rstrip())


def test_options_hold_the_parser_of_the_innermost_command(tree: CommandTree) -> None:
    assert tree.finish().parse_args(["loadtest", "bench"]).parser.prog == "triptych loadtest bench"


def test_two_packages_with_one_command_are_refused(tree: CommandTree) -> None:
    with pytest.raises(ValueError, match="Two packages add the command 'serve'"):
        twice(tree.add_section)


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_is_printed_for_a_shell(tree: CommandTree, shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        tree.finish().parse_args(["--print-completion", shell])
    assert caught.value.code == 0
    script = capsys.readouterr().out
    assert "loadtest" in script
    assert "bench" in script
