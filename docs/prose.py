"""Checks the prose: proselint's rules over the Markdown, this project's vocabulary over Markdown and Python alike.

    python docs/prose.py FILE ...

Exit codes: 0 nothing found, 1 something to reword (a line each on stdout), 2 wrong usage.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import proselint.checks
import yaml
from proselint.registry.checks import Check, types
from proselint.tools import LintFile

VOCABULARY = Path(__file__).with_name("vocabulary.yaml")
# Of proselint's rules those that a technical text should keep; its typography wants curly quotes and accents.
RULES = (
    "archaism",
    "cliches",
    "hedging",
    "industrial_language",
    "lexical_illusions",
    "malapropisms",
    "misc.phrasal_adjectives",
    "mixed_metaphors",
    "mondegreens",
    "needless_variants",
    "nonwords",
    "redundancy",
    "weasel_words",
)
# What is no prose in Markdown: fenced blocks, code spans, addresses of links, comments.
_NO_PROSE = re.compile(
    r"^( *)(`{3,}|~{3,}).*?^\1\2`*~* *$|``.+?``|`[^`\n]+`|\]\([^)\n]*\)|<!--.*?-->", re.MULTILINE | re.DOTALL
)


class Finding(NamedTuple):
    """A place to reword: 1-based line, and what to do."""

    path: Path
    line: int
    message: str


def read_vocabulary(path: Path = VOCABULARY) -> list[Check]:
    """A check for each term of the vocabulary.

    Raises:
        ValueError: the file is no mapping of patterns to terms.
    """
    terms = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(terms, dict) or not all(isinstance(text, str) for pair in terms.items() for text in pair):
        raise ValueError(f"{path} is {terms!r}, expected a mapping of patterns to terms.")
    return [
        Check(
            types.PreferredForms({pattern.replace(" ", r"\s+"): term}),
            path="vocabulary",
            message="Write {!r}, not {!r}.",
        )
        for pattern, term in terms.items()
    ]


def check_markdown(path: Path, vocabulary: list[Check]) -> list[Finding]:
    """Findings of one Markdown file; code and addresses are not read."""
    text = _NO_PROSE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), path.read_text(encoding="utf-8"))
    text = re.sub(r"^[ \t]*$", ".", text, flags=re.MULTILINE)  # no phrase goes from one paragraph into the next
    rules = [check for check in proselint.checks.__register__ if any(check.matches_partial(rule) for rule in RULES)]
    return [Finding(path, line, message) for line, message in _apply([*rules, *vocabulary], text)]


def check_python(path: Path, vocabulary: list[Check]) -> list[Finding]:
    """Findings of one module: its names, docstrings, comments and texts."""
    lines: list[str] = []
    numbers: list[int] = []
    for first, text in _words_of(path.read_text(encoding="utf-8")):
        # A full stop between them: no phrase goes from one into the next.
        words = f"{text}\n.".encode("utf-8", "replace").decode().split("\n")
        lines += words
        numbers += range(first, first + len(words))
    return [Finding(path, numbers[line - 1], message) for line, message in _apply(vocabulary, "\n".join(lines))]


def _words_of(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of whatever a reader reads in a module."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
        elif token.type == tokenize.NAME:
            # Words of a name stand apart: only terms of one word are looked for, so that a deprecated alias may stay.
            yield token.start[0], re.sub(r"(?<=[a-z])(?=[A-Z])|_", ". ", token.string)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def _apply(checks: list[Check], text: str) -> Iterator[tuple[int, str]]:
    """Line, from 1, and message of each finding in a text."""
    if not text.strip():
        return
    file = LintFile("text", text)  # which puts a line break before and after the text
    for check in checks:
        for result in check.check_with_flags(file.content):
            matched = file.content[slice(*result.span)]
            start = result.span[1] - len(matched.lstrip())
            yield file.content.count("\n", 0, start), " ".join(result.message.split())


def main(arguments: list[str]) -> int:
    """Prints the findings of the files named."""
    if not arguments or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    vocabulary = read_vocabulary()
    findings = [
        finding
        for path in map(Path, arguments)
        for finding in (check_python if path.suffix == ".py" else check_markdown)(path, vocabulary)
    ]
    for finding in findings:
        print(f"{finding.path}:{finding.line}: {finding.message}")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
