"""The tree of commands: sections of the help, commands of other installed packages, advice for an unknown command.

A package adds commands to `triptych` through an entry point of the group `triptych.commands`: a function that receives
`add_section` and calls `add_section(title).add_parser(name, help=...)`. The parser's default `run` receives the parsed
options and returns the exit code. It may return its former commands (`Former`).
"""

from __future__ import annotations

import argparse
import difflib
import sys
import textwrap
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, NoReturn, TypeAlias

from triptych._optional import require

PROGRAM = "triptych"
ENTRY_POINTS = "triptych.commands"
# Commands of earlier versions: renamed -> the words now, which work with a warning; removed -> what to do instead.
Former: TypeAlias = tuple[Mapping[str, str], Mapping[str, str]]
# What people type -> the command that does it; verbs of a group need no entry.
SYNONYMS = {
    "annotate": "label suggest",
    "benchmark": "loadtest bench",
    "classify": "recognize",
    "clean": "prune",
    "compare": "diff",
    "convert": "build",
    "dashboard": "observe",
    "demo": "run -- triptych recognize PHOTO",
    "deploy": "publish",
    "detect": "recognize",
    "doctor": "check",
    "docker": "image",
    "down": "stop",
    "eval": "evaluate",
    "export": "build",
    "find": "search",
    "fine-tune": "train",
    "finetune": "train",
    "fit": "train",
    "heatmap": "explain",
    "index": "catalogue import",
    "infer": "recognize",
    "ingest": "catalogue import",
    "kill": "stop",
    "learn": "train",
    "load": "loadtest locust",
    "metrics": "observe",
    "monitor": "observe",
    "pack": "release",
    "package": "release",
    "ping": "health",
    "predict": "recognize",
    "ps": "status",
    "push": "publish",
    "query": "search",
    "ready": "health",
    "recognise": "recognize",
    "revert": "rollback",
    "score": "evaluate",
    "server": "serve",
    "shutdown": "stop",
    "similar": "search",
    "start": "serve",
    "test": "check",
    "tune": "train",
    "undo": "rollback",
    "up": "serve",
    "upload": "publish",
    "validate": "check",
    "catalogue add": "catalogue import",
    "catalogue load": "catalogue import",
    "catalogue list": "catalogue export",
    "catalogue remove": "catalogue delete",
    "label errors": "label check",
    "label find": "label check",
    "label next": "label suggest",
    "label verify": "label check",
    "loadtest run": "loadtest locust",
    "loadtest start": "loadtest locust",
}
WORKSPACE_ADVICE = "Commands that teach, run and measure a server come with the repository: `make setup` there."
_NAME_WIDTH = 20


class Parser(argparse.ArgumentParser):
    """Ends with what was wrong, without a screen of usage; an unknown command names the nearest known one.

    The parsed options hold the parser of the innermost command as `parser`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.set_defaults(parser=self)

    def add_subparsers(self, **options: Any) -> Any:
        return super().add_subparsers(**{"title": "commands", **options})

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nMore: {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        for commands in self.subparsers():
            if not words:
                self.print_help()
                self.exit(0)
            if words[0] == "help":
                words = [*words[1:], "--help"]
            words = self.with_current_names(words)
            if not words[0].startswith("-") and words[0] not in commands.choices:
                group = self.prog.removeprefix(PROGRAM).strip()
                self.error(f"there is no command {words[0]!r}{suggest(words[0], commands.choices, group)}")
        return super().parse_known_args(words, namespace)

    def with_current_names(self, words: list[str]) -> list[str]:
        """The words with the present name of the command."""
        return words

    def subparsers(self) -> list[argparse._SubParsersAction[Any]]:
        """The group of subcommands, of which argparse allows one; empty for a command without."""
        return [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]


class _Root(Parser):
    """Its help has the commands in sections, in the epilog, and not once more in one list; knows former commands."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.renamed: dict[str, str] = {}
        self.removed: dict[str, str] = {}

    def with_current_names(self, words: list[str]) -> list[str]:
        typed = [" ".join(words[:count]) for count in (1, 2)]
        for old in (name for name in typed if name in self.removed):
            self.error(f"the command `{old}` was removed. {self.removed[old]}")
        for old in (name for name in typed if name in self.renamed):
            new = self.renamed[old]
            advice = f"deprecated and will be removed in the next release; use `{PROGRAM} {new}`."
            print(f"warning: `{PROGRAM} {old}` is {advice}", file=sys.stderr)
            return [*new.split(), *words[len(old.split()) :]]
        return words

    def format_help(self) -> str:
        (commands,) = self.subparsers()
        shown, commands.help = commands.help, argparse.SUPPRESS
        try:
            return super().format_help()
        finally:
            commands.help = shown  # completion leaves out what is suppressed


