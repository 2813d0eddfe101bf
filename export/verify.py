"""`verify`: is a release what its manifest says, and who says so."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from export.release_folder import SIGNATURE, Release, find_faults, read_release


def add_parser(commands: Any) -> None:
    command = commands.add_parser(
        "verify",
        help="check a release: digests, missing and extra files, signature",
        description="Exit 0 when the release is whole (and, with --key, signed by that key), 1 when it is not, "
        "2 when there is no release at all.",
    )
    command.add_argument("release", type=Path, metavar="RELEASE", help="folder of the release")
    command.add_argument("--key", type=Path, metavar="PUB", help="public key, PEM, that must have signed it")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    release = read_release(options.release)
    faults = find_faults(release)
    if options.key is not None:
        from export.signing import find_signature_fault

        fault = find_signature_fault(release, options.key)
        faults += [fault] if fault else []
    for line in _describe(release, faults, options):
        console.print(line, markup=False)
    return {"digest": release.digest, "whole": not faults, "faults": faults, "exit_code": 1 if faults else 0}


def _describe(release: Release, faults: list[str], options: argparse.Namespace) -> list[str]:
    if faults:
        return [*faults, f"{options.release} must not be served. Fetch or make the release again."]
    if options.key is not None:
        signature = f"signed by {options.key}"
    elif (release.folder / SIGNATURE).is_file():
        signature = "its signature was not checked (pass --key)"
    else:
        signature = "not signed"
    return [
        f"{release.name} is whole: {len(release.files)} files as in the manifest; {signature}.",
        f"Digest sha256:{release.digest}",
    ]
