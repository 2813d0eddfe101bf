"""The pages of the command line, from its own parser: usage, options, examples.

The parser is taken from the program itself at the moment when it would parse its arguments, so this module names no
module of another room.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, NoReturn

from docs.generation.pages import ROOT, GenerationError, Page, as_text, fence, table

PROGRAM = "triptych"
# `python -m MODULE` has the commands of one room, which `triptych` has too: alone or as a group of the module's name.
MODULES = ("export", "ops", "loadtest")
WIDTH_CHARACTERS = 100


class _Captured(BaseException):
    """Carries the parser out of the program; a BaseException, so that no program handles it."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def render() -> list[Page]:
    """The page of `triptych`, and the page about the module forms with the commands that only they have."""
    parser = capture_parser(PROGRAM, None)
    modules = {module: capture_parser(f"python -m {module}", module) for module in MODULES}
    return [
        Page("reference/cli/triptych.md", render_program(parser)),
        Page("reference/cli/modules.md", render_modules(parser, modules)),
    ]


def render_program(parser: argparse.ArgumentParser) -> str:
    """The text of a program's page."""
    return "\n".join([f"# {parser.prog}\n", *_command_parts(parser, parser.prog), *_all_commands(parser)])


def render_modules(parser: argparse.ArgumentParser, modules: Mapping[str, argparse.ArgumentParser]) -> str:
    """The text of the page about `python -m`, for the parser of `triptych` and those of the modules."""
    known = {words for words, _ in list_commands(parser)}
    parts = ["# python -m\n", "The commands of each room also run as a module, in a checkout, with the same options:\n"]
    own = []
    for module, made in modules.items():
        names = [words for words, _ in list_commands(made) if " " not in words]
        alone = [words for words in names if not {words, f"{module} {words}"} & known]
        listed = ", ".join(f"`{words}`" for words in names)
        only = f"; `triptych` lacks {', '.join(f'`{words}`' for words in alone)}" if alone else ""
        parts.append(f"- `{made.prog}`: {listed}{only}.\n")
        own += [
            part for words in alone for part in _command_section(dict(list_commands(made))[words], words, made.prog)
        ]
    return "\n".join([*parts, *own])


def capture_parser(program: str, module: str | None) -> argparse.ArgumentParser:
    """The parser of a program; the program ends where it would parse its arguments.

    Raises:
        GenerationError: the program ended without parsing anything.
    """
    with _parsing_replaced(), _arguments(program):
        try:
            if module is None:
                (script,) = entry_points(group="console_scripts", name=program)
                script.load()()
            else:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
        except _Captured as captured:
            captured.parser.prog = program
            return captured.parser
        except SystemExit:
            pass
    raise GenerationError(f"`{program}` parsed no arguments with argparse, which its page is made of.")


def list_commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command below a parser with the words that name it, depth first; an alias is not listed."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            seen: set[int] = set()
            for name, command in action.choices.items():
                if id(command) not in seen:
                    seen.add(id(command))
                    yield name, command
                    yield from ((f"{name} {below}", each) for below, each in list_commands(command))


@contextmanager
def _parsing_replaced() -> Iterator[None]:
    def refuse(self: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        raise _Captured(self)

    original: Callable[..., Any] = argparse.ArgumentParser.parse_known_args
    argparse.ArgumentParser.parse_known_args = refuse  # type: ignore[method-assign]
    try:
        yield
    finally:
        argparse.ArgumentParser.parse_known_args = original  # type: ignore[method-assign]


@contextmanager
def _arguments(program: str) -> Iterator[None]:
    """`--help` alone, as whoever wants to know the options types it."""
    before = sys.argv
    sys.argv = [program, "--help"]
    try:
        yield
    finally:
        sys.argv = before


def _all_commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    for words, command in list_commands(parser):
        yield from _command_section(command, words, parser.prog)


def _command_section(command: argparse.ArgumentParser, words: str, program: str) -> Iterator[str]:
    yield f"{'#' * min(2 + words.count(' '), 4)} {words}\n"
    yield from _command_parts(command, f"{program} {words}")


def _command_parts(parser: argparse.ArgumentParser, words: str) -> Iterator[str]:
    formatter = parser._get_formatter()
    formatter._width = WIDTH_CHARACTERS
    if parser.description:
        yield _paragraphs(parser.description)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, "")
    yield fence(_without_machine(formatter.format_help().replace(parser.prog, words, 1)))
    options = [row for action in parser._actions for row in _option_rows(parser, action)]
    if options:
        yield table(("argument", "meaning"), options)
    commands = [row for action in parser._actions for row in _command_rows(action)]
    if commands:
        yield table(("command", "purpose"), commands)
    if parser.epilog:
        yield _epilog(parser.epilog)


def _option_rows(parser: argparse.ArgumentParser, action: argparse.Action) -> Iterator[tuple[str, str]]:
    """One row for an action that a user can give, `--help` left out."""
    hidden = (argparse._HelpAction, argparse._SubParsersAction)
    if action.help != argparse.SUPPRESS and not isinstance(action, hidden):
        formatter = parser._get_formatter()
        names = formatter._format_action_invocation(action)
        try:
            meaning = formatter._expand_help(action) if action.help else ""
        except (ValueError, KeyError, TypeError) as error:
            raise GenerationError(
                f"`{parser.prog} --help` fails at {names}: {error}. In a help text `%` is `%%`."
            ) from error
        yield f"`{names}`", as_text(_without_machine(meaning))


def _command_rows(action: argparse.Action) -> Iterator[tuple[str, str]]:
    """One row for each command below."""
    if isinstance(action, argparse._SubParsersAction):
        for choice in action._choices_actions:
            yield f"`{choice.metavar or choice.dest}`", as_text(choice.help or "")


def _epilog(text: str) -> str:
    """Examples keep their lines; sentences become paragraphs."""
    parts = []
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        if lines[0].startswith("examples") and len(lines) > 1:
            parts.append(f"Examples:\n\n{fence(_dedented(lines[1:]))}")
        elif any(line.startswith("  ") for line in lines):
            parts.append(fence(block))
        else:
            parts.append(_paragraphs(block))
    return _without_machine("\n".join(parts))


def _dedented(lines: list[str]) -> str:
    return "\n".join(line.removeprefix("  ") for line in lines)


def _paragraphs(text: str) -> str:
    return "\n\n".join(as_text(" ".join(each.split())) for each in text.strip().split("\n\n")) + "\n"


def _without_machine(text: str) -> str:
    """Defaults below this checkout are shown from its root."""
    return text.replace(f"{ROOT}/", "").replace(str(ROOT), ".")
