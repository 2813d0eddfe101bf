"""Releases small enough to publish a hundred times: one model, no weights."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from export.release.folder import FORMAT, Release, read_release, seal, sha256_of
from export.repository.manifest import MANIFEST

MakeRelease = Callable[..., Release]


def write_release(parent: Path, files: dict[str, bytes]) -> Release:
    """A sealed release of these files in `parent`, under its own name."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent))
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    manifest = {
        "release": {"format": FORMAT, "name": "small"},
        "golden": {},
        "files": {name: sha256_of(folder / name) for name in sorted(files)},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))
    release = read_release(folder)
    seal(folder)
    return read_release(folder.rename(parent / release.name))


@pytest.fixture
def make_release(tmp_path: Path) -> MakeRelease:
    """`make_release("old")`: a release that differs from others in that word; `size_bytes` fattens one of its files;
    `code` is its serving package.
    """

    def make(word: str, size_bytes: int = 0, code: bytes = b"") -> Release:
        config = b'name: "one"\nbackend: "python"\nmax_batch_size: 8\n'
        weights = word.encode() + bytes(size_bytes)
        files = {
            "models/one/config.pbtxt": config,
            "models/one/1/model.py": b"",
            "models/one/1/weights": weights,
            "triptych_models/__init__.py": code,
            "MODEL_CARD.md": b"# small\n",
        }
        return write_release(tmp_path / "releases", files)

    return make
