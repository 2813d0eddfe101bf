"""Differences between two model repositories or releases: files, config fields, labels and measurements."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.release.assembly import find_files
from export.release.contents import config_fields, describe, read_facts
from export.release.folder import sha256_of
from export.release.model_card import flatten
from export.repository.configs import LABELS


def compare(before: Path, after: Path) -> dict[str, Any]:
    """Differences: files by status, configs by field, labels by file, facts by path; empty without differences.

    Raises:
        ExportError: one of the folders contains no models, or cannot be read.
    """
    describe(before), describe(after)  # refuses folders that are not repositories
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
    """Path -> (value before, value after); None for a missing value."""
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
        "note": ["the other labels are in another order"] if has_moved else [],
    }
