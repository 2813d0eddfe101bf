"""The rooms of the code: who imports whom, and how large a module, a function and a folder may be."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

import triptych
from docs.generation.python_api import MODULES, public_names

ROOT = Path(__file__).resolve().parents[2]

# Root package -> its folder in the repository.
PACKAGES = {
    "triptych": Path("client/src/triptych"),
    "triptych_models": Path("model_repository/triptych_models"),
    "export": Path("export"),
    "ops": Path("ops"),
    "loadtest": Path("loadtest"),
}
# Code outside the packages: the site's generators, Triton's shims, the chart's scripts, the client's examples.
# In tests/ only modules are limited: a few functions that list cases are longer, and tiers hold more modules.
SCRIPTS = (Path("docs"), Path("model_repository/models"), Path("helm"), Path("client/examples"))
LIMITED = (*PACKAGES.values(), *SCRIPTS)
LONGEST_MODULE = 400
LONGEST_FUNCTION = 40
READING_ALONE = "In export, bulk embedding imports the client, and the reading of data its package sources"
# Modules of one folder, `__init__.py` and `__main__.py` not counted.
LARGEST_FOLDER = 16


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    paths = ":".join(str(path) for path in (root, *(root / folder.parent for folder in PACKAGES.values())))
    return subprocess.run(
        command, cwd=root, env={"PYTHONPATH": paths, "COLUMNS": "200"}, capture_output=True, text=True, check=False
    )


def long_modules(folder: Path) -> list[str]:
    """Modules of more than `LONGEST_MODULE` lines."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files(folder)}
    return [f"{path.relative_to(folder)}: {length}" for path, length in lengths.items() if length > LONGEST_MODULE]


def long_functions(folder: Path) -> list[str]:
    """Functions whose body has more than `LONGEST_FUNCTION` lines; the docstring is not counted."""
    return [
        f"{path.relative_to(folder)}: {function.name}"
        for path in python_files(folder)
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and (function.end_lineno or 0) - first_line(function) >= LONGEST_FUNCTION
    ]


def first_line(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Line of the first statement after the docstring."""
    has_docstring = ast.get_docstring(function) is not None and len(function.body) > 1
    return function.body[has_docstring].lineno


def large_folders(folder: Path) -> list[str]:
    """Folders of more than `LARGEST_FOLDER` modules."""
    sizes = Counter(path.parent for path in python_files(folder) if path.name not in ("__init__.py", "__main__.py"))
    return [f"{place.relative_to(folder)}: {size}" for place, size in sizes.items() if size > LARGEST_FOLDER]


def forbidden_imports(folder: Path, allowed: Callable[[str], bool]) -> list[str]:
    """Names that modules below a folder import and that are neither of the standard library nor allowed."""
    return [
        f"{path.relative_to(folder)}: {name}"
        for path in python_files(folder)
        for name in imported_names(ast.parse(path.read_text(encoding="utf-8")))
        if name.partition(".")[0] not in sys.stdlib_module_names and not allowed(name)
    ]


def imported_names(tree: ast.Module) -> Iterator[str]:
    """Every imported module or name, dotted, wherever the statement stands; a relative import begins with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{each.name}" for each in node.names)


def allowed_in_shim(name: str) -> bool:
    return name.partition(".")[0] in ("triptych_models", "triton_python_backend_utils")


def allowed_in_example(name: str) -> bool:
    """`triptych`, a public module of it, or a name that one of them documents."""
    public = {"triptych": triptych.__all__, **{path: public_names(import_module(path)) for path in MODULES}}
    module, _, attribute = name.rpartition(".")
    return name in public or attribute in public.get(module, ())


def python_files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The five packages and the contracts, to plant a violation in."""
    for folder in PACKAGES.values():
        shutil.copytree(
            ROOT / folder,
            tmp_path / folder,
            ignore=lambda place, names: [
                name for name in names if not (Path(place) / name).is_dir() and not name.endswith(".py")
            ],
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_keep_the_contracts_of_pyproject() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken." in result.stdout


@pytest.mark.parametrize(
    ("module", "imported", "broken"),
    [
        ("export", "ops", "export imports the serving package, and the client for bulk embedding"),
        ("export", "triptych", READING_ALONE),
        ("export", "triptych.sources.folder", READING_ALONE),
        ("export/training/dataset", "triptych", READING_ALONE),
        ("export/training/dataset", "triptych.client", READING_ALONE),
        ("export/cli", "triptych.sources.table", READING_ALONE),
        ("loadtest", "export", "loadtest imports the client and the serving package"),
        ("ops", "triptych", "ops imports no other room"),
        ("triptych", "triptych_models", "The client imports no other room"),
        ("triptych_models", "triptych", "The serving package imports no other room"),
        ("loadtest", "triptych._core", "The client's private packages are imported within the client alone"),
    ],
)
def test_imports_break_a_contract_when_a_forbidden_one_is_planted(
    copy: Path, module: str, imported: str, broken: str
) -> None:
    (copy / PACKAGES.get(module, Path(module)) / "planted.py").write_text(f"import {imported}\n")
    result = lint_imports(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{broken} BROKEN" in result.stdout


def unprotected_packages(root: Path) -> set[str]:
    """Private modules and packages of the client that no `protected` contract names."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    protected = {
        name for names in re.findall(r"^protected_modules = (\[.*\])$", text, re.M) for name in ast.literal_eval(names)
    }
    private = {
        path.stem for path in (root / PACKAGES["triptych"]).glob("_[!_]*") if path.is_dir() or path.suffix == ".py"
    }
    assert private
    return {f"triptych.{name}" for name in private} - protected


