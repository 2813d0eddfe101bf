"""A repository's serving package is the one that commands decode with, or they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from export.errors import RepositoryError
from export.repository.serving_package import package_digest, package_files, require_same_package


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, content in package_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_package_files_are_sources_alone() -> None:
    names = set(package_files())
    assert {"triptych_models/__init__.py", "triptych_models/py.typed"} < names
    assert "triptych_models/recognition/preprocessing.py" in names
    assert {Path(name).suffix for name in names} == {".py", ".typed"}


def test_same_package_is_taken_when_byte_code_lies_beside_it(repository: Path) -> None:
    (repository / "triptych_models/__pycache__").mkdir()
    (repository / "triptych_models/__pycache__/errors.cpython-311.pyc").write_bytes(b"anything")
    require_same_package(repository)


def change(package: Path) -> None:
    (package / "errors.py").write_text("")


def remove(package: Path) -> None:
    (package / "errors.py").unlink()


def add(package: Path) -> None:
    (package / "extra.py").write_text("")


def remove_all(package: Path) -> None:
    package.rename(package.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (change, r"errors\.py differs"),
        (remove, r"errors\.py is missing"),
        (add, r"extra\.py must be removed"),
        (remove_all, r"triptych_models is missing"),
    ],
)
def test_other_package_is_refused_with_what_differs_and_what_to_do(
    damage: Callable[[Path], None], what: str, repository: Path
) -> None:
    damage(repository / "triptych_models")
    with pytest.raises(RepositoryError, match=rf"{what}.*Run `triptych build --repository {repository}` again"):
        require_same_package(repository)


def test_digest_is_of_names_and_contents(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    digest = package_digest()
    package = repository / "triptych_models"
    monkeypatch.setattr("export.repository.serving_package.IMPORTED", package)
    assert package_digest() == digest
    (package / "errors.py").rename(package / "faults.py")
    renamed = package_digest()
    (package / "faults.py").write_text("")
    assert len({digest, renamed, package_digest()}) == 3
