"""Signs a release with a key and checks the signature, with the library `model-signing` (OpenSSF).

The signature is a Sigstore bundle over every file of the release. For keyless signing with an identity from an OIDC
provider, use the command of the library: see docs/guides/release-and-publish.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from export.errors import ReleaseError, WrongUsage
from export.release.folder import SIGNATURE, Release, sha256_of

# The curves of the library, as OpenSSL names them.
_CURVES = {"secp256r1": "prime256v1", "secp384r1": "secp384r1", "secp521r1": "secp521r1"}
_MAKE_KEY = "`openssl ecparam -name prime256v1 -genkey -noout -out private.pem`"
_MAKE_PUBLIC = "`openssl pkey -in private.pem -pubout -out public.pem`"
_NAMES_SHOWN = 3


def require_private_key(file: Path) -> None:
    """Raises:
    WrongUsage: the file cannot sign: it is missing, no private key, of another kind or encrypted; or the library for
        signatures is not installed.
    """
    _load_library()
    from cryptography.hazmat.primitives import serialization

    content = _read_key(file)
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError as error:
        raise WrongUsage(f"{file} is encrypted with a password; expected a private key without one.") from error
    except Exception as error:  # the library passes on any error of its parsers
        what = "is a public key" if _is_public(content) else "is not a private key in PEM"
        raise WrongUsage(f"{file} {what} and cannot sign. Make a private key: {_MAKE_KEY}.") from error
    _require_curve(file, key, f"Make another private key: {_MAKE_KEY}.")


def sign(release: Release, private_key: Path) -> None:
    """Writes `model.sig` into the release.

    Raises:
        WrongUsage: see `require_private_key`.
        ReleaseError: the release cannot be written to.
    """
    require_private_key(private_key)
    library = _load_library()
    signature = release.folder / SIGNATURE
    staged = release.folder.parent / f".{release.folder.name}.sig"
    config = library.signing.Config().set_hashing_config(_hashing(library))
    try:
        config.use_elliptic_key_signer(private_key=private_key).sign(release.folder, staged)
        release.folder.chmod(0o755)
        os.replace(staged, signature)
        signature.chmod(0o444)
        release.folder.chmod(0o555)
    except OSError as error:
        raise ReleaseError(f"Cannot write the signature into {release.folder} ({error.strerror}).") from error
    finally:
        staged.unlink(missing_ok=True)


def find_signature_fault(release: Release, public_key: Path) -> str | None:
    """A sentence if the release has no valid signature of this key; otherwise None.

    Raises:
        WrongUsage: the file has no public key that can sign releases, or the library is not installed.
    """
    library = _load_library()
    hint = _read_public_key(public_key)
    signature = release.folder / SIGNATURE
    if not signature.is_file():
        return f"The release is not signed: it has no {SIGNATURE}. Sign it with `triptych release --sign KEY`."
    another = f"The release is signed with another key than {public_key}. Name the public key of whoever signed it."
    unreadable = f"Its {SIGNATURE} is damaged: it is not what `triptych release --sign` writes. Download it again."
    try:
        bundle = json.loads(signature.read_bytes())
        if bundle["verificationMaterial"]["publicKey"].get("hint") not in (None, "", hint):
            return another
        signed = _read_digests(bundle)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return unreadable
    from cryptography.exceptions import InvalidSignature

    try:
        config = library.verifying.Config().set_hashing_config(_hashing(library))
        config.use_elliptic_key_verifier(public_key=public_key).verify(release.folder, signature)
    except InvalidSignature:
        return f"Its {SIGNATURE} was changed, or was made with another key than {public_key}. Download it again."
    except Exception:  # the library passes on any error of its parsers
        changed = _find_changed(release, signed)
        return f"Its files are not those that were signed: {changed}. Do not serve it." if changed else unreadable
    return None


def _read_digests(bundle: Any) -> dict[str, str]:
    """SHA-256 of each signed file by name; not to be trusted until the signature is verified."""
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return {resource["name"]: resource["digest"] for resource in statement["predicate"]["resources"]}


def _find_changed(release: Release, signed: dict[str, str]) -> str:
    """Phrases that name some files that differ from the signed ones; empty if none does."""
    files = {str(path.relative_to(release.folder)): path for path in release.folder.rglob("*") if path.is_file()}
    files.pop(SIGNATURE, None)
    phrases = [f"{name} is missing" for name in sorted(signed.keys() - files.keys())]
    phrases += [f"{name} was not signed" for name in sorted(files.keys() - signed.keys())]
    phrases += [
        f"{name} was changed" for name in sorted(files.keys() & signed.keys()) if sha256_of(files[name]) != signed[name]
    ]
    more = f" and {len(phrases) - _NAMES_SHOWN} more" if len(phrases) > _NAMES_SHOWN else ""
    return ", ".join(phrases[:_NAMES_SHOWN]) + more


def _read_public_key(file: Path) -> str:
    """The library's name of a public key: the SHA-256 of its PEM, hex.

    Raises:
        WrongUsage: the file has no public key that can sign releases.
    """
    from cryptography.hazmat.primitives import serialization

    content = _read_key(file)
    try:
        key = serialization.load_pem_public_key(content)
    except Exception as error:  # the library passes on any error of its parsers
        if b"PRIVATE KEY-----" in content:
            raise WrongUsage(
                f"{file} is a private key; expected the public one. Keep the private key where releases are signed; "
                f"there, make the public one: {_MAKE_PUBLIC}."
            ) from error
        raise WrongUsage(f"{file} is not a public key in PEM. Make one of the private key: {_MAKE_PUBLIC}.") from error
    _require_curve(file, key, "Name the public key that belongs to the private key of `triptych release --sign`.")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.PEM, form)).hexdigest()


def _require_curve(file: Path, key: Any, advice: str) -> None:
    """Raises:
    WrongUsage: the key is not for ECDSA on a curve that the library supports.
    """
    curve = getattr(getattr(key, "curve", None), "name", None)
    if curve not in _CURVES:
        kind = f"a key for the curve {curve}" if curve else f"a key of another kind ({_kind_of(key)})"
        raise WrongUsage(f"{file} is {kind}; expected an elliptic-curve key: {', '.join(_CURVES.values())}. {advice}")


def _kind_of(key: Any) -> str:
    name = type(key).__name__.lstrip("_").removesuffix("PrivateKey").removesuffix("PublicKey")
    return name or "unknown"


def _is_public(content: bytes) -> bool:
    return b"-----BEGIN PUBLIC KEY-----" in content


def _hashing(library: Any) -> Any:
    return library.hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _read_key(file: Path) -> bytes:
    if not file.is_file():
        raise WrongUsage(f"The key file {file} does not exist. Name a PEM file.")
    try:
        return file.read_bytes()
    except OSError as error:
        raise WrongUsage(f"The key file {file} cannot be read ({error.strerror}). Name a PEM file.") from error


def _load_library() -> Any:
    try:
        import model_signing
    except ModuleNotFoundError as error:
        raise WrongUsage(
            "Signing needs the package model-signing: `.venv/bin/uv pip install --group signing`, then again."
        ) from error
    return model_signing
