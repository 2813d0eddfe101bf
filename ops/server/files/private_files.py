"""Files that only this user can read, replaced as a whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

PRIVATE_FILE = 0o600


def write_private(file: Path, text: str) -> None:
    """Writes a file that only this user can read, atomically, so that a reader sees the old or the new content.

    A folder in its place is moved aside. A file that has the content is left as it is, which a full disk allows.

    Raises:
        OSError: it cannot be written; names the file.
    """
    with contextlib.suppress(OSError, ValueError):
        if file.read_text() == text and not file.stat().st_mode & 0o077:
            return
    staged = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        move_folder_aside(file)
        staged.unlink(missing_ok=True)
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        with os.fdopen(descriptor, "w") as content:
            content.write(text)
        staged.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(file)) from error


def overwrite(file: Path, text: str) -> None:
    """Writes into the room that a file has already, for a full disk; the content is followed by blanks.

    Raises:
        OSError: there is no such file, or it has no room; names the file.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY)
        try:
            content = text.encode()
            os.pwrite(descriptor, content.ljust(os.fstat(descriptor).st_size), 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


def move_folder_aside(file: Path) -> None:
    """Renames a folder that stands in the place of a file."""
    if file.is_dir() and not file.is_symlink():
        file.rename(file.with_name(f"{file.name}.moved-{secrets.token_hex(4)}"))


def make_private(path: Path) -> None:
    """Takes every right of other users from a file, or a folder and its content; links are left as they are."""
    for one in (path, *path.rglob("*")):
        with contextlib.suppress(OSError):  # removed meanwhile, or of another user
            mode = one.lstat().st_mode
            if mode & 0o077 and not one.is_symlink():
                one.chmod(mode & 0o700)
