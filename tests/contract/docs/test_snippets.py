"""Every code block of the site and of README.md is run as it stands there, or says why not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.server.local_server import LocalServer
from ops.settings import Settings
from tests.contract.client_pages import GUIDES
from tests.contract.docs.snippets import RUN, Session, Snippet, assert_same, read_snippets

ROOT = Path(__file__).resolve().parents[3]
MARKED = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Links inside the site are checked by its strict build.
LINKING = sorted(
    file
    for place in (
        "*.md",
        *(f"{room}/**/*.md" for room in ("client", "export", "helm", "loadtest", "model_repository", "ops", "tests")),
    )
    for file in ROOT.glob(place)
)
SNIPPETS = {
    document: read_snippets(document.relative_to(ROOT), document.read_text(encoding="utf-8")) for document in MARKED
}


def to_run(document: Path) -> list[Snippet]:
    return [each for each in SNIPPETS[document] if each.language in RUN and each.reason is None]


# A tutorial that needs what another one has made runs after it, in the same folder.
_TUTORIALS = ROOT / "docs/tutorials"
PREPARED_BY = {_TUTORIALS / "to-production.md": _TUTORIALS / "your-own-labels.md"}
# `tests/contract/test_client_readme.py` runs the client's guides.
DOCUMENTS = [document for document in SNIPPETS if document not in (*GUIDES, *PREPARED_BY.values()) and to_run(document)]


@pytest.fixture(scope="module")
def docs_server() -> Iterator[LocalServer]:
    """One server for all documents."""
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0)) as server:
        yield server


@pytest.fixture
def session(
    docs_server: LocalServer, remove_products: Callable[[LocalServer], None], photos: list[Path], tmp_path: Path
) -> Iterator[Session]:
    """A folder like the repository's root after `make serve`, and an empty catalogue; stops a server that a document
    has left.
    """
    remove_products(docs_server)
    for name in (".cache", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".run").symlink_to(docs_server.catalogue_key_file.parent)
    for name in ("photo.jpg", "shoe.jpg"):
        (tmp_path / name).symlink_to(ROOT / ".cache/photos/imagenet_11_630.jpg")
    addresses = {"http://127.0.0.1:8000": docs_server.http_url, "127.0.0.1:8001": docs_server.grpc_target}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # `python -m ops` and what imports it run from the root.
    variables = {"TRIPTYCH_TARGET": docs_server.grpc_target, "PYTHONPATH": str(ROOT), "PATH": path}
    yield Session(tmp_path, addresses, variables)
    for log in tmp_path.glob("*/server.log"):
        if not log.parent.is_symlink():
            words = [sys.executable, "-m", "ops", "stop", "--state-dir", str(log.parent)]
            subprocess.run(words, cwd=ROOT, check=False, capture_output=True, timeout=60)


@pytest.mark.timeout(600)  # one trains and places heads: 80 s of two busy cores
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_blocks_of_a_document_run_as_shown(document: Path, session: Session) -> None:
    before = to_run(PREPARED_BY[document]) if document in PREPARED_BY else []
    for snippet in [*before, *to_run(document)]:
        printed = session.run(snippet)
        if document == MARKED[0] and re.search("embedding|classification", snippet.code):
            assert "Loafer" in printed, str(snippet)
        if "answer.bin" in snippet.code:
            assert b"retail_score" in (session.folder / "answer.bin").read_bytes()


@pytest.mark.parametrize("document", MARKED, ids=lambda document: str(document.relative_to(ROOT)))
def test_blocks_that_are_not_run_say_why(document: Path) -> None:
    unmarked = [
        str(each)
        for each in SNIPPETS[document]
        if each.reason is None and each.language not in (*RUN, "mermaid", "promql")
    ]
    assert unmarked == [], "write `<!-- not run: reason -->` on the line above"


def test_documents_have_blocks_to_run() -> None:
    assert len(DOCUMENTS) >= 4
    assert sum(len(to_run(document)) for document in DOCUMENTS) >= 15


def test_parser_finds_marks_outputs_and_indented_blocks() -> None:
    text = (
        "<!-- not run: slow -->\n```bash\nmake\n```\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n"
        "- item\n\n  ```\n  plain\n  ```\n<!-- not run: -->\n```sh\nls\n```\n"
    )
    slow, program, plain, empty = read_snippets(Path("a.md"), text)
    assert (slow.reason, slow.line) == ("slow", 2)
    assert (program.code, program.output, program.reason) == ("print(1)\n", "1\n", None)
    assert (plain.language, plain.code) == ("", "plain\n")
    assert empty.reason is None, "a mark without a reason is none"


@pytest.mark.parametrize(
    "printed", ["shoe 0.785\nrug\n", "shoe 0.784 12.5 ms\n", "rug\nshoe 0.789 12.5 ms\n", "rug\nboot 0.784 12.5 ms\n"]
)
def test_output_that_differs_is_refused(printed: str) -> None:
    assert_same("shoe 0.785 3.1 ms\nrug\n", "rug\nshoe   0.784 12.5 ms\n", "here")
    with pytest.raises(AssertionError, match="printed"):
        assert_same(printed, "rug\nshoe 0.784 12.5 ms\n", "here")


@pytest.mark.parametrize("document", LINKING, ids=lambda document: str(document.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$|`[^`\n]+`", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    for path, anchor in re.findall(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        target = document.parent / path if path else document
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{path}#{anchor}"


def test_readme_links_its_documents() -> None:
    assert len(re.findall(r"\]\((?!https?://)", (ROOT / "README.md").read_text(encoding="utf-8"))) >= 5
