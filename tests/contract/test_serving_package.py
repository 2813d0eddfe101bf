"""The serving package is imported as any other, everywhere; it knows Triton in one folder alone and no other room.

Each rule is a function over a folder that returns what breaks it; each is tried on a folder that does.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from export.repository.layout import PACKAGE

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = ROOT / "model_repository"

PLACES = ("model_repository", "client", "ops", "export", "loadtest", "tests", "helm", "docs", "Makefile")
TEXTS = (".py", ".pth", ".sh", ".md", ".yaml", ".yml", ".toml", ".tpl")
NAMES = ("Makefile", "Dockerfile")

# In words that do not break the rule themselves.
BY_PATH = re.compile(
    r"sys\.path\s*(?:\.\s*(?:insert|append|extend|remove|pop|clear|reverse)\b|\[[^]]*\]\s*=[^=]|\+?=[^=])"
    r"|\bspec_from_file_locatio[n]\b|\bexec_modul[e]\b|\brun_pat[h]\b|\bSource(?:less)?FileLoade[r]\b|\baddsitedi[r]\b"
)

SHIM_LINES = 10
TRITON = "triton_python_backend_utils"
OTHER_ROOMS = {"export", "ops", "loadtest", "triptych", "client", "tests"}


def texts_of(root: Path, places: Iterable[str]) -> Iterator[Path]:
    for place in places:
        for path in [root / place, *sorted((root / place).rglob("*"))]:
            is_hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(root).parts)
            if path.is_file() and not is_hidden and (path.suffix in TEXTS or path.name in NAMES):
                yield path


def lines_with(root: Path, places: Iterable[str], wanted: re.Pattern[str], suffix: str = "") -> list[str]:
    """`file:line: text` of each line that matches."""
    return [
        f"{path.relative_to(root)}:{number}: {line.strip()}"
        for path in texts_of(root, places)
        if path.name.endswith(suffix)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if wanted.search(line)
    ]


def links_below(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_symlink()]


def long_shims(repository: Path) -> list[str]:
    shims = sorted(repository.glob("models/*/1/*.py"))
    return [str(shim.relative_to(repository)) for shim in shims if len(shim.read_text().splitlines()) > SHIM_LINES]


def imported_by(module: Path) -> set[str]:
    """Top-level names of the absolute imports in a module, those inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def importers_of(folder: Path, names: set[str]) -> list[str]:
    """Modules below a folder that import one of the names."""
    modules = [path for path in sorted(folder.rglob("*.py")) if imported_by(path) & names]
    return [path.relative_to(folder).as_posix() for path in modules]


def importable_modules(repository: Path) -> list[str]:
    """Names of all but those that need Triton or torch."""
    names = []
    for path in sorted((repository / PACKAGE).rglob("*.py")):
        parts = path.relative_to(repository).with_suffix("").parts
        needs_more = parts[1:] in {("triton", "adapter"), ("triton", "publisher")} or parts[-1].startswith("torch_")
        if not needs_more and parts[-1] != "__main__":
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


IMPORT_ALL = f"""
import importlib, sys
for name in sys.argv[2:]:
    file = importlib.import_module(name).__file__
    assert file.startswith(sys.argv[1]), (name, file)
heavy = {{"torch", "{TRITON}", *{sorted(OTHER_ROOMS)}}} & set(sys.modules)
assert not heavy, heavy
"""


