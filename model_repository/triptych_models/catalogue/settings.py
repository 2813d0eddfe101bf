"""Settings of the catalogue: its folder or cluster, its key, and the size up to which searches are exact."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from pathlib import Path

from triptych_models.errors import KeyRefused
from triptych_models.triton.server_folder import open_server_folder

FOLDER_VARIABLE = "TRIPTYCH_CATALOGUE_DIR"
KEY_VARIABLE = "TRIPTYCH_CATALOGUE_KEY_FILE"
OPEN_VARIABLE = "TRIPTYCH_CATALOGUE_OPEN"
# URL of a Weaviate cluster, which stores the catalogue of every server that names the cluster.
WEAVIATE_VARIABLE = "TRIPTYCH_CATALOGUE_WEAVIATE"

# Inside the catalogue's folder.
INDEX_FOLDER = "index"

# Up to this many photos a search compares all of them: 1 ms, where the HNSW index takes 0.3 ms. See
# docs/decisions/0036.
EXACT_BELOW = 2_000


def is_distributed() -> bool:
    """Whether the catalogue is in a Weaviate cluster instead of this server's folder."""
    return bool(os.environ.get(WEAVIATE_VARIABLE))


def find_folder(log: Callable[[str], None]) -> Path:
    """The folder that TRIPTYCH_CATALOGUE_DIR names; without it a temporary folder, removed with the server."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    folder = open_server_folder() / "catalogue"
    log(f"catalogue: stored in {folder}, which is deleted after the server stops. To keep it, set {FOLDER_VARIABLE}.")
    return folder


def check_key(shown: object) -> None:
    """Checks a request's key; the key file is read at each call, so that a new key needs no restart.

    Raises:
        KeyRefused: the key is missing or wrong, or the server has no key.
    """
    file = os.environ.get(KEY_VARIABLE)
    if not file:
        if os.environ.get(OPEN_VARIABLE) == "1":
            return
        raise KeyRefused(
            "Permission denied: this server has no catalogue key, so nobody may call `catalogue`. "
            f"Name a key file in {KEY_VARIABLE}, or set {OPEN_VARIABLE}=1 to allow every caller."
        )
    try:
        expected = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise KeyRefused(f"Permission denied: the server cannot read its catalogue key ({error.strerror}).") from error
    if shown is not None and not isinstance(shown, str):
        raise KeyRefused("Permission denied: parameter `catalogue_key` is not a string; expected the catalogue's key.")
    if not expected or not hmac.compare_digest((shown or "").encode(), expected.encode()):
        got = "another key" if shown else "no key"
        raise KeyRefused(
            f"Permission denied: `catalogue` got {got}; expected the key in the server's key file. "
            "Pass it as request parameter `catalogue_key`."
        )
