"""Placing is whole or absent, whenever it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from export.errors import RepositoryError
from export.repository.manifest import place_files, read_manifest

FILES = {"embedder/1/model.onnx": b"weights", "classifier/labels.txt": b"tench\n"}


def test_place_files_writes_all_with_a_manifest(tmp_path: Path) -> None:
    place_files(tmp_path, FILES, {"backbone": "b"})
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == FILES
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert manifest["backbone"] == "b"
    assert set(manifest["files"]) == set(FILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classifier", "embedder", "manifest.json"]


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_read_manifest_is_none_when_a_file_was(tmp_path: Path, damage: str) -> None:
    place_files(tmp_path, FILES, {})
    target = tmp_path / "classifier/labels.txt"
    if damage == "changed":
        target.write_bytes(b"goldfish\n")
    else:
        target.unlink()
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 3}'])
def test_read_manifest_is_none_when_it_is_no_manifest(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    assert read_manifest(tmp_path) is None


def test_place_files_refuses_when_repository_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="No such file or directory"):
        place_files(tmp_path / "nowhere", FILES, {})


def test_place_files_leaves_the_old_files_when_staging_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place_files(tmp_path, FILES, {})

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(RepositoryError, match="No space left on device"):
        place_files(tmp_path, {"embedder/1/model.onnx": b"newer"}, {})
    monkeypatch.undo()
    assert (tmp_path / "embedder/1/model.onnx").read_bytes() == b"weights"
    assert read_manifest(tmp_path) is not None
    assert not list(tmp_path.glob(".staging-*"))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from export.repository import manifest
from export.errors import RepositoryError

# A limit on the size of a file ends a write in its middle, as a full disk does.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    manifest.place_files(Path(sys.argv[1]), {"a": b"new", "model.onnx": bytes(100_000)}, {})
except RepositoryError as error:
    print(error)
    sys.exit(1)
"""


def test_place_files_refuses_when_a_file_cannot_be_written_whole(tmp_path: Path) -> None:
    place_files(tmp_path, {"a": b"old", "model.onnx": b"old weights"}, {})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    root = Path(__file__).resolve().parents[4]
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "File too large" in result.stdout
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_place_files_removes_what_the_manifest_before_listed_and_this_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    place_files(tmp_path, {"embedder/configs/gpu.pbtxt": b"old", "a": b"old"}, {})
    place_files(tmp_path, {"a": b"new"}, {})
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "manifest.json", "mine.txt"]


def test_place_files_leaves_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    place_files(tmp_path, {"embedder/configs/gpu.pbtxt": b"old"}, {})
    (tmp_path / "embedder/mine.txt").write_text("kept")
    place_files(tmp_path, {"a": b"new"}, {})
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "embedder", "manifest.json", "mine.txt"]


KILLED_AT_RENAME = """
import os, signal, sys
from pathlib import Path
from export.repository import manifest

renames = 0
replace = os.replace

def counting(source, target):
    global renames
    if renames == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    renames += 1
    replace(source, target)

os.replace = counting
files = {f"model/{n}": b"new %d" % n for n in range(4)}
manifest.place_files(Path(sys.argv[1]), files, {"generation": "new"})
"""


@pytest.mark.parametrize("renames", range(5))
def test_manifest_never_lists_a_half_placed_set_when_killed(tmp_path: Path, renames: int) -> None:
    place_files(tmp_path, {f"model/{n}": b"old %d" % n for n in range(4)}, {"generation": "old"})
    root = Path(__file__).resolve().parents[4]
    process = subprocess.run(
        [sys.executable, "-c", KILLED_AT_RENAME, str(tmp_path), str(renames)], cwd=root, check=False
    )
    assert process.returncode == -signal.SIGKILL
    assert read_manifest(tmp_path) is None
    place_files(tmp_path, {f"model/{n}": b"new %d" % n for n in range(4)}, {"generation": "new"})
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert manifest["generation"] == "new"
