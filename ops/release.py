"""Reads a release from its folder: digest, golden requests, and whether its files match its manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.errors import OpsError, WrongUsage

MANIFEST = "manifest.json"
DIGITS = 12
FAULTS_SHOWN = 3


@dataclass(frozen=True)
class Release:
    """A release on this machine.

    Attributes:
        folder: resolved, so a link to the release may change later.
        digest: SHA-256 of its manifest, hex.
        golden: the requests and expected answers of its manifest.
    """

    folder: Path
    digest: str
    name: str
    golden: dict[str, Any]


def find_release(repository: Path) -> Release | None:
    """Returns None for a model repository that is not a release."""
    try:
        content = (repository / MANIFEST).read_bytes()
        manifest: dict[str, Any] = json.loads(content)
        digest = hashlib.sha256(content).hexdigest()
        name = f"{manifest['release']['name']}-{digest[:DIGITS]}"
        return Release(repository.resolve(), digest, name, manifest["golden"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def open_release(repository: Path) -> Release:
    """Returns the release after comparing each of its files with its manifest.

    Raises:
        WrongUsage: the folder is not a release.
        OpsError: a file is missing or changed.
    """
    release = find_release(repository)
    if release is None:
        raise WrongUsage(
            f"{repository} is not a release, so it has no golden requests to check. "
            "Make a release with `triptych release`."
        )
    faults = find_faults(release.folder, json.loads((release.folder / MANIFEST).read_bytes())["files"])
    if faults:
        raise OpsError(f"{repository} is damaged: {', '.join(faults)}. The server keeps serving the old release.")
    return release


def find_faults(folder: Path, files: dict[str, str]) -> list[str]:
    """Returns a phrase for the first files that are missing or whose SHA-256 differs, given digests by file name."""
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
    return faults[:FAULTS_SHOWN]
