"""What MkDocs calls while it builds: adds the derived pages, completes the navigation, brings mermaid's script.

`mkdocs.yml` names this file. The site must not load anything from another host: mermaid's script comes out of the
package `mermaidx`, which ships it unchanged, and goes only into pages that have a diagram, because it has 3.5 MB.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page as SitePage
from mkdocs.utils import get_relative_url

from docs.generation import command_lines, configuration, decisions, helm_values, python_api, runbooks, tables, wire
from docs.generation.pages import GenerationError, Page

MERMAID = "assets/mermaid.min.js"
# In the order of the section Reference.
GENERATORS = (python_api, command_lines, wire, configuration, tables, helm_values, runbooks, decisions)
_DIAGRAM = 'class="mermaid"'
_FIRST_SCRIPT = '<script id="__config"'
# Inline code of 28 characters fits the line of a phone (390 px).
_SHORT_CODE = re.compile(r"<code>([^<\n]{1,28})</code>")


def generate() -> list[Page]:
    """Every derived page."""
    return [page for generator in GENERATORS for page in generator.render()]


def find_mermaid() -> str:
    """Path of mermaid's script in the installed package."""
    return str(resources.files("mermaidx") / "assets/mermaid.js")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the derived pages and completes the navigation with them."""
    try:
        pages = generate()
    except GenerationError as error:
        raise PluginError(str(error)) from error
    for page in pages:
        files.append(File.generated(config, page.path, content=page.text))
    files.append(File.generated(config, MERMAID, abs_src_path=find_mermaid()))
    paths = [page.path for page in pages]
    paths += [file.src_uri for file in files.documentation_pages() if file.src_uri not in set(paths)]
    config.nav = expand_navigation(config.nav, paths)
    return files


def expand_navigation(nav: Any, paths: list[str]) -> Any:
    """An entry that ends in `/` becomes all pages of that folder, its index first; a section without pages goes."""
    if isinstance(nav, str):
        return [path for path in _ordered(paths) if path.startswith(nav)] if nav.endswith("/") else nav
    if isinstance(nav, dict):
        found = {title: expand_navigation(entry, paths) for title, entry in nav.items()}
        return {title: entry for title, entry in found.items() if entry}
    expanded: list[Any] = []
    for entry in nav:
        made = expand_navigation(entry, paths)
        expanded += made if isinstance(made, list) else [made] if made else []
    return expanded


def on_page_content(html: str, page: SitePage, config: MkDocsConfig, files: Files) -> str:
    """Marks short inline code, which the style sheet keeps on one line."""
    return _SHORT_CODE.sub(r'<code class="unbroken">\1</code>', html)


def on_post_page(output: str, page: SitePage, config: MkDocsConfig) -> str:
    """Puts mermaid's script before the theme's own, which fetches one from another host where none is there."""
    if _DIAGRAM not in output:
        return output
    if _FIRST_SCRIPT not in output:
        raise PluginError(
            f"{page.file.src_uri}: the theme's page has no {_FIRST_SCRIPT}; mend docs/generation/hooks.py."
        )
    address = get_relative_url(MERMAID, page.url)
    return output.replace(_FIRST_SCRIPT, f'<script src="{address}"></script>{_FIRST_SCRIPT}', 1)


def _ordered(paths: list[str]) -> list[str]:
    """As they were given, a folder's index before its other pages."""
    return sorted(paths, key=lambda path: not path.endswith("/index.md"))
