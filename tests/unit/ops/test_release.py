"""Which releases `serve` and `reload` take: those that `triptych verify` takes, and that the policy allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.errors import OpsError, WrongUsage
from ops.release import ANY, Policy, check_served, open_verified
from tests.faults.test_state_folder import make_release


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
    key = tmp_path / "public.pem"
    key.write_text("no key is needed to see that there is no signature")
    with pytest.raises(OpsError, match="The release is not signed"):
        check_served(release, Policy(key))


def test_model_repository_is_served_unless_the_policy_requires_a_signature(release: Path, tmp_path: Path) -> None:
    (release / "manifest.json").unlink()
    key = tmp_path / "public.pem"
    assert check_served(release, Policy(key)) is None
    with pytest.raises(OpsError, match="is not a release, so nobody signed it"):
        check_served(release, Policy(key, require_signature=True))


def test_policy_that_requires_a_signature_needs_a_key() -> None:
    with pytest.raises(WrongUsage, match="--key PUB"):
        Policy(require_signature=True)