def fault_when_imported(repository: Path, cwd: Path) -> str:
    """What a fresh interpreter says when it imports the package from the repository; empty when all is well."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-B", "-c", IMPORT_ALL, str(repository), *importable_modules(repository)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.stderr if done.returncode else ""


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_project_edits_no_module_path_and_loads_no_module_by_path() -> None:
    offenders = lines_with(ROOT, PLACES, BY_PATH)
    assert offenders == [], "\n".join(offenders)


def test_rooms_do_not_even_name_the_module_path() -> None:
    rooms = ("model_repository", "export", "ops", "client", "loadtest")
    offenders = lines_with(ROOT, rooms, re.compile("sys.path"), suffix=".py")
    assert offenders == [], "\n".join(offenders)


PATH = "sys" + ".path"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ops/a.py", f"{PATH}.insert(0, 'x')"),
        ("tests/unit/a.py", f"{PATH}[:0] = ['x']"),
        ("loadtest/a.py", f"{PATH} += ['x']"),
        ("ops/packaging/image/a.pth", f"import sys; {PATH}.append('x')"),
        ("export/a.py", "importlib.util.spec_from_file_" + "location('a', 'b')"),
        ("client/a.py", "    specification.loader.exec_" + "module(module)"),
        ("helm/triptych/files/a.py", "runpy.run_" + "path('a.py')"),
        ("docs/guide.md", "from importlib.machinery import Source" + "FileLoader"),
        ("Makefile", f"python -c 'import sys; {PATH}.append(1)'"),
        ("ops/packaging/image/Dockerfile", f'RUN python -c "import sys; {PATH} = []"'),
    ],
)
def test_module_loaded_by_path_is_found(name: str, text: str, tmp_path: Path) -> None:
    write(tmp_path, name, f"first\n{text}\n")
    assert lines_with(tmp_path, PLACES, BY_PATH) == [f"{name}:2: {text.strip()}"]


def test_reading_the_module_path_is_no_edit(tmp_path: Path) -> None:
    write(tmp_path, "tests/a.py", f"assert 'x' not in {PATH}\nassert {PATH} == before\nfirst = {PATH}[0]\n")
    assert lines_with(tmp_path, PLACES, BY_PATH) == []


def test_repository_has_no_links(tmp_path: Path) -> None:
    assert links_below(REPOSITORY) == []
    write(tmp_path, "models/embedder/1/model.py", "")
    (tmp_path / "models/classifier").symlink_to("embedder")
    (tmp_path / "models/embedder/1/torch_model.py").symlink_to("model.py")
    assert links_below(tmp_path) == ["models/classifier", "models/embedder/1/torch_model.py"]


def test_shims_are_short(tmp_path: Path) -> None:
    assert len(list(REPOSITORY.glob("models/*/1/*.py"))) >= 7
    assert long_shims(REPOSITORY) == []
    write(tmp_path, "models/a/1/model.py", "x = 1\n" * SHIM_LINES)
    write(tmp_path, "models/b/1/torch_model.py", "x = 1\n" * (SHIM_LINES + 1))
    assert long_shims(tmp_path) == ["models/b/1/torch_model.py"]


def test_triton_is_imported_by_its_folder_alone(tmp_path: Path) -> None:
    importers = importers_of(REPOSITORY, {TRITON})
    assert f"{PACKAGE}/triton/adapter.py" in importers
    assert [name for name in importers if not name.startswith(f"{PACKAGE}/triton/")] == []
    write(tmp_path, "search/model.py", f"def answer():\n    import {TRITON} as utils\n")
    write(tmp_path, "search/query.py", "import json\n")
    assert importers_of(tmp_path, {TRITON}) == ["search/model.py"]


def test_package_imports_no_other_room(tmp_path: Path) -> None:
    assert importers_of(REPOSITORY, OTHER_ROOMS) == []
    write(tmp_path, "a.py", "from export.repository.labels import SEPARATOR\n")
    write(tmp_path, "b.py", "from triptych import Client\n")
    write(tmp_path, "c.py", "from triptych_models.export import x\nfrom .ops import y\n")
    assert importers_of(tmp_path, OTHER_ROOMS) == ["a.py", "b.py"]


def test_package_is_imported_by_what_must_compute_the_same_alone() -> None:
    """`export` and `loadtest` decode with the code that serves; to others the package is files."""
    for room in ("ops", "client", "helm"):
        assert importers_of(ROOT / room, {PACKAGE}) == []
    assert importers_of(ROOT / "export", {PACKAGE}) != []


def test_package_is_imported_in_a_fresh_interpreter_without_triton_and_torch(tmp_path: Path) -> None:
    assert f"{PACKAGE}.recognition.preprocessing" in importable_modules(REPOSITORY)
    assert fault_when_imported(REPOSITORY, tmp_path) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"import {TRITON}", f"No module named '{TRITON}'"),
        ("import errors", "No module named 'errors'"),
        ("import torch", "AssertionError: {'torch'}"),
        ("import triptych", "AssertionError: {'triptych'}"),
    ],
)
def test_module_that_cannot_be_imported_alone_is_found(text: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, f"{PACKAGE}/__init__.py", "")
    write(tmp_path, f"{PACKAGE}/triton/adapter.py", f"import {TRITON}")
    assert fault_when_imported(tmp_path, tmp_path) == ""
    write(tmp_path, f"{PACKAGE}/search/model.py", text)
    assert said in fault_when_imported(tmp_path, tmp_path)
