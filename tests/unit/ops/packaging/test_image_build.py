"""What `docker build` gets to see."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ops.cli.main import main
from ops.errors import OpsError, WrongUsage
from ops.packaging.image.build import build_command, fill_context


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "one-0123456789ab"
    (folder / "models/one/1").mkdir(parents=True)
    (folder / "models/one/1/model.py").write_text("pass\n")
    files = {"models/one/1/model.py": hashlib.sha256(b"pass\n").hexdigest()}
    manifest = {"release": {"format": 1, "name": "one"}, "files": files, "golden": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "notes.txt").write_text("not of the release")
    (folder / "models/one/1/model.py").chmod(0o400)
    return folder


def test_context_holds_the_release_and_nothing_else(release: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    digest = fill_context(release, context)
    assert digest == fill_context(release, context)
    assert digest == f"sha256:{hashlib.sha256((release / 'manifest.json').read_bytes()).hexdigest()}"
    found = {str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()}
    own = {"Dockerfile", "requirements.txt", "start.py", "front.json"}
    assert found == own | {"release/manifest.json", "release/models/one/1/model.py"}
    assert (context / "release/models/one/1/model.py").stat().st_mode & 0o777 == 0o644


def test_changed_file_is_refused(release: Path, tmp_path: Path) -> None:
    (release / "models/one/1/model.py").chmod(0o600)
    (release / "models/one/1/model.py").write_text("raise SystemExit\n")
    with pytest.raises(OpsError, match=r"is damaged: models/one/1/model\.py was changed"):
        fill_context(release, tmp_path / "context")


def test_release_of_an_earlier_version_is_refused(release: Path, tmp_path: Path) -> None:
    (release / "models/one").rename(release / "one")
    (release / "one/config.pbtxt").touch()
    (release / "models").rmdir()
    with pytest.raises(OpsError, match=r"layout of an earlier version.*triptych release"):
        fill_context(release, tmp_path / "context")
    assert not (tmp_path / "context").exists()


def test_folder_of_somebody_else_is_not_emptied(release: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter.txt").write_text("dear")
    with pytest.raises(OpsError, match="not a build context"):
        fill_context(release, tmp_path / "home")
    assert (tmp_path / "home/letter.txt").exists()


@pytest.mark.parametrize("manifest", [None, '{"files": {}}'])
def test_other_folders_are_no_release(tmp_path: Path, manifest: str | None) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(WrongUsage, match="is not a release"):
        fill_context(tmp_path, tmp_path / "context")


def test_manifest_that_cannot_be_read_is_damage(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(OpsError, match=r"manifest\.json has 1 bytes that are not JSON"):
        fill_context(tmp_path, tmp_path / "context")


def test_tag_names_the_release(tmp_path: Path) -> None:
    digest = "sha256:0123456789abcdef" + 48 * "0"
    command = build_command(tmp_path, "registry.example.com/triptych", "0.1.0", digest, "sha256:ff")
    assert "--tag=registry.example.com/triptych:0.1.0-0123456789ab" in command
    assert "--build-arg=TRITON_DIGEST=@sha256:ff" in command
    assert "--build-arg=TRITON_DIGEST=" in build_command(tmp_path, "triptych", "0.1.0", digest, "")


def test_command_is_printed_when_nothing_is_to_be_built(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["image", str(release), f"--context={tmp_path / 'context'}", "--no-build"]) == 0
    assert capsys.readouterr().out.startswith("docker build ")
