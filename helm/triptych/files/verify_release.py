"""Checks that a folder is the release that was asked for, whole: exit 0, or 1 with what differs.

    python3 verify_release.py /models sha256:<64 hex digits>

A release's digest is the SHA-256 of its manifest.json, which lists the SHA-256 of every other file. Run inside the
serving image before the server starts: standard library only.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

MANIFEST = "manifest.json"
# Made of the digest, so the manifest cannot list it.
SIGNATURE = "model.sig"
MODELS = "models/"


def find_faults(folder: Path, digest: str) -> list[str]:
    """What differs, a sentence each; empty when the folder is that release."""
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError as error:
        return [f"cannot read {MANIFEST} ({error.strerror})."]
    got = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if got != digest:
        return [f"it is the release {got}, expected {digest}."]
    listed: dict[str, str] = json.loads(content)["files"]
    if not any(name.startswith(MODELS) for name in listed):
        return [f"it has the layout of an earlier version, without {MODELS}. Make it with `python -m export release`."]
    # What a volume brings along (lost+found) is no model; a file among the models is loaded as code.
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    faults = [f"{name} is missing." for name in sorted(set(listed) - found)]
    faults += [f"{name} is not of the release." for name in sorted(found - set(listed) - {MANIFEST, SIGNATURE})]
    for name in sorted(set(listed) & found):
        if _sha256_of(folder / name) != listed[name]:
            faults.append(f"{name} was changed.")
    return faults


def _sha256_of(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def main(words: list[str]) -> int:
    folder, digest = Path(words[0]), words[1]
    faults = find_faults(folder, digest)
    if faults:
        print(f"{folder} is not the release to serve: {' '.join(faults[:5])} Publish it again.", file=sys.stderr)
        return 1
    print(f"{folder} is {digest}, whole.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
