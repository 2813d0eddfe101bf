"""Whether a command could write its result, asked before the work that makes it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from export.errors import RepositoryError


def require_writable(folder: Path, needed_bytes: int, option: str) -> None:
    """Checks a folder that a command will write to, and make with its parents if there is none. Makes nothing.

    Args:
        folder: where the result will be.
        needed_bytes: of the result, an estimate.
        option: names the folder on the command line, for the next step.

    Raises:
        RepositoryError: the folder cannot be made or written, or its disk has too little room.
    """
    folder = folder.absolute()
    existing = folder
    while not os.path.lexists(existing):
        existing = existing.parent
    below = "" if existing == folder else f", so {folder} cannot be made"
    fault = _find_fault(existing, folder)
    if fault is not None:
        raise RepositoryError(f"{existing} {fault}{below}. Nothing was changed. Choose another folder with {option}.")
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        raise RepositoryError(
            f"{existing} has {free_bytes / 1e6:,.0f} MB free, and the result needs some {needed_bytes / 1e6:,.0f} MB. "
            f"Nothing was changed. Free some space, or choose another folder with {option}."
        )


def _find_fault(existing: Path, folder: Path) -> str | None:
    if existing.is_symlink() and not existing.exists():
        return "is a link to something that does not exist"
    if not existing.is_dir():
        return "is a file; expected a folder"
    if not os.access(existing, os.W_OK | os.X_OK):
        return "cannot be written: permission denied, or a read-only file system"
    longest = max((len(os.fsencode(part)) for part in folder.parts[len(existing.parts) :]), default=0)
    limit = os.pathconf(existing, "PC_NAME_MAX")
    if longest > limit:
        return f"takes names of at most {limit} bytes, and one has {longest}"
    return None
