"""Class names and the shelf each belongs to. `retail_classes.tsv` is the home of the retail categories."""

from __future__ import annotations

import csv
from pathlib import Path

RETAIL_CLASSES_FILE = Path(__file__).with_name("retail_classes.tsv")

# Stands between the retail category and the name in labels.txt: "Shoes / running shoe".
SEPARATOR = " / "


def read_retail_categories() -> dict[int, str]:
    """ImageNet-1k class index -> retail category, for the classes a shop sells."""
    with RETAIL_CLASSES_FILE.open(newline="", encoding="utf-8") as lines:
        return {int(row["index"]): row["retail_category"] for row in csv.DictReader(lines, delimiter="\t")}


def label_lines(class_names: tuple[str, ...], retail_categories: dict[int, str]) -> list[str]:
    """One line a class, as Triton's classification extension will answer it: "Shoes / running shoe" or "tench"."""
    return [
        f"{retail_categories[index]}{SEPARATOR}{name}" if index in retail_categories else name
        for index, name in enumerate(class_names)
    ]
