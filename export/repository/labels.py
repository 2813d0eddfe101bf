"""Lines of `labels.txt`: class names and their retail categories, which `retail_classes.tsv` defines."""

from __future__ import annotations

import csv
from pathlib import Path

from export.errors import BackboneError

RETAIL_CLASSES_FILE = Path(__file__).with_name("retail_classes.tsv")

# Separates the retail category from the class name in labels.txt: "Shoes / running shoe".
SEPARATOR = " / "


def read_retail_categories() -> dict[int, str]:
    """ImageNet-1k class index -> retail category, for classes that are retail products."""
    with RETAIL_CLASSES_FILE.open(newline="", encoding="utf-8") as lines:
        return {int(row["index"]): row["retail_category"] for row in csv.DictReader(lines, delimiter="\t")}


def label_lines(class_names: tuple[str, ...], retail_categories: dict[int, str]) -> list[str]:
    """One line per class, as Triton's classification extension returns it: "Shoes / running shoe" or "tench"."""
    return [
        f"{retail_categories[index]}{SEPARATOR}{name}" if index in retail_categories else name
        for index, name in enumerate(class_names)
    ]


def read_label_lines(file: Path) -> list[str]:
    """The lines of a user's label file: plain names, or "Shoes / running shoe" for retail products.

    Raises:
        BackboneError: the file does not exist or is not text, or a line is empty or repeated.
    """
    try:
        lines = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BackboneError(
            f"Cannot read labels from {file}: {error}. Expected a text file with one class per line."
        ) from error
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line in seen:
            what = f"repeats line {seen[line]}, {line!r}" if line in seen else "is empty"
            raise BackboneError(f"{file}: line {number} {what}; expected one unique name per class.")
        seen[line] = number
    return lines
