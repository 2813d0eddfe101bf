"""`publish`, `rollback`, `prune`: releases in a place that servers serve from, and which of them is `current`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from export.errors import ReleaseError, WrongUsage
from export.release_folder import DIGITS, read_release, require_whole
from export.targets import CURRENT, Target, open_target

_EPILOG = """\
examples:
  python -m export publish releases/efficientnet-lite0-0123456789ab /srv/models
  python -m export publish releases/efficientnet-lite0-0123456789ab s3://bucket/models
  python -m export rollback /srv/models                       the release published before the current one
  python -m export rollback /srv/models --to 0123456789ab
  python -m export prune /srv/models --keep 3
"""


def add_parser(commands: Any) -> None:
    """Adds all three."""
    form = argparse.RawDescriptionHelpFormatter
    command = commands.add_parser(
        "publish",
        help="put a release where servers serve from, whole or not at all",
        description="Copy the release, check the copy, then point TARGET/current to it in one step. Killed at any "
        "moment, TARGET/current names the old release or the new one, whole.",
        epilog=_EPILOG,
        formatter_class=form,
    )
    command.add_argument("release", type=Path, metavar="RELEASE", help="folder of the release")
    _add_target(command, publish)
    command = commands.add_parser(
        "rollback",
        help="point to an earlier release",
        description="Without --to: the release published before the current one. It is checked first.",
        epilog=_EPILOG,
        formatter_class=form,
    )
    _add_target(command, rollback)
    command.add_argument(
        "--to", metavar="DIGEST", help=f"the first digits of its digest, or its name ({DIGITS} digits)"
    )
    command = commands.add_parser(
        "prune",
        help="remove old releases",
        description="Keep the N last published releases and, whatever its age, the current one. A server that still "
        "serves an older one keeps what it has loaded, and cannot start from it again.",
        epilog=_EPILOG,
        formatter_class=form,
    )
    _add_target(command, prune)
    command.add_argument("--keep", type=_count, required=True, metavar="N", help="how many to keep, at least 1")


def _add_target(command: argparse.ArgumentParser, run: Any) -> None:
    command.add_argument("target", metavar="TARGET", help="a folder, or an address fsspec knows, s3://bucket/models")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.set_defaults(run=run)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} releases, expected at least 1")
    return number


def publish(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Raises:
    ExportError: the release is not whole, or the target cannot be written; it is as it was.
    """
    release = read_release(options.release)
    require_whole(release)
    target = open_target(options.target)
    with target.locked():
        before = target.current()
        target.add(release)
        target.point_to(release.name)
    return _tell(options, console, f"Published {release.name} to {options.target}.", before, release.name)


def rollback(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Raises:
    ExportError: there is no such release, or it is not whole; the target is as it was.
    """
    target = open_target(options.target)
    with target.locked():
        before = target.current()
        name = _choose(target, before, options.to)
        target.require_whole(name)
        target.point_to(name)
    return _tell(options, console, f"{options.target}/{CURRENT} is {name}.", before, name)


def _choose(target: Target, current: str | None, wanted: str | None) -> str:
    names = target.names()
    having = f"It has: {', '.join(names) or 'none'}."
    if wanted is None:
        older = names[names.index(current) + 1 :] if current in names else []
        if not older:
            raise ReleaseError(f"Nothing was published before {current or 'the first release'}. {having}")
        return older[0]
    digits = wanted.removeprefix("sha256:")[:DIGITS]
    found = [name for name in names if name == wanted or (digits and name.rpartition("-")[2].startswith(digits))]
    if len(found) != 1:
        raise WrongUsage(f"{wanted!r} names {len(found)} releases, expected one. {having}")
    return found[0]


def prune(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Raises:
    ExportError: a release cannot be removed.
    """
    target = open_target(options.target)
    with target.locked():
        current, names = target.current(), target.names()
        removed = [name for name in names[options.keep :] if name != current]
        for name in removed:
            target.remove(name)
    kept = len(names) - len(removed)
    console.print(f"Removed {', '.join(removed) or 'nothing'}; {kept} kept, current is {current}.", markup=False)
    return {"removed": removed, "current": current}


def _tell(options: argparse.Namespace, console: Console, sentence: str, before: str | None, now: str) -> dict[str, Any]:
    console.print(sentence if before in (None, now) else f"{sentence} Before it: {before}.", markup=False)
    return {"target": options.target, "before": before, "current": now}
