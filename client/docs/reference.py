"""Writes `api.md`, the reference of the public names, from their signatures and Google docstrings.

Run as `python client/docs/reference.py`; `make generate` does.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import triptych
from triptych.error_codes import MEANINGS

PAGE = Path(__file__).with_name("api.md")
HEADER = """# API

Written by `make generate` from the docstrings; what is not named here may change without a word.
"""
# Title -> the modules whose names, where `triptych` exports them, it holds.
GROUPS = {
    "Clients": ("client", "async_client"),
    "Photos": ("photo", "pixels"),
    "Results": ("results",),
    "Search and catalogue": (
        "searching",
        "matching",
        "recommending",
        "catalogue_calls",
        "catalogue_files",
        "catalogue_import",
        "catalogue_rebuild",
        "embedded_files",
    ),
    "Explanations": ("explaining",),
    "Errors": ("errors",),
    "Connection, retries, observers": ("connection", "retry", "observation"),
    "What a server says about itself": ("server_state",),
}
# Not exported by `triptych`, because importing them costs, needs an extra, or is for tests alone.
APART = {
    "triptych.admin": ("Admin",),
    "triptych.catalogue": ("Catalogue",),
    "triptych.metrics": ("ClientMetrics",),
    "triptych.tracing": ("trace_headers",),
    "triptych.testing": None,
}
MIXINS = ("Searching", "AsyncSearching")
LINE_LENGTH = 100

_SECTION = re.compile(r"(Args|Attributes|Raises|Example):")
_ENTRY = re.compile(r"([\w*, .]+?): (.*)", re.DOTALL)
_TITLES = {"Args": "Arguments"}


def render() -> str:
    """The whole page."""
    parts = [HEADER]
    for title, modules in GROUPS.items():
        parts.append(f"## {title}\n")
        for name in modules:
            module = importlib.import_module(f"triptych.{name}")
            parts += [render_name(module, public) for public in _defined(module, triptych.__all__)]
    for path, names in APART.items():
        module = importlib.import_module(path)
        parts.append(f"## {path}\n\n{render_docstring(module)}\n")
        parts += [render_name(module, name) for name in names or sorted(module.__all__, key=_order(module))]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts))


def render_name(module: ModuleType, name: str) -> str:
    """One public name: a class, a function or a constant."""
    value = getattr(module, name)
    heading = f"### {name}\n"
    if inspect.isclass(value):
        return "\n".join([heading, *_class_parts(value)])
    if inspect.isfunction(value):
        return "\n".join([heading, _fence(_signature(value, f"def {name}")), render_docstring(value) + "\n"])
    assigned, text = _assignment(module, name)
    return "\n".join([heading, _fence(assigned), text + "\n"])


def render_docstring(documented: Any) -> str:
    """Google sections become lists; the rest stays as it is."""
    text = inspect.cleandoc(getattr(documented, "__doc__", None) or "")
    parts: list[str] = []
    for block in re.split(r"\n\n(?=\S)", text):
        first, _, rest = block.partition("\n")
        section = _SECTION.fullmatch(first)
        parts.append(block if section is None else _section(section[1], textwrap.dedent(rest)))
    return "\n\n".join(parts)


def _section(kind: str, body: str) -> str:
    if kind == "Example":
        return _fence(body.replace("  # doctest: +SKIP", ""), "pycon").rstrip()
    entries = [" ".join(entry.split()) for entry in re.split(r"\n(?=\S)", body)]
    found = [_ENTRY.fullmatch(entry) for entry in entries]
    lines = [
        f"- `{match[1]}`: {match[2]}" if match else f"- {entry}" for entry, match in zip(entries, found, strict=True)
    ]
    return "\n".join([f"**{_TITLES.get(kind, kind)}**\n", *lines])


def _class_parts(kind: type) -> Iterator[str]:
    bases = [base for base in kind.__bases__ if base.__module__.startswith("triptych")]
    if issubclass(kind, Exception):
        retryable = "retryable" if getattr(kind, "retryable", False) else "not retryable"
        codes = ", ".join(f"`{code}`" for code, meaning in MEANINGS.items() if meaning.error is kind)
        shown = f"{retryable}; code {codes}" if codes else retryable
        yield f"*{bases[0].__name__ if bases else 'Exception'}*, {shown}.\n\n{render_docstring(kind)}\n"
        return
    is_protocol = getattr(kind, "_is_protocol", False)
    yield _fence(f"class {kind.__name__}(Protocol)" if is_protocol else _signature(kind, f"class {kind.__name__}"))
    yield render_docstring(kind) + "\n"
    for base in bases:
        public = base.__name__ in triptych.__all__
        if base.__name__ not in MIXINS:
            yield f"Further, what `{base.__name__}` has.\n" if public else render_docstring(base) + "\n"
    if not dataclasses.is_dataclass(kind) and not is_protocol:
        yield render_docstring(vars(kind).get("__init__")) + "\n"
    yield from _member_parts(kind)


def _member_parts(kind: type) -> Iterator[str]:
    """Those with words of their own one by one; those that refer to another class together."""
    referred: dict[str, list[str]] = {}
    # A base that is not public is part of the class for whoever uses it.
    private = [base for base in kind.__mro__[:0:-1] if base.__name__ in MIXINS]
    for name, member in [pair for each in (kind, *private) for pair in vars(each).items()]:
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        shown = f"{name}: {function.__annotations__['return']}"
        if not isinstance(member, property):
            shown = _signature(function, f"{'async ' * inspect.iscoroutinefunction(function)}def {name}")
        text = function.__doc__ or ""
        reference = re.match(r"See `(.*?)`", text)
        if reference is not None:
            referred.setdefault(reference[1].removesuffix(f".{name}"), []).append(shown)
        elif text != "See the class.":
            yield f"#### {kind.__name__}.{name}\n\n{_fence(shown)}\n{render_docstring(function)}\n"
    for other, members in referred.items():
        yield f"As in `{other}`:\n\n{_fence(chr(10).join(members))}"


def _signature(function: Any, start: str) -> str:
    signature = inspect.signature(function)
    public = [
        each.replace(annotation=_Raw(each.annotation), default=_shown_default(each.default))
        for each in signature.parameters.values()
        if not each.name.startswith("_") and each.name not in ("self", "cls")
    ]
    returned = "" if inspect.isclass(function) else f" -> {signature.return_annotation}"
    whole = f"{start}{inspect.Signature(public)}{returned}"
    if len(whole) > LINE_LENGTH:
        lines = [f"    {line}," for line in _parameter_lines(public)]
        whole = "\n".join([f"{start}(", *lines, f"){returned}"])
    return whole


def _parameter_lines(parameters: list[inspect.Parameter]) -> Iterator[str]:
    starred = False
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        yield str(each)


class _Raw:
    """Shows as it is: `inspect` would put quotes around a string."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _shown_default(default: object) -> object:
    """A class by its name; what is long, or made anew for each value, as "..."."""
    if inspect.isclass(default):
        return default if default is inspect.Parameter.empty else _Raw(default.__name__)
    is_long = isinstance(default, tuple) and bool(default)
    return _Raw("...") if is_long or repr(default) == "<factory>" else default


