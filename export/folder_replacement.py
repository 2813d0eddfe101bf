"""Replaces a folder as a whole: a process killed at any moment leaves the old folder or the new one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from export.repository.manifest import sync_folder, write_durably


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes `files` (path inside the folder -> content) in place of the folder and its content.

    Raises:
        OSError: the folder cannot be written; it is unchanged.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    old = staging.with_name(f"{staging.name}-old")
    try:
        staging.chmod(0o755)
        for name, content in files.items():
            write_durably(staging / name, content)
        if folder.exists():
            folder.rename(old)
        try:
            staging.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def restore_folder(folder: Path, marker: str) -> None:
    """Restores the old folder, which contains the file `marker`, after a kill between the two renames."""
    if folder.exists():
        return
    for old in folder.parent.glob(f".{folder.name}-*-old"):
        if (old / marker).is_file():
            old.rename(folder)
            return
