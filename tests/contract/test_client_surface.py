"""What the client promises to those who import it: names, signatures, a light import, types, a reference."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import ParamSpec, TypeVar

import pytest

import triptych
from docs.generation import python_api
from triptych import AsyncClient, Client
from triptych.admin import Admin, AsyncAdmin
from triptych.catalogue import AsyncCatalogue, Catalogue

CLIENT = Path(__file__).resolve().parents[2] / "client"

PACKAGE = CLIENT / "src/triptych"

# Modules that users import through `triptych`, which lists and documents each of their names.
REEXPORTED_MODULES = ("triptych.async_client", "triptych.client", "triptych.errors", "triptych.results")
# Module without `_` in its name that the reference does not document -> the reason. Every other module without `_`
# is public: name it in MODULES of docs/generation/python_api.py, or give a new inner module a name with `_`.
INNER_MODULES = {
    **dict.fromkeys(REEXPORTED_MODULES, "`triptych` exports its names"),
    "triptych.catalogue.async_catalogue": "`triptych.catalogue` exports `AsyncCatalogue`",
    "triptych.catalogue.backup_files": "file format of backups, for `triptych catalogue backup` and `restore`",
    "triptych.catalogue.catalogue": "`triptych.catalogue` exports `Catalogue`",
    "triptych.catalogue.embedded_files": "file format of bulk embedding, for `export.bulk_embedding` and the catalogue",
    "triptych.catalogue.file_replacement": "atomic file replacement, for `export.bulk_embedding` and the catalogue",
    "triptych.catalogue.files": "parser of catalogue files, for `export.bulk_embedding` and the catalogue",
    "triptych.catalogue.importing": "import journal, for `export.bulk_embedding` and the catalogue",
    "triptych.catalogue.folders": "folders of photos as products, for `triptych.catalogue.files`",
    "triptych.catalogue.loading": "batches of an import, for the catalogue",
    "triptych.catalogue.table_rows": "rows of tables as products, for `triptych.catalogue.files`",
    "triptych.testing.fake_catalogue": "`triptych.testing` exports its public names",
    "triptych.testing.fake_clients": "`triptych.testing` exports its public names",
    "triptych.testing.fake_explainer": "the explanations of `FakeServer`",
    "triptych.testing.fake_outputs": "the output tensors of `FakeServer`",
    "triptych.testing.fake_server": "`triptych.testing` exports its public names",
}

# Package whose modules are all inner -> the reason.
INNER_PACKAGES = {"triptych.sources": "readers of tables and folders, for the catalogue's import and `export`"}

OPTIONAL = ("PIL", "httpcore", "httpx", "tqdm", "rich", "opentelemetry", "prometheus_client", "pyarrow")

# What is of an event loop -> what it is for the blocking client.
_BLOCKING = (
    (r"Iterable\[ImageLike\] \| AsyncIterable\[ImageLike\]", "Iterable[ImageLike]"),
    (r"\bAsync(Client|Admin|Caller|Catalogue|Transport|Iterator)\b", r"\1"),
    (r"__a(enter|exit)__", r"__\1__"),
)


def members(kind: type) -> dict[str, object]:
    """What a class and its bases define."""
    return {name: member for each in reversed(kind.__mro__[:-1]) for name, member in vars(each).items()}


def surface(kind: type) -> dict[str, str]:
    """Name -> signature in the blocking client's words, of what a caller may use."""
    found = {}
    for name, member in members(kind).items():
        if name.startswith("_") and name not in ("__init__", "__enter__", "__exit__", "__aenter__", "__aexit__"):
            continue
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if inspect.isfunction(function):
            text = f"{name} {type(member).__name__ * (not inspect.isfunction(member))}{inspect.signature(function)}"
            for of_loop, blocking in _BLOCKING:
                text = re.sub(of_loop, blocking, text)
            name, _, signature = text.partition(" ")
            found[name] = signature
    return found


@pytest.mark.parametrize(
    ("blocking", "of_loop"), [(Client, AsyncClient), (Admin, AsyncAdmin), (Catalogue, AsyncCatalogue)]
)
def test_clients_have_the_same_surface_when_compared(blocking: type, of_loop: type) -> None:
    expected = surface(blocking)
    assert len(expected) >= 3
    assert surface(of_loop) == expected


@pytest.mark.parametrize(
    ("blocking", "of_loop"), [(Client, AsyncClient), (Admin, AsyncAdmin), (Catalogue, AsyncCatalogue)]
)
def test_methods_wait_for_the_server_alike_when_compared(blocking: type, of_loop: type) -> None:
    """A method that blocks is awaited; a method that yields items as they arrive is iterated."""
    for name, signature in surface(blocking).items():
        if name.startswith("_") or isinstance(members(blocking)[name], (property, classmethod)):
            continue
        is_lazy = "-> 'Iterator[" in signature or name == "with_options"
        assert inspect.iscoroutinefunction(members(of_loop)[name]) is not is_lazy, name


