"""The tree of commands: sections of the help, commands of other installed packages, advice for an unknown command.

A package adds commands to `triptych` through an entry point of the group `triptych.commands`: a function that receives
`add_section` and calls `add_section(title).add_parser(name, help=...)`. The parser's default `run` receives the parsed
options and returns the exit code.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import textwrap
from importlib.metadata import entry_points
from typing import Any, NoReturn

from triptych._core.optional import require

ENTRY_POINTS = "triptych.commands"
# What people type -> the command that does it.
SYNONYMS = {
    "bench": "loadtest bench",
    "benchmark": "loadtest bench",
    "classify": "recognize",
    "deploy": "publish",
    "export": "build",
    "import": "catalogue import",
    "infer": "recognize",
    "predict": "recognize",
    "recognise": "recognize",
    "start": "serve",
}
WORKSPACE_ADVICE = "Commands that teach, run and measure a server come with the repository: `make setup` there."
_NAME_WIDTH = 20


class Parser(argparse.ArgumentParser):
    """Ends with what was wrong, without a screen of usage; an unknown command names the nearest known one."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nMore: {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        for commands in self.subparsers():
            if not words:
                self.print_help()
                self.exit(0)
            if not words[0].startswith("-") and words[0] not in commands.choices:
                self.error(f"there is no command {words[0]!r}{suggest(words[0], list(commands.choices))}")
        return super().parse_known_args(words, namespace)

    def subparsers(self) -> list[argparse._SubParsersAction[Any]]:
        """The group of subcommands, of which argparse allows one; empty for a command without."""
        return [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]


class _Root(Parser):
    """Its help has the commands in sections, in the epilog, and not once more in one list."""

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
        print(shtab.complete(parser, values))
        parser.exit(0)


class CommandTree:
    """The parser of `triptych` with its sections.

    Args:
        description: first line of the help.
        epilog: last lines of the help.
    """

    def __init__(self, description: str, epilog: str) -> None:
        self.parser = _Root(
            prog="triptych",
            usage="triptych [-h] [--version] COMMAND ...",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._epilog = epilog
        self._commands = self.parser.add_subparsers(prog="triptych", metavar="COMMAND", parser_class=Parser)
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
            entry_point.load()(self.add_section)

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
        parser.set_defaults(parser=parser)
        return parser

    def describe(self) -> str:
        """A line for each command, longer summaries folded."""
        indent = " " * (_NAME_WIDTH + 2)
        return "\n".join(
            textwrap.fill(f"  {name:<{_NAME_WIDTH - 2}}  {summary}", 100, subsequent_indent=indent)
            for name, summary in self._summaries.items()
        )


def suggest(word: str, commands: list[str]) -> str:
    """The end of a sentence about an unknown command: the one that was probably meant, or all."""
    synonym = SYNONYMS.get(word)
    if synonym is not None and synonym.partition(" ")[0] in commands:
        return f"; did you mean `{synonym}`?"
    near = difflib.get_close_matches(word, commands, n=2)
    if near:
        return f"; did you mean {' or '.join(f'`{name}`' for name in near)}?"
    advice = "" if entry_points(group=ENTRY_POINTS) else f". {WORKSPACE_ADVICE}"
    return f", expected one of {', '.join(commands)}{advice}"
