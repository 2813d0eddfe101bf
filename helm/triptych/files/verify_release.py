"""Verifies that a folder contains exactly the expected release: exit code 0, or 1 and the differences.

    python3 verify_release.py /models sha256:<64 hex digits>

The digest of a release is the SHA-256 of its manifest.json, which lists the SHA-256 of every other file. An init
container runs this file inside the serving image before the server starts, with the standard library only.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

MANIFEST = "manifest.json"
# The signature contains the digest, so the manifest cannot list it.
SIGNATURE = "model.sig"
MODELS = "models/"


def find_faults(folder: Path, digest: str) -> list[str]:
    """Returns a sentence for each difference from the release; none if the folder is complete and unchanged."""
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError as error:
        return [f"cannot read {MANIFEST} ({error.strerror})."]
    got = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if got != digest:
        return [f"it is the release {got}, expected {digest}."]
    listed: dict[str, str] = json.loads(content)["files"]
    if not any(name.startswith(MODELS) for name in listed):
        return [f"it has the layout of an earlier version, without {MODELS}. Make it with `triptych release`."]
    # Triton loads any additional file as code. Folders, such as lost+found of a volume, are harmless.
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


def main(arguments: list[str]) -> int:
    folder, digest = Path(arguments[0]), arguments[1]
    faults = find_faults(folder, digest)
    if faults:
        print(f"{folder} is not the expected release: {' '.join(faults[:5])} Publish it again.", file=sys.stderr)
        return 1
    print(f"{folder} contains all files of {digest}, unchanged.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
