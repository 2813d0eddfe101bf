"""The one verification of a release, for `verify`, `rollback`, `serve` and `reload`. Must not import torch or ONNX.

`ops` calls `verify` through the entry point `verify` of the group `triptych.releases` (pyproject.toml), because rooms
do not import each other.
"""

from __future__ import annotations

from pathlib import Path

from export.errors import ExportError, ReleaseError
from export.release.folder import Release, find_faults, read_release, require_whole


def verify(folder: Path, key: Path | None) -> list[str]:
    """A sentence for each fault of a release and, with a key, of its signature; a folder that is no release is one."""
    try:
        return find_release_faults(read_release(folder), key)
    except ExportError as error:
        return [str(error)]


def find_release_faults(release: Release, key: Path | None) -> list[str]:
    """A sentence for each difference from the manifest and, with a key, for a signature that is missing or another's.

    Raises:
        WrongUsage: the key cannot be read, or the library for signatures is not installed.
    """
    faults = find_faults(release)
    fault = _find_signature_fault(release, key)
    return [*faults, *([fault] if fault else [])]


def _find_signature_fault(release: Release, key: Path | None) -> str | None:
    if key is None:
        return None
    from export.release.signing import find_signature_fault

    return find_signature_fault(release, key)


def require_verified(release: Release, key: Path | None) -> None:
    """Raises:
    ReleaseError: the release has a fault.
    WrongUsage: see `find_release_faults`.
    """
    require_whole(release)
    fault = _find_signature_fault(release, key)
    if fault:
        raise ReleaseError(f"{release.folder} is refused: {fault}")
