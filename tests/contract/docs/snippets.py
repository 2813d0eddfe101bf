"""Fenced code blocks of a Markdown document: how each is run, what it must print, or why it is not run.

`python` and `bash` blocks are run; a `text` block right below one is its output. In a `console` block a line after
`$ ` is run in bash, and the lines below it are its output, standard error included. `mermaid` is drawn, not run;
`tests/rules/test_live.py` runs `promql`. Every other block needs `<!-- not run: reason -->` on the line above.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

RUN = ("python", "bash", "console")
_FENCE = re.compile(r"^( *)(```+)([\w-]*)[^\n]*$")
_MARK = re.compile(r"^ *<!-- not run: (\S.*) -->$")
# Other processors sum float32 in another order; a shown score may differ in its last digit.
_TOLERANCE = 0.002


@dataclass(frozen=True)
class Snippet:
    """One block.

    Attributes:
        line: of its opening fence, from 1.
        output: what a `text` block below it shows; None where there is none.
        reason: of the mark above it; None without a mark.
    """

    document: Path
    line: int
    language: str
    code: str
    output: str | None = None
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def read_snippets(document: Path, text: str) -> list[Snippet]:
    """All blocks of a document in their order; an output belongs to the block that it follows."""
    lines = text.splitlines()
    found: list[Snippet] = []
    number, ended = 0, -1
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        if opening is None:
            number += 1
            continue
        indent, marks, language = opening.groups()
        end = next(n for n in range(number + 1, len(lines)) if lines[n].strip() == marks)
        code = "".join(f"{line.removeprefix(indent)}\n" for line in lines[number + 1 : end])
        mark = _MARK.match(lines[number - 1]) if number else None
        follows = bool(found) and ended >= 0 and not "".join(lines[ended + 1 : number]).strip()
        if language == "text" and follows and found[-1].language in ("python", "bash") and found[-1].output is None:
            last = found.pop()
            found.append(Snippet(last.document, last.line, last.language, last.code, code, last.reason))
        else:
            found.append(Snippet(document, number + 1, language, code, None, mark[1] if mark else None))
        ended = end
        number = end + 1
    return found


@dataclass
class Session:
    """Runs the blocks of one document one after the other, in one folder; what a block exports is there for the next.

    Attributes:
        addresses: text of the document -> what stands for it here.
    """

    folder: Path
    addresses: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, snippet: Snippet) -> str:
        """What the block printed; fails when it fails, or prints something else than is shown."""
        if snippet.language == "console":
            return self._run_console(snippet)
        done = self._start(snippet.language, snippet.code)
        assert done.returncode == 0, f"{snippet}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        if snippet.output is not None:
            assert_same(done.stdout, snippet.output, str(snippet))
        return done.stdout

    def _run_console(self, snippet: Snippet) -> str:
        printed = ""
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", snippet.code, re.M):
            done = self._start("bash", command)
            assert_same(done.stdout + done.stderr, shown, f"{snippet}: {command}")
            printed += done.stdout
        return printed

    def _start(self, language: str, code: str) -> subprocess.CompletedProcess[str]:
        for shown, address in self.addresses.items():
            code = code.replace(shown, address)
        variables = self.folder / ".variables"
        if language == "python":
            words = [sys.executable, "-W", "error", "-c", code]
        else:
            words = ["bash", "-euo", "pipefail", "-c", f"trap 'env -0 > {variables}' EXIT\n{code}"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRIPTYCH_")}
        environment = {**inherited, **self.environment}
        done = subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        if language == "bash":
            after = dict(entry.split("=", 1) for entry in variables.read_text().split("\0") if "=" in entry)
            self.environment = {name: value for name, value in after.items() if name not in ("_", "SHLVL")}
            variables.unlink()
        return done


def assert_same(printed: str, shown: str, place: str) -> None:
    """Line by line, in any order where two streams meet: equal words, scores within a tolerance, durations apart."""
    got, expected = sorted(map(_apart, printed.splitlines())), sorted(map(_apart, shown.splitlines()))
    assert [words for words, _ in got] == [words for words, _ in expected], f"{place} printed:\n{printed}"
    for (_, numbers), (_, wanted) in zip(got, expected, strict=True):
        for number, text in zip(numbers, wanted, strict=True):
            digits = len(text.partition(".")[2])
            allowed = max(1.1 * 10**-digits, _TOLERANCE)
            # Above 1 it is a duration in ms, which no two runs share.
            assert float(text) > 1 or abs(float(number) - float(text)) <= allowed, f"{place} printed:\n{printed}"


def _apart(line: str) -> tuple[str, tuple[str, ...]]:
    """A line's words with `#` for each number that has a fraction, and those numbers."""
    number = r"(?<![\w.])-?\d+\.\d+(?![\w.]*\d)"
    return " ".join(re.sub(number, "#", line).split()), tuple(re.findall(number, line))
