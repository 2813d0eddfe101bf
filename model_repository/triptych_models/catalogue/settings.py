"""Where this server's catalogue is, who may write to it, and where the index begins to approximate."""

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
# Address of a Weaviate cluster, which then holds the catalogue of all servers that name it.
WEAVIATE_VARIABLE = "TRIPTYCH_CATALOGUE_WEAVIATE"

# Inside the catalogue's folder.
INDEX_FOLDER = "index"

# Up to so many photos each is compared: 1 ms, when the graph takes 0.3 and misses nothing on real embeddings. See
# DECISIONS.md, "The graph from 2,000 photos on".
EXACT_BELOW = 2_000


def is_distributed() -> bool:
    """Whether the catalogue is in a cluster and not in this server's folder."""
    return bool(os.environ.get(WEAVIATE_VARIABLE))


def find_folder(log: Callable[[str], None]) -> Path:
    """Of this server, as its environment says; else one that dies with the server."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    folder = open_server_folder() / "catalogue"
    log(f"catalogue: kept in {folder}, gone when the server stops. Name a folder in {FOLDER_VARIABLE} to keep it.")
    return folder


def check_key(shown: object) -> None:
    """Read at each call, so that a new key needs no restart.

    Raises:
        KeyRefused: the caller shows none, or another one, or the server has none.
    """
    file = os.environ.get(KEY_VARIABLE)
    if not file:
        if os.environ.get(OPEN_VARIABLE) == "1":
            return
        raise KeyRefused(
            "Permission denied: this server has no catalogue key, so nobody may use `catalogue`. "
            f"Name a file with one in {KEY_VARIABLE}, or set {OPEN_VARIABLE}=1 to let everybody."
        )
    try:
        expected = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise KeyRefused(f"Permission denied: the server cannot read its catalogue key ({error.strerror}).") from error
    if shown is not None and not isinstance(shown, str):
        raise KeyRefused("Permission denied: the parameter catalogue_key is no text, expected the catalogue's key.")
    if not expected or not hmac.compare_digest((shown or "").encode(), expected.encode()):
        got = "another key" if shown else "no key"
        raise KeyRefused(
            f"Permission denied: `catalogue` got {got}, expected the one in the server's key file. "
            "Pass it as the request parameter catalogue_key."
        )
