"""The pages of the client and their code blocks: which run in a test, and which say why they do not.

Their examples need servers and hosts of their own, so `test_client_readme.py` runs them, not `docs/test_snippets.py`.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import triptych

CLIENT = Path(__file__).resolve().parents[2] / "client"
GUIDES = tuple(
    CLIENT.parent / f"docs/guides/{name}.md"
    for name in ("call-from-python", "connect-securely", "handle-errors", "search-a-catalogue", "test-your-code")
)
PAGES = (CLIENT / "README.md", *GUIDES)

_BLOCK = re.compile(r"^(?:<!-- not run: (?P<reason>.+?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
_OUTPUT = re.compile(r"\n+```text\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        heading: the nearest heading above it.
        output: of the `text` block directly below it; empty without one.
        reason: why no test runs it; None where one does.
    """

    page: Path
    heading: str
    language: str
    code: str
    output: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.name}, {self.heading}"


def blocks(page: Path, text: str | None = None) -> Iterator[Block]:
    """All blocks of a page."""
    text = page.read_text(encoding="utf-8") if text is None else text
    for match in _BLOCK.finditer(text):
        headings = re.findall(r"^#+ (.*)$", text[: match.start()], re.M)
        output = _OUTPUT.match(text, match.end())
        yield Block(
            page,
            headings[-1] if headings else "",
            match["language"],
            match["code"],
            output[1] if output else "",
            match["reason"],
        )


def runnable(language: str) -> list[Block]:
    """The blocks of one language that a test runs."""
    return [block for page in PAGES for block in blocks(page) if block.language == language and block.reason is None]


def docstring_examples() -> list[Block]:
    """The examples in the docstrings of the public classes, as `pycon` blocks."""
    found = []
    for name in triptych.__all__:
        value = getattr(triptych, name)
        text = inspect.getdoc(value) or "" if inspect.isclass(value) else ""
        example = re.search(r"^Example:\n((?:    .*\n?|\n)+)", text, re.M)
        if example is not None:
            page = Path(inspect.getfile(value))
            found.append(Block(page, name, "pycon", textwrap.dedent(example[1]), "", None))
    return found


def faults(page: Path, text: str | None = None) -> list[str]:
    """What keeps a block of this page from being run or read; nothing on a page that is well."""
    text = page.read_text(encoding="utf-8") if text is None else text
    found = list(blocks(page, text))
    named = [f"{block}: a block of language {block.language!r}" for block in found if block.language not in _LANGUAGES]
    fences = len(re.findall(r"^\s*(?:```|~~~)", text, re.M))
    if fences != 2 * len(found):
        named.append(f"{page.name}: {fences} fences, but {len(found)} blocks; a fence is indented or not closed")
    outputs = [block for block in found if block.language == "text"]
    if len(outputs) != sum(bool(block.output) for block in found):
        named.append(f"{page.name}: a text block that does not directly follow a python or bash block")
    return named


def program(block: Block) -> tuple[str, str]:
    """The code of a `pycon` block as a program, and the output that it shows."""
    lines = block.code.splitlines()
    code = "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ")))
    output = "".join(f"{line}\n" for line in lines if line and not line.startswith((">>> ", "...")))
    if "await " in code:
        code = f"import asyncio\nasync def main():\n{textwrap.indent(code, '    ')}\nasyncio.run(main())"
    return f"from triptych import AsyncClient, Client\n{code}", output


_LANGUAGES = ("python", "bash", "text")
