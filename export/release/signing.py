"""Signs a release with a key and checks the signature, with the library `model-signing` (OpenSSF).

The signature is a Sigstore bundle over every file of the release. For keyless signing with an identity from an OIDC
provider, use the command of the library: see docs/guides/release-and-publish.md.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from export.errors import ReleaseError, WrongUsage
from export.release.folder import SIGNATURE, Release


def sign(release: Release, private_key: Path) -> None:
    """Writes `model.sig` into the release.

    Raises:
        WrongUsage: the key cannot be read, or the library is not installed.
        ReleaseError: the release cannot be written to.
    """
    library = _load_library()
    _require_file(private_key)
    signature = release.folder / SIGNATURE
    staged = release.folder.parent / f".{release.folder.name}.sig"
    try:
        config = library.signing.Config().set_hashing_config(_hashing(library))
        config.use_elliptic_key_signer(private_key=private_key).sign(release.folder, staged)
    except ValueError as error:
        raise WrongUsage(
            f"{private_key} cannot sign: {error}. Expected an elliptic-curve private key in PEM."
        ) from error
    try:
        release.folder.chmod(0o755)
        os.replace(staged, signature)
        signature.chmod(0o444)
        release.folder.chmod(0o555)
    except OSError as error:
        raise ReleaseError(f"Cannot write the signature into {release.folder} ({error.strerror}).") from error


def find_signature_fault(release: Release, public_key: Path) -> str | None:
    """A sentence if the release has no valid signature of this key; otherwise None.

    Raises:
        WrongUsage: the key cannot be read, or the library is not installed.
    """
    library = _load_library()
    _require_file(public_key)
    signature = release.folder / SIGNATURE
    if not signature.is_file():
        return f"The release is not signed: it has no {SIGNATURE}."
    try:
        config = library.verifying.Config().set_hashing_config(_hashing(library))
        config.use_elliptic_key_verifier(public_key=public_key).verify(release.folder, signature)
    except Exception as error:  # the library passes on any error of its parsers and of the cryptography package
        return f"The signature is not valid for {public_key} ({type(error).__name__}: {error})."
    return None


def _hashing(library: Any) -> Any:
    return library.hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _require_file(key: Path) -> None:
    if not key.is_file():
        raise WrongUsage(f"The key file {key} does not exist. Name a PEM file.")


def _load_library() -> Any:
    try:
        import model_signing
    except ModuleNotFoundError as error:
        raise WrongUsage(
            "Signing needs the package model-signing: `.venv/bin/uv pip install --group signing`, then again."
        ) from error
    return model_signing
