"""Reads a release from its folder: digest, golden requests, and whether its files match its manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.errors import OpsError, WrongUsage
from ops.repository import check_layout

MANIFEST = "manifest.json"
DIGITS = 12
FAULTS_SHOWN = 3


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
    """Returns the release after comparing each of its files with its manifest.

    Args:
        repository: the release, or a link to it.
        when_damaged: the last sentence of the error about a damaged release: what follows, or what to do.

    Raises:
        WrongUsage: the folder is not a release.
        OpsError: the release is of an earlier version, or a file is missing or changed.
    """
    release = find_release(repository)
    if release is None:
        raise WrongUsage(
            f"{repository} is not a release: it has no manifest with digests and golden requests. Name a folder that "
            "`triptych release` made."
        )
    check_layout(repository)
    faults = find_faults(release.folder, release.files)
    if faults:
        raise OpsError(f"{repository} is damaged: {', '.join(faults[:FAULTS_SHOWN])}. {when_damaged}")
    return release


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
