"""Finds the photos of a folder without labels, and keeps what cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from export.errors import CatalogueError
from export.training.dataset.refused import describe_refused
from export.training.dataset.tables import to_csv
from triptych.sources.photo_files import PHOTO_SUFFIXES, SkippedFile, SkippedFiles, printable_path, walk_photos
from triptych.sources.report import Skipped
from triptych.sources.rows import RefusedRow


@dataclass(frozen=True)
class Unlabelled:
    """The photos of a folder.

    Attributes:
        files: in the order of their folders.
        refused: photos, links and folders that cannot be read.
        skipped: everything else, by reason.
    """

    files: list[Path]
    refused: tuple[RefusedRow, ...]
    skipped: tuple[Skipped, ...]

    def without(self, unreadable: Mapping[Path, str]) -> Unlabelled:
        """The readable photos; the others are refused with their reason."""
        refused = [_refusal(str(photo), reason) for photo, reason in unreadable.items()]
        files = [photo for photo in self.files if photo not in unreadable]
        return replace(self, files=files, refused=(*self.refused, *refused))

    def conclude(self, file: Path, console: Console) -> dict[str, Any]:
        """Writes the refused photos and says how many there are; returns the part of a report, with exit code 1."""
        if not self.refused:
            return {}
        file.write_bytes(to_csv(["photo", "why"], [[one.photo, one.reason] for one in self.refused]))
        describe_refused(self.refused, len(self.files) + len(self.refused), console)
        console.print(f"They are in {file}, each with its reason. The exit status is 1.", markup=False)
        return {"refused": len(self.refused), "rejects": str(file), "exit_code": 1}


def find_unlabelled(folder: Path, console: Console) -> Unlabelled:
    """Lists the photos of a folder and prints what was skipped; opens none that has a known suffix.

    Raises:
        CatalogueError: there are no photos.
    """
    files, refused, skipped = [], [], SkippedFiles()
    for found in walk_photos(folder):
        if isinstance(found, SkippedFile):
            skipped.add(found)
            if found.reason.is_fault:
                refused.append(_refusal(found.path, f"{found.reason.value}{_detail(found)}."))
        else:
            files.append(Path(found))
    for each in skipped.by_reason():
        console.print(f"note: {each}.", markup=False)
    if not files:
        raise CatalogueError(f"{folder} contains no photo; expected files {' '.join(PHOTO_SUFFIXES)}.")
    return Unlabelled(files, tuple(refused), skipped.by_reason())


def show_unlabelled(folder: Path, console: Console) -> dict[str, Any]:
    """Prints the number of photos and what was skipped, for `--dry-run`; returns a report for JSON."""
    found = find_unlabelled(folder, console)
    console.print(f"{folder}: {len(found.files)} photos.", markup=False)
    if found.refused:
        describe_refused(found.refused, len(found.files) + len(found.refused), console)
    console.print("This was a dry run: nothing was computed and nothing was written.")
    return {
        "dry_run": True,
        "photos": len(found.files),
        "refused": [f"{one.photo}: {one.reason}" for one in found.refused],
        "skipped": [each.as_json() for each in found.skipped],
        "exit_code": 1 if found.refused else 0,
    }


def _refusal(path: str, reason: str) -> RefusedRow:
    return RefusedRow(0, None, printable_path(path), reason)


def _detail(found: SkippedFile) -> str:
    return f" ({found.detail})" if found.detail else ""
