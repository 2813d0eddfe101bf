"""Columns of the command's tables."""

from __future__ import annotations

import numpy as np
import pytest

from triptych import Label, Recognition, Timing
from triptych.cli.report import Table, cells, padded, printable, shortened


def recognition(*names: str) -> Recognition:
    return Recognition(
        labels=tuple(Label(name, "Shoes", 0.5, index) for index, name in enumerate(names)),
        retail_score=1.0,
        abstained=not names,
        embedding=np.ones(1, np.float32),
        model="recognizer",
        model_version="1",
        request_id="1",
        timing=Timing(total_s=0.0123, remote_s=0.01, tries=1),
    )


@pytest.mark.parametrize(("text", "width"), [("shoe", 4), ("写真", 4), ("e\u0301cran", 5), ("ｶﾒﾗ", 3), ("", 0)])
def test_cells_are_columns_of_a_terminal(text: str, width: int) -> None:
    assert cells(text) == width
    assert cells(padded(text, 8)) == 8


def test_printable_escapes_only_what_a_terminal_could_obey() -> None:
    assert printable("写真\x1b[2J\udcff\n.jpg") == r"写真\x1b[2J\udcff\n.jpg"


@pytest.mark.parametrize(
    ("text", "expected"), [("a/b.jpg", "a/b.jpg"), ("folder/shoe.jpg", "…hoe.jpg"), ("写真写真.jpg", "…真.jpg")]
)
def test_shortened_keeps_the_end(text: str, expected: str) -> None:
    assert shortened(text, 8) == expected


def test_labels_are_below_each_other_when_names_are_wide_or_long() -> None:
    names = ["写真.jpg", "a" * 100 + ".jpg", "b.jpg"]
    table = Table(names, columns=80)
    lines = [
        table.header(),
        *(line for name in names for line in table.rows(name, recognition("one", "two")).split("\n")),
    ]
    assert {cells(line.partition("LABEL" if "LABEL" in line else "Shoes")[0]) for line in lines} == {
        cells(lines[0].partition("LABEL")[0])
    }
    assert lines[3].startswith("…aaa")
    assert max(map(cells, lines)) <= 80


def test_names_are_whole_when_there_is_no_terminal() -> None:
    name = "a" * 300 + ".jpg"
    assert Table([name]).rows(name, recognition("one")).startswith(f"{name}    12.3   1.000   0.500  Shoes / one")
