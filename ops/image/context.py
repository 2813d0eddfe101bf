"""Lays out what `docker build` gets to see: the Dockerfile, the pinned packages, one release and nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from ops.errors import OpsError, WrongUsage
from ops.repository import check_layout

HERE = Path(__file__).parent
MANIFEST = "manifest.json"


def read_digest(release: Path) -> str:
    """`sha256:...` of the release, which is that of its manifest.

    Raises:
        WrongUsage: `release` is no release.
    """
    try:
        content = (release / MANIFEST).read_bytes()
        is_release = "release" in json.loads(content)
    except (OSError, ValueError):
        is_release = False
    if not is_release:
        raise WrongUsage(f"{release} is no release. Name a folder that `python -m export release` made.")
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def lay_out(release: Path, context: Path) -> None:
    """Empties `context` and fills it.

    Raises:
        WrongUsage: `release` is no release.
        OpsError: it is of an earlier version, a file of it is not what its manifest says, or `context` holds something
            else.
    """
    read_digest(release)
    check_layout(release)
    _empty(context)
    for name in ("Dockerfile", "requirements.txt"):
        shutil.copyfile(HERE / name, context / name)
    manifest: dict[str, Any] = json.loads((release / MANIFEST).read_text(encoding="utf-8"))
    for name, expected in manifest["files"].items():
        content = _read(release / name)
        if hashlib.sha256(content).hexdigest() != expected:
            raise OpsError(f"{release / name} is not what {MANIFEST} says. Make or fetch the release again.")
        _write(context / "release" / name, content)
    _write(context / "release" / MANIFEST, (release / MANIFEST).read_bytes())


def _empty(context: Path) -> None:
    if context.exists() and not (context / "Dockerfile").is_file() and any(context.iterdir()):
        raise OpsError(f"{context} holds something else than an image's files. Name another folder with --context.")
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise OpsError(f"Cannot read {file} ({error.strerror}). Make or fetch the release again.") from error


def _write(file: Path, content: bytes) -> None:
    """Readable by the image's user, whoever that is."""
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(0o644)
