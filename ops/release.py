"""Reads a release from its folder: digest, golden requests, and whether it may be served.

The verification itself is that of `triptych verify`. Rooms do not import each other, so the room that makes releases
registers it as the entry point `verify` of the group `triptych.releases`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ops.errors import OpsError, WrongUsage
from ops.repository import check_layout

MANIFEST = "manifest.json"
ENTRY_POINTS, VERIFY = "triptych.releases", "verify"
DIGITS = 12
FAULTS_SHOWN = 3


@dataclass(frozen=True)
class Policy:
    """Which releases may be served, beyond being whole.

    Attributes:
        key: file of the public key that a release must be signed with; None checks no signature.
        require_signature: whether a model repository that is not a release, which nobody can sign, is refused.
    """

    key: Path | None = None
    require_signature: bool = False

    def __post_init__(self) -> None:
        if self.require_signature and self.key is None:
            raise WrongUsage("--require-signature needs the public key that releases are signed with: --key PUB.")


ANY = Policy()


@dataclass(frozen=True)
class Release:
    """A release on this machine.

    Attributes:
        folder: resolved, so a link to the release may change later.
        digest: SHA-256 of its manifest, hex.
        files: SHA-256 of each file, hex, by its name in the folder.
        golden: the requests and expected answers of its manifest.
    """

    folder: Path
    digest: str
    name: str
    files: dict[str, str]
    golden: dict[str, Any]


def find_release(repository: Path) -> Release | None:
    """Returns None for a model repository that is not a release."""
    try:
        content = (repository / MANIFEST).read_bytes()
        manifest: dict[str, Any] = json.loads(content)
        digest = hashlib.sha256(content).hexdigest()
        name = f"{manifest['release']['name']}-{digest[:DIGITS]}"
        return Release(repository.resolve(), digest, name, manifest["files"], manifest["golden"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def open_release(repository: Path, when_damaged: str) -> Release:
    """Returns the release after comparing each of its files with its manifest; other files may be there.

    Args:
        repository: the release, or a link to it.
        when_damaged: the last sentence of the error about a damaged release: what follows, or what to do.

    Raises:
        WrongUsage: the folder is not a release.
        OpsError: the release is of an earlier version, or a file is missing or changed.
    """
    release = _read_release(repository)
    _refuse(repository, [f"{fault}." for fault in find_faults(release.folder, release.files)], when_damaged)
    return release


def open_verified(repository: Path, when_damaged: str, policy: Policy) -> Release:
    """Returns the release after `triptych verify` has found no fault in it; arguments and errors as `open_release`."""
    release = _read_release(repository)
    _refuse(repository, verify(release.folder, policy.key), when_damaged)
    return release


def _read_release(repository: Path) -> Release:
    release = find_release(repository)
    if release is None:
        raise WrongUsage(
            f"{repository} is not a release: it has no manifest with digests and golden requests. Name a folder that "
            "`triptych release` made."
        )
    check_layout(repository)
    return release


def _refuse(repository: Path, faults: list[str], when_damaged: str) -> None:
    if faults:
        raise OpsError(f"{repository} is damaged: {' '.join(faults[:FAULTS_SHOWN])} {when_damaged}")


def check_served(repository: Path, policy: Policy) -> Release | None:
    """Refuses what `triptych verify` refuses; returns None for a model repository that is not a release.

    Raises:
        OpsError: see `open_verified`; or the policy refuses a model repository.
    """
    if find_release(repository) is not None:
        return open_verified(repository, "Download or make the release again.", policy)
    if policy.require_signature:
        raise OpsError(
            f"{repository} is not a release, so nobody signed it, and --require-signature refuses it. Make a release "
            "of it with `triptych release --sign KEY`."
        )
    return None


def find_changes(repository: Path) -> list[str]:
    """Returns a phrase for each file of a model repository that changed since `triptych build` verified it."""
    try:
        files: dict[str, str] = json.loads((repository / MANIFEST).read_text(encoding="utf-8"))["files"]
        return find_faults(repository, files)
    except (OSError, ValueError, KeyError, TypeError):
        return []


def verify(folder: Path, key: Path | None) -> list[str]:
    """Returns what `triptych verify` would print: a sentence for each fault of a release, or of its signature.

    Raises:
        OpsError: the room that makes releases is not installed.
    """
    found = [one for one in entry_points(group=ENTRY_POINTS) if one.name == VERIFY]
    if not found:
        raise OpsError("The verification of releases is not installed. Run `make setup`.")
    faults: list[str] = found[0].load()(folder, key)
    return faults


def find_faults(folder: Path, files: dict[str, str]) -> list[str]:
    """Returns a phrase for each file that is missing or whose SHA-256 differs, given digests by file name."""
    faults = []
    for name, expected in files.items():
        try:
            with (folder / name).open("rb") as file:
                digest = hashlib.sha256()
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        except OSError:
            faults.append(f"{name} is missing")
            continue
        if digest.hexdigest() != expected:
            faults.append(f"{name} was changed")
    return faults