class _PrintCompletion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        try:
            shtab = require("shtab", extra="cli", wanted_by="--print-completion")
        except ImportError as error:
            parser.error(str(error))
        print(shtab.complete(parser, values), flush=True)
        parser.exit(0)


class CommandTree:
    """The parser of `triptych` with its sections.

    Args:
        description: first line of the help.
        epilog: last lines of the help.
    """

    def __init__(self, description: str, epilog: str) -> None:
        self.parser = _Root(
            prog=PROGRAM,
            usage=f"{PROGRAM} [-h] [--version] COMMAND ...",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._epilog = epilog
        self._commands = self.parser.add_subparsers(prog=PROGRAM, metavar="COMMAND", parser_class=Parser)
        self._sections: dict[str, Section] = {}
        self.parser.add_argument(
            "--print-completion",
            action=_PrintCompletion,
            choices=("bash", "zsh", "tcsh"),
            help="print a script that completes commands and options; for bash: "
            'eval "$(triptych --print-completion bash)"',
        )

    def add_section(self, title: str) -> Section:
        """The section of that title; a new one if there is none."""
        return self._sections.setdefault(title, Section(self._commands))

    def add_installed(self) -> None:
        """Adds the commands of other installed packages."""
        for entry_point in entry_points(group=ENTRY_POINTS):
            former: Former | None = entry_point.load()(self.add_section)
            if former is not None:
                self.add_former(former)

    def add_former(self, former: Former) -> None:
        """Accepts commands of earlier versions; help, completion and advice leave them out."""
        renamed, removed = former
        self.parser.renamed |= renamed
        self.parser.removed |= removed

    def finish(self) -> Parser:
        """The parser, its help with all sections."""
        sections = [f"{title}:\n{section.describe()}" for title, section in self._sections.items()]
        self.parser.epilog = "\n\n".join([*sections, self._epilog])
        return self.parser


class Section:
    """A part of the help; has argparse's `add_parser`."""

    def __init__(self, commands: Any) -> None:
        self._commands = commands
        self._summaries: dict[str, str] = {}

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """A command, as argparse adds it.

        Raises:
            ValueError: two packages add the same command.
        """
        if name in self._commands.choices:
            raise ValueError(f"Two packages add the command {name!r} to `triptych`; uninstall one of them.")
        self._summaries[name] = options.get("help", "")
        parser: argparse.ArgumentParser = self._commands.add_parser(name, **options)
        return parser

    def describe(self) -> str:
        """A line for each command, longer summaries folded."""
        indent = " " * (_NAME_WIDTH + 2)
        return "\n".join(
            textwrap.fill(f"  {name:<{_NAME_WIDTH - 2}}  {summary}", 100, subsequent_indent=indent)
            for name, summary in self._summaries.items()
        )


def suggest(word: str, commands: Mapping[str, argparse.ArgumentParser], group: str = "") -> str:
    """The end of a sentence about an unknown command: the one that was probably meant, or all.

    Args:
        word: as it was typed.
        commands: name -> parser of the known commands.
        group: the words before, without the program.
    """
    found = [_synonym(word, commands, group), *(f"{name} {word}" for name in _groups_with(word, commands))]
    near = difflib.get_close_matches(word, commands, n=2)
    meant = [name for name in found if name] or [f"{group} {name}".strip() for name in near]
    sentence = (
        f"; did you mean {' or '.join(f'`{PROGRAM} {name}`' for name in meant)}?"
        if meant
        else f", expected one of {', '.join(commands)}."
    )
    return sentence.rstrip(".") if entry_points(group=ENTRY_POINTS) else f"{sentence} {WORKSPACE_ADVICE}"


def _synonym(word: str, commands: Mapping[str, argparse.ArgumentParser], group: str) -> str | None:
    """The command of `SYNONYMS`, if the package that brings it is installed."""
    command = SYNONYMS.get(f"{group} {word}".strip().lower())
    is_known = command is not None and (group or command.startswith("-") or command.split()[0] in commands)
    return command if is_known else None


def _groups_with(word: str, commands: Mapping[str, argparse.ArgumentParser]) -> list[str]:
    """The groups of commands that have a command of that name."""
    groups = ((name, parser.subparsers()) for name, parser in commands.items() if isinstance(parser, Parser))
    return [name for name, verbs in groups for each in verbs if word in each.choices]
