"""What the client promises to those who import it: names, signatures, a light import, types, a reference."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import triptych
from docs.generation import python_api
from triptych import AsyncClient, Client
from triptych.admin import Admin, AsyncAdmin
from triptych.catalogue import AsyncCatalogue, Catalogue

CLIENT = Path(__file__).resolve().parents[2] / "client"

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


def public_modules() -> list[str]:
    """Modules and packages of the first level that are neither private nor the command."""
    package = CLIENT / "src/triptych"
    names = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    return sorted(f"triptych.{name}" for name in names if not name.startswith("_") and name != "cli")


def documented_names() -> list[str]:
    """What the site's pages of the Python API hand to mkdocstrings."""
    return [name for page in python_api.render() for name in re.findall(r"^::: (\S+)$", page.text, re.M)]


@pytest.mark.parametrize("module", public_modules())
def test_public_module_names_what_the_reference_documents(module: str) -> None:
    names = importlib.import_module(module).__all__
    assert names
    assert set(names) <= {name.rpartition(".")[2] for name in documented_names()}


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
