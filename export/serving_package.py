"""The serving package as files: what `place` writes into a repository, and whether a repository has the same.

Every command decodes photos with the package that it imports. Figures and answers are true of a repository only while
the package in it is the same, byte for byte.
"""

from __future__ import annotations

import json
from pathlib import Path

import triptych_models
from export.errors import RepositoryError
from export.layout import PACKAGE, list_files
from export.placement import sha256

# What this process imports.
IMPORTED = Path(triptych_models.__file__).resolve().parent


def package_files() -> dict[str, bytes]:
    """Path inside a repository -> content, of the imported package."""
    return {f"{PACKAGE}/{name}": file.read_bytes() for name, file in list_files(IMPORTED)}


def package_digest() -> str:
    """SHA-256 over the names and contents of the imported package."""
    return sha256(json.dumps(_digests(IMPORTED)).encode())


def require_same_package(repository: Path) -> None:
    """Raises:
    RepositoryError: the package in `repository` is missing, or differs from the imported one; names the files.
    """
    folder = repository / PACKAGE
    found, expected = _digests(folder), _digests(IMPORTED)
    if found == expected:
        return
    if not found:
        what = "is missing"
    else:
        changed = [name for name in expected.keys() & found.keys() if expected[name] != found[name]]
        differences = [f"{name} differs" for name in sorted(changed)]
        differences += [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
        differences += [f"{name} must be removed" for name in sorted(found.keys() - expected.keys())]
        what = f"is not the package that decodes photos here, {IMPORTED} ({', '.join(differences[:3])})"
    raise RepositoryError(f"{folder} {what}. Run `python -m export place --repository {repository}` again.")


def _digests(package: Path) -> dict[str, str]:
    return {name: sha256(file.read_bytes()) for name, file in list_files(package)}
