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

MANIFEST, SIGNATURE = "manifest.json", "model.sig"
ENTRY_POINTS, VERIFY = "triptych.releases", "verify"
DIGITS = 12
FAULTS_SHOWN = 3


@dataclass(frozen=True)
class Policy:
    """Which releases may be served, beyond being whole.

    Attributes:
        key: file of the public key that what is served must be signed with, so that only a release is; None checks no
            signature.
        require_signature: whether a start without `key` is refused.
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
    """Returns None for a model repository that is not a release, and for a damaged release: see `find_damage`."""
    try:
        content = (repository / MANIFEST).read_bytes()
        manifest: dict[str, Any] = json.loads(content)
        digest = hashlib.sha256(content).hexdigest()
        name = f"{manifest['release']['name']}-{digest[:DIGITS]}"
        files, golden = manifest["files"], manifest["golden"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    is_known = isinstance(files, dict) and isinstance(golden, dict)
    return Release(repository.resolve(), digest, name, files, golden) if is_known else None


def find_damage(repository: Path) -> str | None:
    """Returns a sentence if a release, or what `triptych build` placed, is here without a manifest that says which."""
    file = repository / MANIFEST
    what: str | None = None
    try:
        content = file.read_bytes()
        manifest = json.loads(content)
        if not isinstance(manifest, dict):
            what = "has no JSON object"
        elif "release" in manifest and find_release(repository) is None:
            what = "is that of a release without a list of its files or its golden requests"
        elif "release" not in manifest and (repository / SIGNATURE).exists():
            what = f"is not that of a release, but there is a {SIGNATURE}"
    except FileNotFoundError:
        what = f"is missing, but there is a {SIGNATURE}" if (repository / SIGNATURE).exists() else None
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
    except (ValueError, RecursionError):
        what = f"has {len(content)} bytes that are not JSON"
    return None if what is None else f"{file} {what}."


def open_release(repository: Path, when_damaged: str) -> Release:
    """Returns the release after comparing each of its files with its manifest; other files may be there.

    Args:
        repository: the release, or a link to it.
        when_damaged: the last sentence of the error about a damaged release: what follows, or what to do.

    Raises:
        WrongUsage: the folder is not a release.
        OpsError: the release is of an earlier version, or a file is missing or changed.
    """
    release = _read_release(repository, when_damaged)
    _refuse_damaged(repository, [f"{fault}." for fault in find_faults(release.folder, release.files)], when_damaged)
    return release


def open_verified(repository: Path, when_damaged: str, policy: Policy) -> Release:
    """Returns the release after `triptych verify` has found no fault in it; arguments as `open_release`.

    Raises:
        WrongUsage: the folder is not a release, or there is no such key.
        OpsError: as for `open_release`; or the release is not signed with the policy's key.
    """
    _require_key(policy)
    release = _read_release(repository, when_damaged)
    _refuse_damaged(repository, verify(release.folder, None), when_damaged)
    faults = verify(release.folder, policy.key) if policy.key is not None else []
    if faults:  # of the signature, since the files are whole
        raise OpsError(f"{repository} is refused: {' '.join(faults[:FAULTS_SHOWN])}")
    return release


def _read_release(repository: Path, when_damaged: str) -> Release:
    damage = find_damage(repository)
    _refuse_damaged(repository, [damage] if damage else [], when_damaged)
    release = find_release(repository)
    if release is None:
        raise WrongUsage(
            f"{repository} is not a release: it has no manifest with digests and golden requests. Name a folder that "
            "`triptych release` made."
        )
    check_layout(repository)
    return release


def _refuse_damaged(repository: Path, faults: list[str], when_damaged: str) -> None:
    if faults:
        raise OpsError(f"{repository} is damaged: {' '.join(faults[:FAULTS_SHOWN])} {when_damaged}")


def _require_key(policy: Policy) -> None:
    """Raises:
    WrongUsage: there is no such file; whether it has a key is found out where the key is used.
    """
    if policy.key is not None and not policy.key.is_file():
        raise WrongUsage(f"The key file {policy.key} does not exist. Name the file of a public key (PEM) with --key.")


def check_served(repository: Path, policy: Policy) -> Release | None:
    """Refuses what `triptych verify` refuses; returns None for a model repository that is not a release.

    Raises:
        OpsError: see `open_verified`; or the manifest cannot be read; or the policy has a key, and this is no release.
    """
    if find_release(repository) is not None:
        return open_verified(repository, "Download or make the release again.", policy)
    damage = find_damage(repository)
    _refuse_damaged(
        repository,
        [damage] if damage else [],
        "Download or make the release again; place the models of a model repository again with `triptych build`.",
    )
    _require_key(policy)
    if policy.key is not None:
        raise OpsError(
            f"{repository} is not a release, so nobody can have signed it with {policy.key}. Make a release of it with "
            "`triptych release --sign KEY` and serve that, or serve it without --key."
        )
    return None


def find_changes(repository: Path) -> list[str]:
    """Returns a phrase for each file of a model repository that changed since `triptych build` verified it."""
    try:
        files: dict[str, str] = json.loads((repository / MANIFEST).read_text(encoding="utf-8"))["files"]
        return find_faults(repository, files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
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
