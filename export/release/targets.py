"""Targets that releases are published to: a folder (a volume, an NFS mount) or an object store.

    TARGET/releases/<name>-<12 digits>/   one complete release each
    TARGET/current                        the release to serve: a link in a folder, an object with the name in a store

`current` always names a complete release, even if a publisher is killed: a release gets its name after its last byte is
on disk, and `current` is replaced after that in one step.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from export.errors import ReleaseError, WrongUsage
from export.release.folder import (
    SIGNATURE,
    STAGING_PREFIX,
    Release,
    find_faults,
    is_release_name,
    parse_manifest,
    read_release,
    remove_tree,
    seal,
    sha256_of,
    staging_folder,
)
from export.release.verification import require_verified
from export.repository.manifest import MANIFEST, sha256, sync_folder

CURRENT = "current"
RELEASES = "releases"
_LOCK = ".lock"
_REMOVED_PREFIX = ".removed-"


def open_target(address: str) -> Target:
    """A folder, or an object store by its fsspec URL, such as `s3://bucket/models`.

    Raises:
        WrongUsage: the store is unknown, or its package is not installed.
    """
    if "://" not in address:
        return FolderTarget(Path(address))
    if address.startswith("file://"):
        raise WrongUsage(f"{address}: pass a folder as a plain path, without file://.")
    try:
        import fsspec

        filesystem, root = fsspec.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise WrongUsage(f"Cannot publish to {address}: {error}. For S3 install fsspec and s3fs.") from error
    return ObjectTarget(filesystem, root)


class FolderTarget:
    """A folder on one filesystem.

    `add` copies a release completely or not at all, and `point_to` takes one step.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._releases = folder / RELEASES

    @contextlib.contextmanager
    def locked(self, *, create: bool) -> Iterator[None]:
        """Excludes other publishers, and removes the leftovers of a killed one.

        Args:
            create: whether to make a target that does not exist.

        Raises:
            WrongUsage: there is no such target.
            ReleaseError: another publisher is active, or the folder cannot be written.
        """
        if not create and not self._releases.is_dir():
            raise WrongUsage(
                f"{self.folder} is not a target of releases: it has no folder {RELEASES}. Name the target that "
                "`triptych publish` made."
            )
        try:
            self._releases.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ReleaseError(f"Cannot write to {self.folder} ({error.strerror}). Nothing was changed.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._clear_abandoned()
            yield
        except BlockingIOError as error:
            raise ReleaseError(
                f"Another publisher is active in {self.folder}. Try again when it has finished."
            ) from error
        except OSError as error:
            raise ReleaseError(
                f"Cannot write to {self.folder} ({error.strerror}). The current release is unchanged."
            ) from error
        finally:
            os.close(lock)

    def names(self) -> list[str]:
        """The published releases, the latest first."""
        try:
            found = [path for path in self._releases.iterdir() if is_release_name(path.name)]
        except FileNotFoundError:
            return []
        return [path.name for path in sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)]

    def current(self) -> str | None:
        """The name of the release to serve."""
        try:
            return Path(os.readlink(self.folder / CURRENT)).name
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ReleaseError(
                f"{self.folder / CURRENT} is not a link; expected a link to a release. Move it away."
            ) from error

    def add(self, release: Release) -> None:
        """Copies a release; it becomes the latest even if it existed before."""
        folder = self._releases / release.name
        if folder.exists() and self._reuse_existing(folder, release):
            return
        self._require_space(release)
        with staging_folder(self._releases) as staging:
            for name in (*release.files, MANIFEST, SIGNATURE):
                if name != SIGNATURE or (release.folder / name).is_file():
                    (staging / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(release.folder / name, staging / name)
            _require_same(staging, release)
            seal(staging)
            staging.rename(folder)
        sync_folder(self._releases)

    def _reuse_existing(self, folder: Path, release: Release) -> bool:
        """Whether the same release exists and is complete; removes it if it is damaged and not current.

        A release that was published unsigned, or signed with another key, gets the signature of `release`.
        """
        if not _is_damaged(folder):
            if _has_other_signature(folder, release):
                self._put_signature(folder, release)
            os.utime(folder)
            return True
        if self.current() == release.name:
            raise ReleaseError(
                f"{folder} is the current release and is damaged. Point `current` to another release with `triptych "
                "rollback`, then publish again."
            )
        self.remove(release.name)
        return False

    def _put_signature(self, folder: Path, release: Release) -> None:
        """Replaces the signature in one step: at every moment there is the former one, or none, or this one."""
        with staging_folder(self._releases) as staging:
            staged = staging / SIGNATURE
            shutil.copyfile(release.folder / SIGNATURE, staged)
            with staged.open("rb") as content:
                os.fsync(content.fileno())
            staged.chmod(0o444)
            folder.chmod(0o755)
            try:
                os.replace(staged, folder / SIGNATURE)
                sync_folder(folder)
            finally:
                folder.chmod(0o555)

    def _require_space(self, release: Release) -> None:
        needed = sum((release.folder / name).stat().st_size for name in release.files)
        free = shutil.disk_usage(self._releases).free
        if needed > free:
            raise ReleaseError(
                f"{self.folder} has {free / 1e6:.1f} MB free, {release.name} needs {needed / 1e6:.1f} MB. Free some "
                "space, for example with `triptych prune`. Nothing was changed."
            )

    def require_verified(self, name: str, key: Path | None) -> None:
        """Raises:
        ReleaseError: `triptych verify` finds a fault.
        """
        require_verified(read_release(self._releases / name), key)

    def point_to(self, name: str) -> None:
        staged = self.folder / f".{CURRENT}-{os.getpid()}"
        staged.symlink_to(Path(RELEASES) / name)
        os.replace(staged, self.folder / CURRENT)
        sync_folder(self.folder)

    def remove(self, name: str) -> None:
        removed = self._releases / f"{_REMOVED_PREFIX}{name}"
        (self._releases / name).rename(removed)  # rename first: a partly removed release must not keep its name
        remove_tree(removed)

    def _clear_abandoned(self) -> None:
        for path in [*self._releases.glob(f"{STAGING_PREFIX}*"), *self._releases.glob(f"{_REMOVED_PREFIX}*")]:
            remove_tree(path)
        for path in self.folder.glob(f".{CURRENT}-*"):
            path.unlink()


def _require_same(staging: Path, release: Release) -> None:
    """Raises:
    ReleaseError: a copied file differs from the manifest.
    """
    for name, expected in release.files.items():
        if sha256_of(staging / name) != expected:
            raise ReleaseError(f"{release.folder / name} changed during the copy. Nothing was published.")


def _is_damaged(folder: Path) -> bool:
    try:
        return bool(find_faults(read_release(folder)))
    except (ReleaseError, WrongUsage):  # its manifest cannot be read
        return True


def _has_other_signature(folder: Path, release: Release) -> bool:
    ours, theirs = release.folder / SIGNATURE, folder / SIGNATURE
    return ours.is_file() and not (theirs.is_file() and theirs.read_bytes() == ours.read_bytes())


class ObjectTarget:
    """An object store through fsspec, which writes single objects atomically; the methods of `FolderTarget`.

    A release exists if its manifest exists; the manifest is written last and removed first.
    """

    def __init__(self, filesystem: Any, root: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    @contextlib.contextmanager
    def locked(self, *, create: bool) -> Iterator[None]:
        """Translates errors of the store; a store has no lock, so of two publishers the last one sets `current`.

        Raises:
            ReleaseError: the store refused a request, or cannot be reached.
        """
        try:
            yield
        except (ReleaseError, WrongUsage):
            raise
        except Exception as error:  # each store has its own error classes
            raise ReleaseError(
                f"Cannot write to {self._root} ({type(error).__name__}: {error}). The current release is unchanged."
            ) from error

    def names(self) -> list[str]:
        folder = f"{self._root}/{RELEASES}"
        self._filesystem.invalidate_cache()
        if not self._filesystem.exists(folder):
            return []
        names = [path.rstrip("/").rpartition("/")[2] for path in self._filesystem.ls(folder, detail=False)]
        published = {
            name: self._filesystem.modified(self._path(name, MANIFEST))
            for name in names
            if is_release_name(name) and self._filesystem.exists(self._path(name, MANIFEST))
        }
        return sorted(published, key=lambda name: published[name], reverse=True)

    def current(self) -> str | None:
        try:
            content: bytes = self._filesystem.cat_file(f"{self._root}/{CURRENT}")
        except FileNotFoundError:
            return None
        return content.decode().strip()

    def add(self, release: Release) -> None:
        for name in (*release.files, SIGNATURE, MANIFEST):
            file = release.folder / name
            if name == SIGNATURE and not file.is_file():
                continue
            self._filesystem.pipe_file(self._path(release.name, name), file.read_bytes())
        self._require_whole(release.name)

    def require_verified(self, name: str, key: Path | None) -> None:
        """Reads every object and compares it with the manifest; to check a signature, as files.

        Raises:
            ReleaseError: an object is missing or differs, or the signature is not valid.
        """
        self._require_whole(name)
        if key is not None:
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / name
                self._filesystem.get(f"{self._path(name, '').rstrip('/')}/", f"{copy}/", recursive=True)
                require_verified(read_release(copy), key)

    def _require_whole(self, name: str) -> None:
        folder = Path(self._root) / RELEASES / name
        try:
            release = parse_manifest(folder, self._filesystem.cat_file(self._path(name, MANIFEST)))
            contents = self._filesystem.cat([self._path(name, file) for file in release.files])
        except FileNotFoundError as error:
            raise ReleaseError(f"{folder} is not complete: {error} is missing. Publish it again.") from error
        digests = {path.removeprefix(self._path(name, "")).lstrip("/"): sha256(one) for path, one in contents.items()}
        changed = [file for file, digest in release.files.items() if digests.get(file) != digest]
        if changed or release.name != name:
            raise ReleaseError(f"{folder} is damaged: {', '.join(changed) or MANIFEST}. Publish it again.")

    def point_to(self, name: str) -> None:
        self._filesystem.pipe_file(f"{self._root}/{CURRENT}", f"{name}\n".encode())

    def remove(self, name: str) -> None:
        self._filesystem.rm_file(self._path(name, MANIFEST))
        self._filesystem.rm(f"{self._root}/{RELEASES}/{name}", recursive=True)

    def _path(self, name: str, file: str) -> str:
        return f"{self._root}/{RELEASES}/{name}/{file}"


Target: TypeAlias = FolderTarget | ObjectTarget
