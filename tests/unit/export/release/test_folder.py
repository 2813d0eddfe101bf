"""A release is what its manifest says, or `verify` names what is not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export.cli.main import main
from export.errors import ReleaseError, WrongUsage
from export.release.folder import Release, find_faults, read_release, require_whole


@pytest.fixture
def release(make_release: Callable[..., Release]) -> Release:
    release = make_release("old")
    for path in (release.folder, *release.folder.rglob("*")):
        path.chmod(0o755)
    return release


def test_digest_is_what_sha256sum_says_of_the_manifest(release: Release) -> None:
    content = (release.folder / "manifest.json").read_bytes()
    assert release.digest == hashlib.sha256(content).hexdigest()
    assert release.folder.name == f"small-{release.digest[:12]}"


def test_whole_release_has_no_faults(release: Release, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_faults(release) == []
    assert main(["verify", str(release.folder)]) == 0
    assert (
        f"is complete: 5 files match the manifest; not signed.\nDigest sha256:{release.digest}"
        in capsys.readouterr().out
    )


def change_file(folder: Path) -> None:
    (folder / "models/one/1/weights").write_bytes(b"Old")


def remove_file(folder: Path) -> None:
    (folder / "models/one/1/weights").unlink()


def add_file(folder: Path) -> None:
    (folder / "models/one/1/__pycache__").mkdir()
    (folder / "models/one/1/__pycache__/model.cpython-311.pyc").write_bytes(b"anything")


def add_module(folder: Path) -> None:
    (folder / "triptych_models/extra.py").write_text("")


def link_elsewhere(folder: Path) -> None:
    (folder / "models/one/1/weights").rename(folder.parent / "weights")
    (folder / "models/one/1/weights").symlink_to(folder.parent / "weights")


def add_empty_version(folder: Path) -> None:
    (folder / "models/one/2").mkdir()


def let_everyone_write(folder: Path) -> None:
    (folder / "models/one/1/weights").chmod(0o666)


def put_a_pipe(folder: Path) -> None:
    (folder / "models/one/1/weights").unlink()
    os.mkfifo(folder / "models/one/1/weights")


def change_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "accuracy": 1.0}))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (change_file, "models/one/1/weights was changed: it has another SHA-256"),
        (remove_file, "models/one/1/weights is missing."),
        (add_file, "models/one/1/__pycache__/model.cpython-311.pyc is not in the manifest."),
        (add_module, "triptych_models/extra.py is not in the manifest."),
        (link_elsewhere, "models/one/1/weights is a link, expected a file."),
        (add_empty_version, "models/one/2 is an empty folder, which Triton may take for a version."),
        (let_everyone_write, "models/one/1/weights has mode 0666: every user may change it"),
        (put_a_pipe, "models/one/1/weights is a folder, a pipe or a device, expected a file."),
        (change_manifest, "but its manifest gives the name small-"),
    ],
)
def test_verify_names_the_damage(
    damage: Callable[[Path], None], sentence: str, release: Release, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(release.folder)
    damaged = read_release(release.folder)
    (fault,) = find_faults(damaged)
    assert sentence in fault
    with pytest.raises(ReleaseError, match="is damaged"):
        require_whole(damaged)
    assert main(["verify", str(release.folder)]) == 1
    assert "Do not serve" in capsys.readouterr().out
    assert main(["verify", "--json", str(release.folder)]) == 1
    assert json.loads(capsys.readouterr().out)["faults"] == [fault]


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        "",
        "[]",
        '{"files": {}}',
        '{"release": {"format": 3, "name": "x"}, "files": {}}',
        '{"release": {"format": 2, "name": "../x"}, "files": {}}',
        "[" * 100_000,
    ],
)
def test_verify_exits_2_when_there_is_no_release(
    manifest: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    assert main(["verify", str(tmp_path)]) == 2
    assert "is not a release" in capsys.readouterr().err


@pytest.fixture
def earlier_release(release: Release, tmp_path: Path) -> Path:
    """Of format 1: the models in the release itself, no package."""
    folder = tmp_path / "small-0123456789ab"
    shutil.copytree(release.folder / "models", folder)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    manifest = {"release": {"format": 1, "name": "small"}, "golden": {}, "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        ("verify EARLIER", 2),
        ("publish EARLIER TARGET", 2),
        ("rollback TARGET --to small-0123456789ab", 2),
        ("inspect EARLIER", 1),
        ("diff EARLIER RELEASE", 1),
        ("diff RELEASE EARLIER", 1),
        ("release --repository EARLIER --output TARGET", 1),
        ("build --repository EARLIER", 1),
        ("quantize --repository EARLIER", 1),
        ("train EARLIER --repository EARLIER", 1),
    ],
)
def test_release_of_the_earlier_layout_is_refused_by_every_command(
    command: str,
    exit_code: int,
    release: Release,
    earlier_release: Path,
    tmp_path: Path,
    photos: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "target"
    shutil.copytree(earlier_release, target / "releases" / earlier_release.name)
    places = {"EARLIER": earlier_release, "TARGET": target, "RELEASE": release.folder}
    before = sorted(tmp_path.rglob("*"))
    assert main([str(places.get(word, word)) for word in command.split()]) == exit_code
    said = capsys.readouterr().err
    assert "an earlier layout" in said
    assert "`triptych release`" in said
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != ".lock"] == before


def test_releases_of_other_code_have_other_digests(make_release: Callable[..., Release]) -> None:
    old, new = (make_release("same", code=code) for code in (b"VERSION = 1\n", b"VERSION = 2\n"))
    assert old.digest != new.digest
    assert old.files["models/one/1/weights"] == new.files["models/one/1/weights"]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "its manifest.json is missing"),
        (lambda folder: (folder / "manifest.json").write_text("[" * 100_000), "does not list the placed files"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "does not list the placed files"),
        (remove_file, "models/one/1/weights is missing"),
        (change_file, "models/one/1/weights was changed"),
    ],
)
def test_what_is_not_placed_is_named(
    spoil: Callable[[Path], object], sentence: str, release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(release.folder)
    assert main(["release", f"--repository={release.folder}", f"--output={tmp_path / 'out'}"]) == 1
    assert f"{release.folder} has no complete placement: " in (said := capsys.readouterr().err)
    assert sentence in said


def test_manifest_that_points_outside_is_refused(release: Release) -> None:
    content = (release.folder / "manifest.json").read_text().replace("models/one/1/weights", "../weights")
    (release.folder / "manifest.json").write_text(content)
    with pytest.raises(ReleaseError, match=r"files outside the release: \.\./weights"):
        read_release(release.folder)


def test_signed_release_is_verified_by_its_own_key_alone(
    release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from export.release.signing import sign

    (private, public), (_, other) = (write_keys(tmp_path, name) for name in ("mine", "other"))
    assert main(["verify", str(release.folder), "--key", str(public)]) == 1
    assert "not signed" in capsys.readouterr().out
    sign(release, private)
    assert main(["verify", str(release.folder)]) == 0
    assert "its signature was not checked" in capsys.readouterr().out
    assert main(["verify", str(release.folder), "--key", str(public)]) == 0
    assert f"signed with {public}" in capsys.readouterr().out
    assert main(["verify", str(release.folder), "--key", str(other)]) == 1
    said = capsys.readouterr().out
    assert f"The release is signed with another key than {other}." in said
    assert "again" not in said
    moved = tmp_path / "moved"
    shutil.copytree(release.folder, moved)
    assert main(["verify", str(moved), "--key", str(public)]) == 0


def test_signature_does_not_hold_for_a_forged_manifest(release: Release, tmp_path: Path) -> None:
    """Whoever changes a file can write a manifest that fits, and not a signature."""
    from export.release.signing import find_signature_fault, sign

    private, public = write_keys(tmp_path, "mine")
    sign(release, private)
    change_file(release.folder)
    manifest = json.loads((release.folder / "manifest.json").read_text())
    manifest["files"]["models/one/1/weights"] = hashlib.sha256(b"Old").hexdigest()
    (release.folder / "manifest.json").write_text(json.dumps(manifest))
    forged = read_release(release.folder.rename(tmp_path / "forged"))
    assert find_faults(forged) == []
    fault = find_signature_fault(forged, public)
    assert fault is not None
    assert "Its files are not those that were signed: manifest.json was changed, models/one/1/weights was" in fault


def test_damaged_or_forged_signature_is_told_from_another_key(release: Release, tmp_path: Path) -> None:
    from export.release.signing import find_signature_fault, sign

    private, public = write_keys(tmp_path, "mine")
    sign(release, private)
    file = release.folder / "model.sig"
    bundle = json.loads(file.read_text())
    for content in ("", "[]", "{", "[" * 100_000, json.dumps({**bundle, "dsseEnvelope": {"payload": "eA=="}})):
        file.chmod(0o644)
        file.write_text(content)
        assert "Its model.sig is damaged" in (find_signature_fault(release, public) or "")
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = "MAYCAQECAQE="
    file.write_text(json.dumps(bundle))
    assert "Its model.sig was changed" in (find_signature_fault(release, public) or "")


def test_sign_refuses_what_is_no_private_key(release: Release, tmp_path: Path) -> None:
    from export.release.signing import sign

    _, public = write_keys(tmp_path, "mine")
    keys = write_other_keys(tmp_path)
    for key, sentence in (
        (public, "is a public key and cannot sign"),
        (tmp_path / "nowhere", "does not exist"),
        (keys["rsa"], r"another kind \(RSA\)"),
        (keys["ed25519"], r"another kind \(Ed25519\)"),
        (keys["curve"], "a key for the curve secp256k1"),
        (keys["encrypted"], "is encrypted with a password"),
        (keys["text"], "is not a private key in PEM"),
    ):
        with pytest.raises(WrongUsage, match=sentence):
            sign(release, key)
    assert find_faults(release) == []
    assert not list(release.folder.parent.glob(".*.sig"))


def test_key_that_cannot_sign_is_refused_before_a_release_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "repository").mkdir()
    words = ["release", f"--repository={tmp_path / 'repository'}", f"--output={tmp_path / 'releases'}"]
    assert main([*words, f"--sign={write_other_keys(tmp_path)['rsa']}"]) == 2
    assert "of another kind (RSA); expected an elliptic-curve key: prime256v1" in capsys.readouterr().err
    assert not (tmp_path / "releases").exists()


def test_what_is_no_public_key_is_told_from_another_signer(
    release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from export.release.signing import sign

    private, _ = write_keys(tmp_path, "mine")
    sign(release, private)
    keys = write_other_keys(tmp_path)
    for key, sentence in (
        (private, f"{private} is a private key; expected the public one"),
        (keys["rsa"], "is a private key"),
        (keys["rsa.pub"], "of another kind (RSA)"),
        (keys["text"], "is not a public key in PEM"),
        (tmp_path, "does not exist"),
    ):
        assert main(["verify", str(release.folder), "--key", str(key)]) == 2
        said = capsys.readouterr()
        assert sentence in said.err
        assert "damaged" not in said.out + said.err


def write_other_keys(folder: Path) -> dict[str, Path]:
    """Keys that cannot sign a release, by kind."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    large = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    plain = serialization.NoEncryption()
    locked = serialization.BestAvailableEncryption(b"word")
    kinds: tuple[tuple[str, Any, Any], ...] = (
        ("rsa", large, plain),
        ("ed25519", ed25519.Ed25519PrivateKey.generate(), plain),
        ("curve", ec.generate_private_key(ec.SECP256K1()), plain),
        ("encrypted", ec.generate_private_key(ec.SECP256R1()), locked),
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    contents = {name: key.private_bytes(pem, form, lock) for name, key, lock in kinds}
    contents["rsa.pub"] = large.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    contents["text"] = b"ssh-ed25519 AAAA"
    for name, content in contents.items():
        (folder / f"other-{name}").write_bytes(content)
    return {name: folder / f"other-{name}" for name in contents}


def write_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Private and public, as `openssl ecparam -name prime256v1 -genkey` writes them."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public
