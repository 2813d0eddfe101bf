"""The commands `publish`, `rollback` and `prune`, which change the releases of a target."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from export.cli.arguments import HelpFormatter, add_json_option, as_path, positive_integer
from export.cli.execution import set_run
from export.errors import WrongUsage
from export.release.folder import DIGITS
from export.release.publishing import prune, publish, roll_back
from export.release.targets import CURRENT

_EPILOG = """\
examples:
  triptych publish releases/efficientnet-lite0-0123456789ab /srv/models
  triptych publish releases/efficientnet-lite0-0123456789ab s3://bucket/models
  triptych rollback /srv/models  the release published before the current one
  triptych rollback /srv/models --to 0123456789ab
  triptych prune /srv/models --keep 3
"""


def add_parser(commands: Any) -> None:
    """Adds the three commands to the command line."""
    command = _add_command(
        commands,
        "publish",
        "copy a release to the place that servers read",
        "Copies the release, checks the copy, then points TARGET/current to it in one step. If the command is killed, "
        "TARGET/current names the old release or the new one, and that release is complete.",
    )
    command.add_argument("release", type=as_path, metavar="RELEASE", help="folder of the release")
    _add_target(command, _publish)
    command = _add_command(
        commands,
        "rollback",
        "point to an earlier release",
        "Checks the earlier release, then points TARGET/current to it. Without --to: the release that was published "
        "before the current one.",
    )
    _add_target(command, _roll_back)
    command.add_argument(
        "--to", metavar="DIGEST", help=f"name of the release, or the first digits of its digest ({DIGITS})"
    )
    command.add_argument("--key", type=as_path, metavar="PUB", help="public key (PEM) that the signature must match")
    command.add_argument("--require-signature", action="store_true", help="refuse to roll back without --key")
    command = _add_command(
        commands,
        "prune",
        "remove old releases",
        "Keeps the N releases that were published last and the current one. A server that serves a removed release "
        "keeps what it has loaded, but cannot start from that release again.",
    )
    _add_target(command, _prune)
    command.add_argument(
        "--keep", type=positive_integer, required=True, metavar="N", help="releases to keep, at least 1"
    )


def _add_command(commands: Any, name: str, text: str, description: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=description,
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    return command


def _add_target(command: argparse.ArgumentParser, run: Any) -> None:
    command.add_argument(
        "target", type=_address, metavar="TARGET", help="a folder, or an fsspec URL such as s3://bucket/models"
    )
    add_json_option(command)
    set_run(command, run)


def _address(text: str) -> str:
    return text if "://" in text else str(as_path(text))


def _publish(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    before, current = publish(options.release, options.target)
    return _report(options, console, f"Published {current} to {options.target}.", before, current)


def _roll_back(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    if options.require_signature and options.key is None:
        raise WrongUsage("--require-signature needs the public key that releases are signed with: --key PUB.")
    before, current = roll_back(options.target, options.to, options.key)
    return _report(options, console, f"{options.target}/{CURRENT} is {current}.", before, current)


def _prune(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    removed, kept, current = prune(options.target, options.keep)
    console.print(f"Removed {', '.join(removed) or 'nothing'}; {kept} kept, current is {current}.", markup=False)
    return {"removed": removed, "current": current}


def _report(
    options: argparse.Namespace, console: Console, sentence: str, before: str | None, current: str
) -> dict[str, Any]:
    is_same = before in (None, current)
    console.print(sentence if is_same else f"{sentence} The previous release was {before}.", markup=False)
    return {"target": options.target, "before": before, "current": current}
