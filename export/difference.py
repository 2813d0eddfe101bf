"""`diff`: what changed between two model repositories or releases: files, config fields, labels, figures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from export.contents import config_fields, describe, read_facts
from export.contract import LABELS
from export.model_card import flatten
from export.release import find_files
from export.release_folder import sha256_of

LABELS_SHOWN = 20


def add_parser(commands: Any) -> None:
    command = commands.add_parser(
        "diff",
        help="show what differs between two model repositories or releases",
        description="Files, config fields, labels and figures. Exit 0 when nothing differs, 1 when something does.",
    )
    command.add_argument("before", type=Path, metavar="A")
    command.add_argument("after", type=Path, metavar="B")
    command.add_argument("--json", action="store_true", help="print it as JSON")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    difference = compare(options.before, options.after)
    for line in _describe(difference) or ["Nothing differs."]:
        console.print(line, markup=False)
    return {**difference, "exit_code": 1 if any(difference.values()) else 0}


def compare(before: Path, after: Path) -> dict[str, Any]:
    """What differs: files by status, configs by field, labels by file, facts by path; each empty when nothing does.

    Raises:
        ExportError: one of them holds no models, or cannot be read.
    """
    describe(before), describe(after)  # refuses what is no repository
    left, right = dict(find_files(before)), dict(find_files(after))
    both = sorted(left.keys() & right.keys())
    changed = [name for name in both if sha256_of(left[name]) != sha256_of(right[name])]
    files = dict.fromkeys(left.keys() - right.keys(), "removed")
    files |= dict.fromkeys(right.keys() - left.keys(), "added") | dict.fromkeys(changed, "changed")
    configs = {
        name: _changes(config_fields(left[name]), config_fields(right[name]))
        for name in changed
        if name.endswith(".pbtxt")
    }
    labels = {name: _label_changes(left[name], right[name]) for name in changed if Path(name).name == LABELS}
    return {
        "files": dict(sorted(files.items())),
        "configs": {name: changes for name, changes in configs.items() if changes},
        "labels": labels,
        "facts": _changes(_facts(before), _facts(after)),
    }


def _facts(folder: Path) -> dict[str, Any]:
    facts = {key: value for key, value in read_facts(folder).items() if key not in ("files", "golden", "release")}
    return dict(flatten(facts))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Path -> (value before, value after); None where there is none."""
    paths = [*before, *(path for path in after if path not in before)]
    return {path: (before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)}


def _label_changes(before: Path, after: Path) -> dict[str, list[str]]:
    left, right = (file.read_text(encoding="utf-8").splitlines() for file in (before, after))
    stays = [line for line in left if line in set(right)]
    has_moved = stays != [line for line in right if line in set(left)] or (
        len(left) == len(right) and set(left) == set(right) and left != right
    )
    return {
        "removed": [line for line in left if line not in set(right)],
        "added": [line for line in right if line not in set(left)],
        "note": ["the others stand in another order"] if has_moved else [],
    }


def _describe(difference: dict[str, Any]) -> list[str]:
    lines = [f"{status:<8} {name}" for name, status in difference["files"].items()]
    for name, changes in difference["configs"].items():
        lines += [f"{name}: {path} {_arrow(change)}" for path, change in changes.items()]
    for name, changes in difference["labels"].items():
        for word in ("removed", "added"):
            shown = changes[word][:LABELS_SHOWN]
            lines += [f"{name}: {word} {line}" for line in shown]
            if len(changes[word]) > len(shown):
                lines.append(f"{name}: {word} {len(changes[word]) - len(shown)} more")
        lines += [f"{name}: {note}" for note in changes["note"]]
    return lines + [f"{path} {_arrow(change)}" for path, change in difference["facts"].items()]


def _arrow(change: tuple[Any, Any]) -> str:
    before, after = ("(none)" if value is None else value for value in change)
    return f"{before} -> {after}"
