"""The rooms of the code: who imports whom, and how large a module, a function and a folder may be."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Root package -> its folder in the repository.
PACKAGES = {
    "triptych": Path("client/src/triptych"),
    "triptych_models": Path("model_repository/triptych_models"),
    "export": Path("export"),
    "ops": Path("ops"),
    "loadtest": Path("loadtest"),
}
LONGEST_MODULE = 400
LONGEST_FUNCTION = 40
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
        ("export", "triptych", "In export, bulk embedding alone imports the client"),
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
    (copy / PACKAGES[module] / "planted.py").write_text(f"import {imported}\n")
    result = lint_imports(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{broken} BROKEN" in result.stdout


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


@pytest.mark.parametrize("folder", [*PACKAGES.values(), Path("tests"), Path("client"), Path("helm")])
def test_modules_are_short(folder: Path) -> None:
    assert long_modules(ROOT / folder) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_are_short(package: str) -> None:
    assert long_functions(ROOT / PACKAGES[package]) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_are_small(package: str) -> None:
    assert large_folders(ROOT / PACKAGES[package]) == []


def test_limits_are_noticed_when_they_are_passed(tmp_path: Path) -> None:
    body = "\n".join(f"    x = {line}" for line in range(LONGEST_FUNCTION))
    (tmp_path / "fits.py").write_text(f'def fits() -> None:\n    """Says."""\n{body}\n' + "\n" * 10)
    (tmp_path / "long.py").write_text(f"def long() -> None:\n{body}\n    x = 0\n" + "\n" * LONGEST_MODULE)
    for number in range(LARGEST_FOLDER - 1):
        (tmp_path / f"module_{number}.py").touch()
    assert long_functions(tmp_path) == ["long.py: long"]
    assert long_modules(tmp_path) == [f"long.py: {LONGEST_FUNCTION + LONGEST_MODULE + 2}"]
    assert large_folders(tmp_path) == [f".: {LARGEST_FOLDER + 1}"]
