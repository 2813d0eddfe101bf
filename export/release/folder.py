"""A release on disk: an immutable folder whose name ends in the first 12 hex digits of its digest.

The digest is the SHA-256 of `manifest.json`, which lists the SHA-256 of every other file. Must not import torch or
ONNX: `verify` and `publish` run on machines without them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.errors import ReleaseError, WrongUsage
from export.repository.manifest import MANIFEST, sha256, sync_folder

# Format 2 has the models in `models/` and the serving package beside them. Format 1, without `models/`, is refused.
FORMAT = 2
_EARLIER_FORMATS = (1,)
MODEL_CARD = "MODEL_CARD.md"
# Written after the digest is known, so the manifest cannot list it.
SIGNATURE = "model.sig"
DIGITS = 12
STAGING_PREFIX = ".staging-"

# A file or folder that every user may write, or a program that runs as its owner.
_UNSAFE_MODE = stat.S_IWOTH | stat.S_ISUID
# Made by the file system of a volume.
_HARMLESS = ("lost+found",)

_NAME = re.compile(rf"^[\w.-]+-[0-9a-f]{{{DIGITS}}}$", re.ASCII)
_PLAIN = re.compile(r"^[\w.-]+$", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Release:
    """One release on a disk.

    Attributes:
        digest: 64 hex digits, the SHA-256 of `manifest.json`.
        manifest: content of `manifest.json`.
    """

    folder: Path
    digest: str
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.manifest['release']['name']}-{self.digest[:DIGITS]}"

    @property
    def files(self) -> dict[str, str]:
        """Path inside the release -> SHA-256, for every file except the manifest and the signature."""
        files: dict[str, str] = self.manifest["files"]
        return files


def is_release_name(name: str) -> bool:
    return _NAME.match(name) is not None


def read_release(folder: Path) -> Release:
    """Reads the manifest; `find_faults` compares the other files with it.

    Raises:
        WrongUsage: the folder is not a release.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise WrongUsage(
            f"{folder} is not a release: cannot read its {MANIFEST} ({error.strerror}). "
            "Name a folder made by `triptych release`."
        ) from error
    return parse_manifest(folder, content)


def parse_manifest(folder: Path, content: bytes) -> Release:
    """Raises:
    WrongUsage: the content is not a manifest of a release.
    """
    try:
        manifest = json.loads(content)
        form = manifest["release"]["format"]
        names = [manifest["release"]["name"], *manifest["files"]]
        is_known = form == FORMAT and all(isinstance(name, str) for name in names)
        is_known = is_known and _PLAIN.match(manifest["release"]["name"]) is not None
        is_known = is_known and all(_SHA256.fullmatch(digest) for digest in manifest["files"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        form, is_known = None, False
    if form in _EARLIER_FORMATS:
        raise WrongUsage(
            f"{folder} is a release with an earlier layout (format {form}, expected {FORMAT}), without the code that "
            "it was verified with. Make it again with `triptych release`."
        )
    if not is_known:
        raise WrongUsage(
            f"{folder} is not a release: its {MANIFEST} does not have format {FORMAT}. "
            "Make a release of a model repository with `triptych release`."
        )
    unsafe = [name for name in manifest["files"] if Path(name).is_absolute() or ".." in Path(name).parts]
    if unsafe:
        raise ReleaseError(f"{folder}: the {MANIFEST} lists files outside the release: {', '.join(unsafe)}. Refused.")
    return Release(folder, sha256(content), manifest)


def find_faults(release: Release) -> list[str]:
    """One sentence per difference from the manifest; empty if the release is complete and unchanged."""
    found = {str(path.relative_to(release.folder)): path for path in sorted(release.folder.rglob("*"))}
    faults = [fault for name, path in found.items() for fault in _find_file_faults(release, name, path)]
    for name, expected in release.files.items():
        if name not in found:
            faults.append(f"{name} is missing.")
        elif not _is_plain(found[name]):
            faults.append(f"{name} is a folder, a pipe or a device, expected a file.")
        elif sha256_of(found[name]) != expected:
            faults.append(f"{name} was changed: it has another SHA-256 than in the {MANIFEST}.")
    if is_release_name(release.folder.name) and release.folder.name != release.name:
        faults.append(f"The folder is named {release.folder.name}, but its manifest gives the name {release.name}.")
    return faults


def _find_file_faults(release: Release, name: str, path: Path) -> Iterator[str]:
    """What is wrong with one entry besides its content."""
    is_folder = path.is_dir() and not path.is_symlink()
    if path.is_symlink():
        yield f"{name} is a link, expected a file."
    elif path.lstat().st_mode & _UNSAFE_MODE:
        yield f"{name} has mode {path.lstat().st_mode & 0o7777:04o}: every user may change it, or run it as its owner."
    if is_folder and name not in _HARMLESS and not any(path.iterdir()):
        yield f"{name} is an empty folder, which Triton may take for a version."
    if not is_folder and name not in {*release.files, MANIFEST, SIGNATURE}:
        yield f"{name} is not in the manifest."


def _is_plain(path: Path) -> bool:
    return stat.S_ISREG(path.stat().st_mode) if path.exists() else False


def require_whole(release: Release) -> None:
    """Raises:
    ReleaseError: the release differs from its manifest.
    """
    faults = find_faults(release)
    if faults:
        raise ReleaseError(
            f"{release.folder} is damaged: {' '.join(faults[:3])} Remove it, then download or make the release again."
        )


def sha256_of(file: Path) -> str:
    """Hex digest of a file of any size."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder in `parent`, removed at the end unless it was renamed."""
    parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=parent))
    try:
        yield staging
    finally:
        if staging.exists():
            remove_tree(staging)


def seal(folder: Path) -> None:
    """Flushes everything in the folder to disk and makes it read-only."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.chmod(0o444)
        else:
            sync_folder(path)
            path.chmod(0o555)
    sync_folder(folder)
    folder.chmod(0o555)


def remove_tree(folder: Path) -> None:
    """Removes a folder with its read-only content."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)
