"""Writes a set of files and their manifest into a model repository: all of them or none.

`place_files` deletes the manifest first and writes it last; each file is renamed from a staging folder on the same
filesystem. An existing `manifest.json` therefore lists complete files, even if the process was killed at any moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from export.errors import RepositoryError

MANIFEST = "manifest.json"


def sha256(content: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(content).hexdigest()


def read_manifest(repository: Path) -> dict[str, Any] | None:
    """The manifest; None if there is none, or if a listed file is missing or was changed."""
    try:
        manifest: dict[str, Any] = json.loads((repository / MANIFEST).read_text(encoding="utf-8"))
        intact = all(sha256((repository / name).read_bytes()) == digest for name, digest in manifest["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return manifest if intact else None


def place_files(repository: Path, files: dict[str, bytes], facts: dict[str, Any]) -> None:
    """Writes `files` (path inside the repository -> content), then a manifest of `facts` and their digests.

    Files that only the previous manifest lists are removed, with folders that become empty.

    Raises:
        RepositoryError: the repository cannot be written.
    """
    manifest = {**facts, "files": {name: sha256(content) for name, content in sorted(files.items())}}
    staged = {**files, MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode()}
    leftovers = _listed(repository) - manifest["files"].keys()
    try:
        staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=repository))
    except OSError as error:
        raise RepositoryError(f"Cannot write to {repository} ({error.strerror}). Nothing was changed.") from error
    try:
        for name, content in staged.items():
            write_durably(staging / name, content)
        (repository / MANIFEST).unlink(missing_ok=True)
        for name in staged:  # the manifest is last
            target = repository / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / name, target)
            sync_folder(target.parent)
        for name in leftovers:
            (repository / name).unlink(missing_ok=True)
            _remove_empty_folders(repository, name)
    except OSError as error:
        raise RepositoryError(f"Cannot write to {repository} ({error.strerror}). Run the command again.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _remove_empty_folders(repository: Path, name: str) -> None:
    """Removes the empty parent folders of a removed file: Triton refuses a folder without a config."""
    for folder in list((repository / name).parents)[: len(Path(name).parents) - 1]:
        try:
            folder.rmdir()
        except OSError:  # not empty, or already removed
            return


def _listed(repository: Path) -> set[str]:
    try:
        return set(json.loads((repository / MANIFEST).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def write_durably(path: Path, content: bytes) -> None:
    """Writes a file and flushes it to disk; creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes the entries of a folder durable across a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
