"""The command `verify`: checks a release against its manifest and, with a key, its signature."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from export.cli.arguments import add_json_option, as_path
from export.cli.execution import set_run
from export.release.folder import SIGNATURE, Release, read_release
from export.release.verification import find_release_faults


def add_parser(commands: Any) -> None:
    """Adds `verify` to the command line."""
    command = commands.add_parser(
        "verify",
        help="check that the files of a release are complete and unchanged, and its signature",
        description="Compares every file of a release with the digest in its manifest. Exit code 0: the release is "
        "complete and unchanged (and, with --key, signed with that key). Exit code 1: it is not. Exit code 2: the "
        "folder is not a release.",
    )
    command.add_argument("release", type=as_path, metavar="RELEASE", help="folder of the release")
    command.add_argument("--key", type=as_path, metavar="PUB", help="public key (PEM) that the signature must match")
    add_json_option(command)
    set_run(command, run)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Runs the command."""
    release = read_release(options.release)
    faults = find_release_faults(release, options.key)
    for line in _describe(release, faults, options):
        console.print(line, markup=False)
    return {"digest": release.digest, "whole": not faults, "faults": faults, "exit_code": 1 if faults else 0}


def _describe(release: Release, faults: list[str], options: argparse.Namespace) -> list[str]:
    if faults:
        again = " Download or make the release again." if find_release_faults(release, None) else ""
        return [*faults, f"Do not serve {options.release}.{again}"]
    if options.key is not None:
        signature = f"signed with {options.key}"
    elif (release.folder / SIGNATURE).is_file():
        signature = "its signature was not checked (pass --key)"
    else:
        signature = "not signed"
    return [
        f"{release.name} is complete: {len(release.files)} files match the manifest; {signature}.",
        f"Digest sha256:{release.digest}",
    ]