def test_all_names_every_public_name_when_compared_with_what_is_imported() -> None:
    imported = {
        name for name, value in vars(triptych).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert imported == set(triptych.__all__)
    assert list(triptych.__all__) == sorted(triptych.__all__, key=lambda name: (not name.isupper(), name))


def module_names(package: Path) -> set[str]:
    """Modules of the package `triptych` that no `_` marks as private, without the command and its modules."""
    paths = [path.relative_to(package).with_suffix("").parts for path in package.rglob("*.py")]
    parts = {path[:-1] if path[-1] == "__init__" else path for path in paths}
    return {
        ".".join(("triptych", *path)) for path in parts if path[:1] != ("cli",) and not any(p[0] == "_" for p in path)
    }


def documented_names() -> list[str]:
    """What the site's pages of the Python API hand to mkdocstrings."""
    return [name for page in python_api.render() for name in re.findall(r"^::: (\S+)$", page.text, re.M)]


def documented_value(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def unlisted_names(module: ModuleType) -> list[str]:
    """Functions and classes that a module or its submodules define and its `__all__` omits.

    A base class of a listed class counts as listed: the reference shows its members with the derived class.
    """
    listed = [getattr(module, name) for name in module.__all__]
    bases = {base for each in listed if inspect.isclass(each) for base in each.__mro__}
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name not in module.__all__
        and callable(value)
        and not isinstance(value, (TypeVar, ParamSpec))
        and f"{getattr(value, '__module__', None)}.".startswith(f"{module.__name__}.")
        and value not in bases
    ]


def members_without_docstring(name: str, value: object) -> list[str]:
    """The value and its public members, inherited ones included, that have no docstring of their own."""
    if not inspect.isclass(value):
        return [name] if inspect.isroutine(value) and not value.__doc__ else []
    found = [] if has_docstring(value) else [name]
    for base in value.__mro__:
        if base.__module__.partition(".")[0] == "triptych":
            found += [f"{name}.{each}" for each, member in vars(base).items() if lacks_docstring(each, member)]
    return found


def has_docstring(kind: type) -> bool:
    """A dataclass without a docstring gets its signature as one, which does not count."""
    return bool(kind.__doc__) and not str(kind.__doc__).startswith(f"{kind.__name__}(")


def lacks_docstring(name: str, member: object) -> bool:
    is_member = inspect.isroutine(member) or isinstance(member, (property, cached_property, classmethod, staticmethod))
    return is_member and not name.startswith("_") and not member.__doc__


def test_every_module_is_documented_or_inner() -> None:
    documented = {"triptych", *python_api.MODULES}
    assert not documented & INNER_MODULES.keys()
    found = {
        name
        for name in module_names(PACKAGE)
        if not f"{name}.".startswith(tuple(f"{each}." for each in INNER_PACKAGES))
    }
    assert sorted(found - documented - INNER_MODULES.keys()) == []
    assert sorted((documented | INNER_MODULES.keys()) - found) == []


@pytest.mark.parametrize("planted", ["zz.py", "zz/__init__.py", "catalogue/zz.py", "zz/inner.py"])
def test_module_is_noticed_when_a_public_one_is_planted(tmp_path: Path, planted: str) -> None:
    copy = tmp_path / "triptych"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for private in ("_zz.py", "catalogue/_zz.py", "cli/zz.py", "_core/zz.py", planted):
        (copy / private).parent.mkdir(exist_ok=True)
        (copy / private).touch()
    expected = "triptych." + planted.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert module_names(copy) - module_names(PACKAGE) == {expected}


@pytest.mark.parametrize("module", python_api.MODULES)
def test_module_lists_what_the_reference_documents(module: str) -> None:
    names = importlib.import_module(module).__all__
    assert names
    documented = [name for name in documented_names() if name.rpartition(".")[0] == module]
    assert sorted(documented) == sorted(f"{module}.{name}" for name in names)


@pytest.mark.parametrize("module", REEXPORTED_MODULES)
def test_module_lists_only_names_that_triptych_exports(module: str) -> None:
    source = importlib.import_module(module)
    assert source.__all__
    exported = {name: getattr(triptych, name, None) for name in source.__all__}
    assert exported == {name: getattr(source, name) for name in source.__all__}
    assert set(exported) <= set(triptych.__all__)


@pytest.mark.parametrize("module", ["triptych", *python_api.MODULES, *REEXPORTED_MODULES])
def test_module_lists_every_public_function_and_class(module: str) -> None:
    assert unlisted_names(importlib.import_module(module)) == []


@pytest.mark.parametrize("module", ["triptych", *python_api.MODULES, *REEXPORTED_MODULES])
def test_function_is_noticed_when_planted_outside_all(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = importlib.import_module(module)
    # `__module__` is that of a function written in the module, or in a submodule and imported.
    for name, place in {"planted": module, "planted_below": f"{module}.zz", "_private": module}.items():
        monkeypatch.setattr(changed, name, planted_function(place), raising=False)
    monkeypatch.setattr(changed, "PlantedClass", type("PlantedClass", (), {"__module__": module}), raising=False)
    assert sorted(unlisted_names(changed)) == ["PlantedClass", "planted", "planted_below"]


def test_documented_names_and_their_members_have_docstrings() -> None:
    names = documented_names()
    assert [each for name in names for each in members_without_docstring(name, documented_value(name))] == []
    without = [name for name in ("triptych", *python_api.MODULES) if not importlib.import_module(name).__doc__]
    assert without == []


@pytest.mark.parametrize(
    "kind",
    [value for value in map(documented_value, documented_names()) if inspect.isclass(value)],
    ids=lambda kind: kind.__name__,
)
def test_member_is_noticed_when_planted_without_a_docstring(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    function = planted_function(kind.__module__)
    planted = {
        "planted_method": function,
        "planted_property": property(function),
        "planted_cached_property": cached_property(function),
        "planted_class_method": classmethod(function),
        "planted_static_method": staticmethod(function),
    }
    for name, member in {**planted, "_private": function}.items():
        monkeypatch.setattr(kind, name, member, raising=False)
    assert members_without_docstring("kind", kind) == [f"kind.{name}" for name in planted]
    monkeypatch.setattr(kind, "__doc__", None)
    assert members_without_docstring("kind", kind) == ["kind", *(f"kind.{name}" for name in planted)]


def test_function_is_noticed_when_it_has_no_docstring() -> None:
    assert members_without_docstring("planted", planted_function("triptych")) == ["planted"]


def planted_function(module: str) -> Callable[..., None]:
    """A new function without a docstring that says it was written in `module`."""

    def planted(*_: object) -> None:
        pass

    planted.__module__ = module
    return planted


def test_all_has_every_error_when_compared_with_their_module() -> None:
    errors = importlib.import_module("triptych.errors")
    public = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert public <= set(triptych.__all__)


def run(program: str) -> str:
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_import_touches_no_network_when_sockets_are_refused() -> None:
    output = run("""
import socket, sys
class RefusedSocket(socket.socket):
    def __init__(self, *arguments, **options):
        raise AssertionError("a socket was made")
socket.socket = RefusedSocket
watching = True
def refuse(event, arguments):
    if event.startswith("socket.") and watching:
        raise AssertionError(f"{event} {arguments}")
sys.addaudithook(refuse)
import triptych, triptych.testing
triptych.Client("shop.example:8001").close()
triptych.AsyncClient("shop.example:8001")
watching = False
try:
    socket.socket()
except AssertionError as error:
    print(error)
""")
    assert output == "a socket was made\n"


def test_import_takes_less_than_a_second_of_the_processor_when_all_is_installed() -> None:
    # Processor time of this process alone, not time on a clock: other work on the machine does not count. About 0.3 s
    # where it was written; the best of three, because the first may compile and read cold files.
    program = "import time; import triptych; print(time.process_time())"
    assert min(float(run(program)) for _ in range(3)) < 1.0


def test_import_leaves_optional_packages_alone_when_they_are_installed() -> None:
    loaded = run("import sys, triptych; print(*sorted({name.partition('.')[0] for name in sys.modules}))").split()
    assert "triptych" in loaded
    assert [name for name in OPTIONAL if name in loaded] == []


def test_wheel_holds_the_package_and_its_types_when_built(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=CLIENT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not re.match(r"[^/]+\.dist-info/", name)}
        (metadata,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    package = {
        str(path.relative_to(CLIENT / "src"))
        for path in (CLIENT / "src/triptych").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "triptych/py.typed" in held
    assert held == package
    for extra in ("metrics", "tracing"):
        assert f"Provides-Extra: {extra}" in metadata


def test_reference_has_every_public_name_once_when_rendered() -> None:
    found = [name for name in documented_names() if name.count(".") == 1]
    assert sorted(found) == sorted(f"triptych.{name}" for name in triptych.__all__)
