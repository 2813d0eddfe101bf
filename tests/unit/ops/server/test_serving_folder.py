"""The folder that the server is started in: links to one release, and to another in its place."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ops.errors import OpsError
from ops.release import Release
from ops.server.serving_folder import ServingFolder


def make_repository(folder: Path, sentence: str) -> Path:
    """One model and a package of two modules, as `make_release` would lay them out."""
    files = {
        "models/one/config.pbtxt": 'name: "one"',
        "models/one/1/model.py": "import triptych_models",
        "triptych_models/__init__.py": "",
        "triptych_models/search/said.py": f"SENTENCE = {sentence!r}",
        "triptych_models/search/__pycache__/said.pyc": "byte code",
        "manifest.json": "{}",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "first", "old")


@pytest.fixture
def serving(tmp_path: Path, first: Path) -> ServingFolder:
    """Filled from `first`."""
    folder = ServingFolder(tmp_path / "serving")
    folder.fill(first)
    return folder


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_folders_are_real_and_files_are_links_to_the_release(serving: ServingFolder, first: Path) -> None:
    assert files_of(serving.folder) == {
        "models/one/config.pbtxt",
        "models/one/1/model.py",
        "triptych_models/__init__.py",
        "triptych_models/search/said.py",
    }
    for name in files_of(serving.folder):
        assert (serving.folder / name).resolve() == first / name
    assert serving.models() == ["one"]


def test_byte_code_stays_out_of_the_release(serving: ServingFolder, first: Path) -> None:
    before = files_of(first)
    (serving.folder / "triptych_models/__pycache__").mkdir()
    (serving.folder / "triptych_models/__pycache__/__init__.pyc").write_text("byte code")
    assert files_of(first) == before


def test_package_is_replaced_whole(serving: ServingFolder, tmp_path: Path) -> None:
    second = make_repository(tmp_path / "second", "new")
    (second / "triptych_models/search/said.py").rename(second / "triptych_models/said.py")
    (serving.folder / "triptych_models.new/left").mkdir(parents=True)  # by a reload that was killed
    (serving.folder / "triptych_models.old").mkdir()
    serving.put_package(second)
    assert {path.name for path in serving.folder.iterdir()} == {"models", "triptych_models"}
    package = serving.folder / "triptych_models"
    assert files_of(package) == {"__init__.py", "said.py"}
    assert (package / "said.py").resolve() == second / "triptych_models/said.py"


def test_repository_without_a_package_leaves_none(serving: ServingFolder, tmp_path: Path) -> None:
    model = tmp_path / "others/models/one"
    model.mkdir(parents=True)
    serving.put_package(model.parents[1])
    assert {path.name for path in serving.folder.iterdir()} == {"models"}


def test_link_to_a_release_is_followed_once(serving: ServingFolder, first: Path, tmp_path: Path) -> None:
    """A `current` that is pointed elsewhere changes nothing that is served."""
    current = tmp_path / "current"
    current.symlink_to(first)
    serving.fill(current)
    current.unlink()
    current.symlink_to(make_repository(tmp_path / "second", "new"))
    said = serving.folder / "triptych_models/search/said.py"
    assert said.read_text() == (first / "triptych_models/search/said.py").read_text()


def release_of(folder: Path, digest: str) -> Release:
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json" and "__pycache__" not in path.parts
    }
    return Release(folder, digest * 64, "name", files, {})


def test_files_of_a_signed_release_are_a_copy_that_later_changes_do_not_reach(tmp_path: Path, first: Path) -> None:
    serving = ServingFolder(tmp_path / "serving")
    serving.fill(first, release_of(first, "a"))
    for path in first.rglob("*.py"):
        path.write_text("raise SystemExit")
    assert (serving.model("one") / "1/model.py").read_text() == "import triptych_models"
    assert (serving.folder / "triptych_models/search/said.py").read_text() == "SENTENCE = 'old'"
    resolved = (serving.model("one") / "1/model.py").resolve()
    assert resolved == serving.folder / f"signed-{'a' * 12}/models/one/1/model.py"
    assert (serving.folder / f"signed-{'a' * 12}").stat().st_mode & 0o077 == 0


def test_copy_of_a_release_that_changed_since_it_was_verified_is_refused(tmp_path: Path, first: Path) -> None:
    release = release_of(first, "a")
    (first / "models/one/1/model.py").write_text("raise SystemExit")
    serving = ServingFolder(tmp_path / "serving")
    with pytest.raises(OpsError, match=r"since its signature was checked, models/one/1/model\.py was changed"):
        serving.fill(first, release)


def test_copies_of_the_served_and_the_next_release_are_kept(tmp_path: Path, first: Path) -> None:
    serving = ServingFolder(tmp_path / "serving")
    serving.fill(first, release_of(first, "a"))
    for digest, kept in (("b", "ab"), ("c", "ac")):  # `b` was never served
        serving.copy(release_of(first, digest))
        assert {path.name[-1] for path in serving.folder.glob("signed-*")} == set(kept)
    serving.put(serving.folder / f"signed-{'c' * 12}", "one")
    serving.copy(release_of(first, "d"))
    assert {path.name[-1] for path in serving.folder.glob("signed-*")} == set("cd")
