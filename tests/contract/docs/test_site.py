"""The site builds strictly, names nothing of another host, and its derived pages have what they are derived from."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

import triptych
from docs.generation import command_lines, configuration, hooks, runbooks, wire
from docs.generation.pages import GenerationError, as_text, table

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(page for folder in ("explanation", "guides") for page in (ROOT / "docs" / folder).glob("*.md"))
# Explanations of a flow, which have a diagram.
FLOWS = ("catalogue-search", "export-to-release", "photo-to-answer")
# Below these a page names files and folders by their path.
NAMED = re.compile(r"`((?:client|docs|export|helm|loadtest|model_repository|ops|tests)/[\w./*-]+)`")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return folder


class _Loaded(HTMLParser):
    """Collects addresses that a browser loads by itself, and the pages' links."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.loaded.append(given.get("src") or "")
        elif tag == "link" and given.get("rel") != "canonical":
            self.loaded.append(given.get("href") or "")


def test_pages_load_nothing_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        parser = _Loaded()
        parser.feed(page.read_text(encoding="utf-8"))
        assert parser.loaded
        assert [each for each in parser.loaded if re.match(r"(?:https?:)?//", each)] == [], page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_pages_with_a_diagram_bring_mermaid_and_no_others_do(site: Path) -> None:
    with_script = {page for page in site.rglob("*.html") if hooks.MERMAID in page.read_text(encoding="utf-8")}
    with_diagram = {page for page in site.rglob("*.html") if 'class="mermaid"' in page.read_text(encoding="utf-8")}
    assert with_diagram == with_script
    assert {page.parent.name for page in with_diagram} >= set(FLOWS)
    script = (site / hooks.MERMAID).read_text(encoding="utf-8")
    # The theme takes the global of that name instead of fetching a script.
    assert 'globalThis["mermaid"]' in script


def test_every_page_is_in_the_navigation(site: Path) -> None:
    """MkDocs warns of a page that is not, and a warning ends a strict build; so the settings are what is checked."""
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=_Loader)
    assert settings["strict"] is True
    assert settings["validation"]["nav"]["omitted_files"] == "warn"
    assert settings["validation"]["links"]["anchors"] == "warn"
    assert (site / "guides").is_dir() == (ROOT / "docs/guides").is_dir()


class _Loader(yaml.SafeLoader):
    """Takes MkDocs' tags for text."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda loader, suffix, node: suffix)


def test_python_pages_have_every_public_name(site: Path) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (site / "reference/python").rglob("*.html"))
    assert [name for name in triptych.__all__ if f'id="triptych.{name}"' not in pages] == []


def test_command_page_has_every_command_with_its_options() -> None:
    parser = command_lines.capture_parser("triptych", None)
    page, modules = (each.text for each in command_lines.render())
    commands = dict(command_lines.list_commands(parser))
    assert len(commands) > 40
    for words, command in commands.items():
        assert re.search(rf"^##+ {re.escape(words)}$", page, re.M), words
        for action in command._actions:
            options = [option for option in action.option_strings if option not in ("-h", "--help")]
            assert action.help == "==SUPPRESS==" or all(option in page for option in options), (words, options)
    assert str(ROOT) not in page + modules


@pytest.mark.parametrize("module", command_lines.MODULES)
def test_page_of_the_modules_has_the_commands_that_triptych_lacks_and_no_other(module: str) -> None:
    _, modules = (each.text for each in command_lines.render())
    names = [words for words, _ in command_lines.list_commands(command_lines.capture_parser("python -m x", module))]
    line = next(line for line in modules.splitlines() if line.startswith(f"- `python -m {module}`"))
    assert all(f"`{name}`" in line for name in names if " " not in name)
    assert re.findall(r"^## (.*)$", modules, re.M) == ["chart", "release-check"]
    assert ("`triptych` lacks `chart`, `release-check`" in line) == (module == "ops")


def test_program_that_parses_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runpy.run_module", lambda *_, **__: None)
    with pytest.raises(GenerationError, match="parsed no arguments"):
        command_lines.capture_parser("python -m other", "other")


def test_shapes_with_open_dimensions_show_their_asterisks(site: Path) -> None:
    page = (site / "reference/tensors/index.html").read_text(encoding="utf-8")
    assert ">FP32[N,*,*]<" in page.replace("&#91;", "[")


def test_tensor_page_has_every_tensor_of_every_model() -> None:
    tensors, parameters = wire.render()
    for file in wire.MODELS.glob("*/config.pbtxt"):
        config = wire.read_config(file)
        section = re.search(rf"^## {config.name}\n(.*?)(?=^## |\Z)", tensors.text, re.M | re.S)
        assert section is not None
        for tensor in (*config.input, *config.output):
            assert f"| `{tensor.name}` |" in section[1], (config.name, tensor.name)
        for key in config.parameters:
            assert f"| `{key}` |" in parameters.text, (config.name, key)


def test_variable_without_a_description_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    configuration.render()
    known = configuration.named_in_code()
    monkeypatch.setattr(configuration, "named_in_code", lambda: {**known, "TRIPTYCH_NEW": "ops/new.py"})
    with pytest.raises(GenerationError, match=r"TRIPTYCH_NEW \(ops/new.py\)"):
        configuration.render()
    monkeypatch.setattr(configuration, "named_in_code", dict)
    with pytest.raises(GenerationError, match="which no code reads"):
        configuration.render()


def test_every_alert_has_its_runbook_on_the_site() -> None:
    pages = {file.stem for file in runbooks.find_runbooks()}
    (index,) = runbooks.render()
    rules = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "helm/triptych/files/rules").glob("*.yaml"))
    alerts = set(re.findall(r"alert: (\w+)", rules))
    assert alerts
    assert {alert for alert in alerts if alert not in pages} == set()
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| \S.*\.? \|$", index.text, re.M)
    assert rows == [(name, name) for name in sorted(pages)]


@pytest.mark.parametrize("name", FLOWS)
def test_explanation_of_a_flow_has_a_diagram_and_names_its_files(name: str) -> None:
    text = (ROOT / f"docs/explanation/{name}.md").read_text(encoding="utf-8")
    assert "```mermaid\nflowchart" in text
    assert len(NAMED.findall(text)) >= 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_names_files_that_are_there(page: Path) -> None:
    named = NAMED.findall(page.read_text(encoding="utf-8"))
    assert [path for path in named if not list(ROOT.glob(path.rstrip("/")))] == []


def test_navigation_entry_of_a_folder_becomes_its_pages() -> None:
    paths = ["a/b.md", "a/index.md", "c.md"]
    assert hooks.expand_navigation([{"A": "a/"}, {"B": "b/"}, "c.md"], paths) == [
        {"A": ["a/index.md", "a/b.md"]},
        "c.md",
    ]


def test_short_inline_code_is_kept_on_one_line(site: Path) -> None:
    page = (site / "guides/recognize-folders/index.html").read_text(encoding="utf-8")
    assert '<code class="unbroken">--resume</code>' in page
    assert "code.unbroken" in (site / "assets/site.css").read_text(encoding="utf-8")
    assert not re.search(r'<pre[^>]*>(?:<span></span>)?<code class="unbroken">', page)


def test_table_shows_bars_and_tags_as_text() -> None:
    assert table(("a", "b"), [("x|y", "two\nlines")]) == "| a | b |\n| --- | --- |\n| x\\|y | two lines |\n"
    assert as_text("<name> [x] `<code>`") == "&lt;name> &#91;x] `<code>`"
