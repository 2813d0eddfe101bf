"""A row of a catalogue, and how the user wants catalogues to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from export.training.dataset.tables import Columns
from triptych.sources.folder import FIRST_LEVEL
from triptych.sources.rows import RefusedRow
from triptych.sources.table import TableOptions


@dataclass(frozen=True)
class Row:
    """One photo.

    Attributes:
        photo: path of the photo.
        labels: attribute -> label; without attributes whose label is unknown.
        product: all photos of one product go into the same split; None if unknown.
        split: "train", "validation" or "test" if the table or the folders have it.
        number: of the row in the table, from 1; 0 in a folder.
        line: of the text file where the row begins, from 1.
    """

    photo: Path
    labels: Mapping[str, str]
    product: str | None = None
    split: str | None = None
    number: int = 0
    line: int | None = None


@dataclass(frozen=True)
class ReadingOptions:
    """What the user says about a catalogue; the rest is found out.

    Attributes:
        columns: of a table.
        table: encoding, delimiter and sheet of a table.
        class_level: level of the folder that names the class, see `open_class_folder`.
        has_split_folders: whether folders named train, val or test are splits.
    """

    columns: Columns = field(default_factory=Columns)
    table: TableOptions = field(default_factory=TableOptions)
    class_level: int = FIRST_LEVEL
    has_split_folders: bool = True


def sentence_of(refused: RefusedRow) -> str:
    """The place and the reason of a refused row; a photo of a folder has the row 0."""
    return str(refused) if refused.row else f"{refused.photo}: {refused.reason}"
