"""The saved index's files, as `search.saved_index` writes them: its state, and what of it does not match a checksum."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

STATE = "state.json"
# Format 1 had no checksums; those of its vectors are in the store.
FORMAT = 2
READABLE = (1, FORMAT)
_CHUNK_BYTES = 1 << 20
_TRIES = 3


def file_checksum(file: Path) -> int:
    """The CRC-32 of a file; other threads run meanwhile.

    Raises:
        OSError: the file cannot be read.
    """
    checksum = 0
    with file.open("rb") as content:
        while part := content.read(_CHUNK_BYTES):
            checksum = zlib.crc32(part, checksum)
    return checksum


def read_state(file: Path) -> dict[str, Any]:
    """The content of `state.json`.

    Raises:
        FileNotFoundError: there is none.
        ValueError, KeyError, TypeError: it is damaged or of another release.
    """
    state: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if state["format"] not in READABLE:
        raise ValueError(f"its format is {state['format']!r}; expected {FORMAT}")
    if state["format"] == FORMAT and state.pop("crc32") != state_checksum(state):
        raise ValueError(f"{file.name} is damaged")
    return state


def state_checksum(state: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(state, sort_keys=True).encode())


def refuse_damaged(path: Path, stated: dict[str, Any], grows: bool) -> None:
    """Compares a file with its size and checksum in the state.

    Raises:
        ValueError: the file is damaged.
        OSError: the file is missing.
    """
    size_bytes = path.stat().st_size
    # The file of vectors grows while it is used.
    is_whole = size_bytes >= stated["size_bytes"] if grows else size_bytes == stated["size_bytes"]
    if not is_whole:
        raise ValueError(f"{path.name} is damaged: it has {size_bytes} bytes, expected {stated['size_bytes']}")
    if "crc32" in stated and file_checksum(path) != stated["crc32"]:
        raise ValueError(f"{path.name} is damaged: it does not match its checksum")


def find_damage(folder: Path) -> list[str]:
    """Sentences about the damaged files of the index; the server may replace the files meanwhile."""
    for _ in range(_TRIES):
        before = _identity(folder / STATE)
        damage = _find_damage(folder)
        if not damage or _identity(folder / STATE) == before:
            break
    return damage


def _identity(file: Path) -> tuple[int, int] | None:
    return (file.stat().st_ino, file.stat().st_mtime_ns) if file.exists() else None


def _find_damage(folder: Path) -> list[str]:
    try:
        state = read_state(folder / STATE)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"index/{STATE} cannot be used: {error}"]
    damage = []
    for kind, stated in state["files"].items():
        try:
            refuse_damaged(folder / stated["name"], stated, grows=kind == "vectors")
        except (OSError, ValueError) as error:
            damage.append(f"index/{error}" if isinstance(error, ValueError) else f"index/{stated['name']}: {error}")
    if damage or state["format"] != FORMAT:
        return damage
    files = {kind: folder / stated["name"] for kind, stated in state["files"].items()}
    rows = _damaged_rows(files["vectors"], files["rows"], state["dimension"])
    shown = f"{', '.join(map(str, rows[:5]))}{', ...' if len(rows) > 5 else ''}"
    return [f"index/{files['vectors'].name} is damaged: {len(rows)} rows ({shown})"] if rows else []


def _damaged_rows(vectors: Path, rows: Path, dimension: int) -> list[int]:
    with np.load(rows) as arrays:
        checksums, alive = arrays["checksums"], arrays["alive"]
    width = dimension * 4
    damaged = []
    with vectors.open("rb") as content:
        for row, checksum in enumerate(checksums.tolist()):
            if zlib.crc32(content.read(width)) != checksum and alive[row]:
                damaged.append(row)
    return damaged
