"""Reads a release before it is served: its digest, its golden requests, and whether its files are what it says."""

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
        folder: resolved, so a pointer to it may move on.
        digest: SHA-256 of its manifest, hex.
        golden: the requests and expected answers of its manifest.
    """

    folder: Path
    digest: str
    name: str
    golden: dict[str, Any]


def find_release(repository: Path) -> Release | None:
    """None for a model repository that is no release."""
    try:
        content = (repository / MANIFEST).read_bytes()
        manifest: dict[str, Any] = json.loads(content)
        digest = hashlib.sha256(content).hexdigest()
        name = f"{manifest['release']['name']}-{digest[:DIGITS]}"
        return Release(repository.resolve(), digest, name, manifest["golden"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def open_release(repository: Path) -> Release:
    """A release whose every file is as its manifest says.

    Raises:
        WrongUsage: no release is there.
        OpsError: it is damaged.
    """
    release = find_release(repository)
    if release is None:
        raise WrongUsage(
            f"{repository} is no release, so there are no golden answers to check it by. "
            "Make one with `python -m export release`."
        )
    manifest = json.loads((release.folder / MANIFEST).read_bytes())
    faults = []
    for name, expected in manifest["files"].items():
        try:
            with (release.folder / name).open("rb") as file:
                digest = hashlib.sha256()
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        except OSError:
            faults.append(f"{name} is missing")
            continue
        if digest.hexdigest() != expected:
            faults.append(f"{name} was changed")
    if faults:
        raise OpsError(f"{repository} is damaged: {', '.join(faults[:FAULTS_SHOWN])}. The old release goes on serving.")
    return release