def _assignment(module: ModuleType, name: str) -> tuple[str, str]:
    """A constant's own code and the string below it; a name that came from elsewhere is looked up there."""
    body = ast.parse(inspect.getsource(module)).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if [target.id for target in targets if isinstance(target, ast.Name)] == [name]:
            text = following.value if isinstance(following, ast.Expr) else None
            return ast.unparse(node), inspect.cleandoc(str(text.value)) if isinstance(text, ast.Constant) else ""
        if isinstance(node, ast.ImportFrom) and node.module and name in [alias.name for alias in node.names]:
            return _assignment(importlib.import_module(node.module), name)
    raise LookupError(f"{module.__name__} does not assign {name}")


def _defined(module: ModuleType, names: list[str]) -> list[str]:
    """Those of `names` that the module's own code defines, in its order."""
    code = inspect.getsource(module)
    found = [(re.search(rf"^(?:class |def )?{name}\b", code, re.MULTILINE), name) for name in names]
    return [name for match, name in sorted((match.start(), name) for match, name in found if match)]


def _order(module: ModuleType) -> Any:
    """Clients first, then the server they call, then the rest by name."""
    first = ("fake_client", "fake_async_client", "FakeServer")
    return lambda name: (first.index(name) if name in first else len(first), name)


def _fence(code: str, language: str = "python") -> str:
    return f"```{language}\n{code}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
