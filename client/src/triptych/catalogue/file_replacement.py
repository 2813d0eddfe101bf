"""Files that are written whole or not at all, also when the process is killed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def replace_files(paths: tuple[str, ...], mode: int = 0o666) -> Iterator[list[BinaryIO]]:
    """Opens drafts that replace the files at `paths` together, once all drafts are on the disk.

    The last of `paths` is removed before the others are replaced: it is never beside files of another run. `mode` is
    that of the files, less the umask.
    """

    def opener(path: str, flags: int) -> int:
        with contextlib.suppress(FileNotFoundError):  # left by a killed process, with another mode
            os.remove(path)
        return os.open(path, flags, mode)

    drafts = [f"{path}.tmp" for path in paths]
    try:
        with contextlib.ExitStack() as stack:
            files: list[BinaryIO] = [stack.enter_context(open(draft, "wb", opener=opener)) for draft in drafts]
            yield files
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        if len(paths) > 1:
            with contextlib.suppress(FileNotFoundError):
                os.remove(paths[-1])
        for draft, path in zip(drafts, paths, strict=True):
            os.replace(draft, path)
    finally:
        for draft in drafts:
            with contextlib.suppress(FileNotFoundError):
                os.remove(draft)