def test_every_private_package_of_the_client_is_protected(copy: Path) -> None:
    assert unprotected_packages(ROOT) == set()
    (copy / PACKAGES["triptych"] / "_planted").mkdir()
    (copy / PACKAGES["triptych"] / "_planted_too.py").touch()
    assert unprotected_packages(copy) == {"triptych._planted", "triptych._planted_too"}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_break_a_contract_when_a_circle_is_planted(copy: Path, package: str) -> None:
    room = copy / PACKAGES[package]
    (room / "planted").mkdir()
    (room / "planted" / "__init__.py").touch()
    (room / "planted" / "inner.py").write_text(f"import {package}.planted_too\n")
    (room / "planted_too.py").write_text(f"import {package}.planted.inner\n")
    result = lint_imports(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "No import circle between siblings, modules or folders BROKEN" in result.stdout


@pytest.mark.parametrize("folder", [*LIMITED, Path("tests")], ids=str)
def test_modules_are_short(folder: Path) -> None:
    assert list(python_files(ROOT / folder))
    assert long_modules(ROOT / folder) == []


@pytest.mark.parametrize("folder", LIMITED, ids=str)
def test_functions_are_short(folder: Path) -> None:
    assert long_functions(ROOT / folder) == []


@pytest.mark.parametrize("folder", LIMITED, ids=str)
def test_folders_are_small(folder: Path) -> None:
    assert large_folders(ROOT / folder) == []


@pytest.mark.parametrize(
    "place",
    ["docs", "docs/generation", "model_repository/models/index/1", "helm/triptych/files", "client/examples", "ops"],
)
def test_limits_are_noticed_when_a_violation_is_planted(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    for number in range(LARGEST_FOLDER + 1):
        (tmp_path / place / f"planted_{number}.py").write_text("def planted():\n" + "    x = 0\n" * LONGEST_MODULE)
    for check in (long_modules, long_functions, large_folders):
        assert [each for folder in LIMITED for each in check(tmp_path / folder)], check.__name__


def test_limits_are_noticed_when_they_are_passed(tmp_path: Path) -> None:
    body = "\n".join(f"    x = {line}" for line in range(LONGEST_FUNCTION))
    (tmp_path / "fits.py").write_text(f'def fits() -> None:\n    """Says."""\n{body}\n' + "\n" * 10)
    (tmp_path / "long.py").write_text(f"def long() -> None:\n{body}\n    x = 0\n" + "\n" * LONGEST_MODULE)
    for number in range(LARGEST_FOLDER - 1):
        (tmp_path / f"module_{number}.py").touch()
    assert long_functions(tmp_path) == ["long.py: long"]
    assert long_modules(tmp_path) == [f"long.py: {LONGEST_FUNCTION + LONGEST_MODULE + 2}"]
    assert large_folders(tmp_path) == [f".: {LARGEST_FOLDER + 1}"]


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [(Path("model_repository/models"), allowed_in_shim), (Path("client/examples"), allowed_in_example)],
    ids=["shims", "examples"],
)
def test_scripts_import_only_what_is_allowed(folder: Path, allowed: Callable[[str], bool]) -> None:
    assert list(python_files(ROOT / folder))
    assert forbidden_imports(ROOT / folder, allowed) == []


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("import export.graphs", "export.graphs"),
        ("from triptych import Client", "triptych.Client"),
        ("import os, numpy", "numpy"),
        ("from . import sibling", "..sibling"),
    ],
)
def test_shim_is_noticed_when_it_imports_another_room(tmp_path: Path, statement: str, name: str) -> None:
    shutil.copytree(ROOT / "model_repository/models/index/1", tmp_path / "1", ignore=shutil.ignore_patterns("__py*"))
    text = f"import json\nimport triton_python_backend_utils as pb_utils\ntry:\n    {statement}\nfinally:\n    pass\n"
    (tmp_path / "1/planted.py").write_text(text)
    assert forbidden_imports(tmp_path, allowed_in_shim) == [f"1/planted.py: {name}"]


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("import triptych._core", "triptych._core"),
        ("from triptych import _runtime", "triptych._runtime"),
        ("from triptych._transport import connection", "triptych._transport.connection"),
        ("from triptych.catalogue.importing import Journal", "triptych.catalogue.importing.Journal"),
        ("from triptych.client import Client", "triptych.client.Client"),
        ("import triptych_models", "triptych_models"),
        ("import numpy", "numpy"),
    ],
)
def test_example_is_noticed_when_it_imports_private_names(tmp_path: Path, statement: str, name: str) -> None:
    shutil.copytree(ROOT / "client/examples", tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__py*"))
    allowed = "import triptych.testing\nfrom triptych import Client\nfrom triptych.admin import Admin\n"
    (tmp_path / "planted.py").write_text(f"{allowed}def read():\n    {statement}\n")
    assert forbidden_imports(tmp_path, allowed_in_example) == [f"planted.py: {name}"]
