"""Publishes, rolls back and prunes the releases of a target: a place that servers read, with one `current` release."""

from __future__ import annotations

from pathlib import Path

from export.errors import ReleaseError, WrongUsage
from export.release.folder import DIGITS, read_release, require_whole
from export.release.targets import Target, open_target


def publish(folder: Path, address: str) -> tuple[str | None, str]:
    """Copies a release to the target and makes it current; returns the previous and the current release.

    Raises:
        ExportError: the release is not complete, or the target cannot be written; the target is unchanged.
    """
    release = read_release(folder)
    require_whole(release)
    target = open_target(address)
    with target.locked(create=True):
        before = target.current()
        target.add(release)
        target.point_to(release.name)
    return before, release.name


def roll_back(address: str, wanted: str | None, key: Path | None = None) -> tuple[str | None, str]:
    """Makes an earlier release current; returns the previous and the current release.

    `wanted` is a name or a digest; None is the release published before the current one. `key` is the public key that
    the release must be signed with; None checks no signature.

    Raises:
        ExportError: the target has no such release, or the release is not complete; the target is unchanged.
    """
    target = open_target(address)
    with target.locked(create=False):
        before = target.current()
        name = _find_release(target, before, wanted)
        target.require_verified(name, key)
        target.point_to(name)
    return before, name


def _find_release(target: Target, current: str | None, wanted: str | None) -> str:
    names = target.names()
    available = f"Releases there: {', '.join(names) or 'none'}."
    if wanted is None:
        older = names[names.index(current) + 1 :] if current in names else []
        if not older:
            raise ReleaseError(f"Nothing was published before {current or 'the first release'}. {available}")
        return older[0]
    digits = wanted.removeprefix("sha256:")[:DIGITS]
    found = [name for name in names if name == wanted or (digits and name.rpartition("-")[2].startswith(digits))]
    if len(found) != 1:
        raise WrongUsage(f"{wanted!r} names {len(found)} releases, expected one. {available}")
    return found[0]


def prune(address: str, keep: int) -> tuple[list[str], int, str | None]:
    """Removes all but the `keep` newest releases and the current one.

    Returns:
        The removed releases, the number of releases that are left, and the current release.

    Raises:
        ExportError: a release cannot be removed.
    """
    target = open_target(address)
    with target.locked(create=False):
        current, names = target.current(), target.names()
        removed = [name for name in names[keep:] if name != current]
        for name in removed:
            target.remove(name)
    return removed, len(names) - len(removed), current
