"""The command `release`: packs a placed model repository into an immutable folder."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from export.cli.arguments import ROOT, HelpFormatter, add_json_option, as_path
from export.cli.execution import set_run
from export.release.assembly import find_files, make_release
from export.repository.configs import CHECKOUT_REPOSITORY
from export.repository.writable import require_writable

_EPILOG = """\
examples:
  triptych release                     releases/efficientnet-lite0-<digest>/
  triptych release --sign private.pem  signed with your own key (see docs/guides/release-and-publish.md)
"""


def add_parser(commands: Any) -> None:
    """Adds `release` to the command line."""
    command = commands.add_parser(
        "release",
        help="pack the placed models into an immutable, verified folder",
        description="Copies configs, the serving package, weights, labels and warm-up data into a read-only folder "
        "that is named by its digest, and adds a manifest, golden requests and a model card. The same inputs give "
        "the same release.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    command.add_argument(
        "--repository", type=as_path, default=CHECKOUT_REPOSITORY, help="model repository (default: %(default)s)"
    )
    command.add_argument(
        "--output", type=as_path, default=ROOT / "releases", help="folder of releases (default: %(default)s)"
    )
    command.add_argument("--sign", type=as_path, metavar="KEY", help="private key (PEM) to sign the release with")
    add_json_option(command)
    set_run(command, run)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Runs the command."""
    if options.sign is not None:
        from export.release.signing import require_private_key

        require_private_key(options.sign)
    size_bytes = sum(file.stat().st_size for _, file in find_files(options.repository))
    require_writable(options.output, size_bytes, "--output")
    with console.status("Making the release ..."):
        release = make_release(options.repository, options.output)
        if options.sign is not None:
            from export.release.signing import sign

            sign(release, options.sign)
    size_mb = sum((release.folder / name).stat().st_size for name in release.files) / 1e6
    signed = ", signed" if options.sign is not None else ""
    console.print(f"Released {release.folder}: {len(release.files)} files, {size_mb:.1f} MB{signed}.", markup=False)
    console.print(f"Digest sha256:{release.digest}", markup=False)
    return {"folder": str(release.folder), "digest": release.digest, "size_mb": round(size_mb, 1)}
