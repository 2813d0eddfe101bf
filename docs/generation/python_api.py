"""The Python API: what `triptych` and its public modules name, handed to mkdocstrings name by name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType

import triptych
from docs.generation.pages import GenerationError, Page, table

# Public modules beside `triptych` itself: importing them costs, needs an extra, or is for tests alone.
# None is everything that the module's `__all__` names.
MODULES: dict[str, tuple[str, ...] | None] = {
    "triptych.admin": ("Admin", "AsyncAdmin"),
    "triptych.catalogue": ("Catalogue", "AsyncCatalogue"),
    "triptych.metrics": ("ClientMetrics",),
    "triptych.tracing": ("trace_headers",),
    "triptych.testing": None,
}
_FOLDER = "reference/python"
_INTRODUCTION = """# Python API

`triptych` is the distribution `triptych-client`. Names that these pages do not list are private: they may change
without notice.
"""


def render() -> list[Page]:
    """The list of names, a page for each kind of name, a page for each public module."""
    groups = _group_names()
    pages = [
        Page(f"{_FOLDER}/{_file_name(title)}", _page(title, [("triptych", name) for name in names]))
        for title, names in groups.items()
    ]
    for path in MODULES:
        module = importlib.import_module(path)
        pages.append(Page(f"{_FOLDER}/{path}.md", _page(path, [(path, name) for name in public_names(module)])))
    return [Page(f"{_FOLDER}/index.md", _index(groups)), *pages]


def public_names(module: ModuleType) -> tuple[str, ...]:
    """What a public module names.

    Raises:
        GenerationError: it names nothing, or something that it does not have.
    """
    names = MODULES[module.__name__]
    if names is None:
        names = tuple(sorted(getattr(module, "__all__", ())))
    missing = [name for name in names if not hasattr(module, name)]
    if missing or not names:
        wanted = ", ".join(missing) or "__all__"
        raise GenerationError(f"{module.__name__} has no {wanted}; mend MODULES in docs/generation/python_api.py.")
    return names


def _group_names() -> dict[str, list[str]]:
    """Title of a page -> the names of `triptych` on it, each name on one page."""
    groups: dict[str, list[str]] = {"Clients": [], "Errors": [], "Types": [], "Functions and constants": []}
    for name in triptych.__all__:
        value = getattr(triptych, name)
        if inspect.isclass(value) and (hasattr(value, "__enter__") or hasattr(value, "__aenter__")):
            groups["Clients"].append(name)
        elif inspect.isclass(value) and issubclass(value, Exception):
            groups["Errors"].append(name)
        elif inspect.isclass(value):
            groups["Types"].append(name)
        else:
            groups["Functions and constants"].append(name)
    groups["Clients"].sort(key=len)
    return groups


def _index(groups: dict[str, list[str]]) -> str:
    rows = list(_rows(groups))
    modules = [(f"[`{path}`]({path}.md)", _summary(importlib.import_module(path))) for path in MODULES]
    return "\n".join([_INTRODUCTION, table(("name", "page", "purpose"), rows), table(("module", "purpose"), modules)])


def _rows(groups: dict[str, list[str]]) -> Iterator[tuple[str, str, str]]:
    for title, names in groups.items():
        for name in names:
            value = getattr(triptych, name)
            documented = inspect.isclass(value) or inspect.isfunction(value)
            purpose = _summary(value) if documented else ""
            yield f"[`{name}`]({_file_name(title)}#triptych.{name})", title, purpose


def _summary(documented: object) -> str:
    return (inspect.getdoc(documented) or "").split("\n\n")[0]


def _page(title: str, names: list[tuple[str, str]]) -> str:
    return "\n".join([f"# {title}\n", *(f"::: {module}.{name}\n" for module, name in names)])


def _file_name(title: str) -> str:
    return f"{title.lower().replace(' ', '-')}.md"
