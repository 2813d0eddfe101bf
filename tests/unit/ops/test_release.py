"""Which releases `serve` and `reload` take: those that `triptych verify` takes, and that the policy allows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ops.errors import OpsError, WrongUsage
from ops.release import ANY, Policy, check_served, open_verified
from tests.faults.test_state_folder import make_release
from tests.unit.export.release.test_folder import write_keys


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return make_release(tmp_path / "small", 1)


def add_model(folder: Path) -> None:
    (folder / "models/backdoor/1").mkdir(parents=True)
    (folder / "models/backdoor/1/model.py").write_text("")


def add_version(folder: Path) -> None:
    (folder / "models/one/2").mkdir()


def link(folder: Path) -> None:
    (folder / "models/one/1/model.py").rename(folder.parent / "model.py")
    (folder / "models/one/1/model.py").symlink_to(folder.parent / "model.py")


def open_to_all(folder: Path) -> None:
    (folder / "models/one/1/model.py").chmod(0o666)


def change(folder: Path) -> None:
    (folder / "models/one/1/model.py").write_text("raise SystemExit\n")


def test_whole_release_is_served(release: Path) -> None:
    served = check_served(release, ANY)
    assert served is not None
    assert served.name.startswith("small-")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (add_model, "models/backdoor/1/model.py is not in the manifest"),
        (add_version, "models/one/2 is an empty folder"),
        (link, "models/one/1/model.py is a link"),
        (open_to_all, "models/one/1/model.py has mode 0666"),
        (change, "models/one/1/model.py was changed"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_verify_refuses_is_not_served(spoil: object, sentence: str, release: Path) -> None:
    spoil(release)  # type: ignore[operator]
    with pytest.raises(OpsError, match=sentence):
        check_served(release, ANY)
    with pytest.raises(OpsError, match=rf"{sentence}.*The old one is served\."):
        open_verified(release, "The old one is served.", ANY)


def test_unsigned_release_is_refused_when_a_key_is_given(release: Path, tmp_path: Path) -> None:
    private, key = write_keys(tmp_path, "mine")
    with pytest.raises(OpsError, match="The release is not signed") as refusal:
        check_served(release, Policy(key))
    assert "damaged" not in str(refusal.value)
    with pytest.raises(OpsError, match="is a private key; expected the public one"):
        check_served(release, Policy(private))


def test_model_repository_is_served_without_a_key_alone(release: Path, tmp_path: Path) -> None:
    (release / "manifest.json").unlink()
    _, key = write_keys(tmp_path, "mine")
    assert check_served(release, ANY) is None
    with pytest.raises(OpsError, match=rf"is not a release, so nobody can have signed it with {key}"):
        check_served(release, Policy(key))
    with pytest.raises(WrongUsage, match="nowhere does not exist"):
        check_served(release, Policy(tmp_path / "nowhere"))


def cut(folder: Path) -> None:
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:100])


def nest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[" * 100_000)


def forget_golden(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["golden"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def list_no_files(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"release": {"name": "small"}, "files": ["a"], "golden": {}}')


def put_folder(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()


def leave_signature(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "model.sig").write_text("{}")


def make_placement(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"files": {}}')
    (folder / "model.sig").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (cut, "manifest.json has 100 bytes that are not JSON"),
        (nest, "manifest.json has 100000 bytes that are not JSON"),
        (forget_golden, "is that of a release without"),
        (list_no_files, "is that of a release without"),
        (put_folder, r"cannot be read \(Is a directory\)"),
        (leave_signature, "is missing, but there is a model.sig"),
        (make_placement, "is not that of a release, but there is a model.sig"),
    ],
)
def test_changed_code_with_an_unreadable_manifest_is_not_served(spoil: Any, sentence: str, release: Path) -> None:
    change(release)
    spoil(release)
    with pytest.raises(OpsError, match=sentence):
        check_served(release, ANY)
    with pytest.raises(OpsError, match=rf"{sentence}.*The old one is served\."):
        open_verified(release, "The old one is served.", ANY)


def test_placed_model_repository_is_no_damage(release: Path) -> None:
    (release / "manifest.json").write_text('{"files": {"models/one/1/model.py": "0"}}')
    assert check_served(release, ANY) is None


def test_policy_that_requires_a_signature_needs_a_key() -> None:
    with pytest.raises(WrongUsage, match="--key PUB"):
        Policy(require_signature=True)
