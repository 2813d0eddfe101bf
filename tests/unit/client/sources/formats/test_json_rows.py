"""JSON lines and arrays: each object is a row; a damaged one costs no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triptych.sources.rows import RefusedRow, Row
from triptych.sources.table import Table, open_table

OBJECTS: list[dict[str, Any]] = [
    {"id": f"P{n}", "price": n + 0.5, "tags": ["a", "b"], "variants": [{"id": 1}, {"id": 2}]} for n in range(1, 11)
]
MINIFIED = json.dumps(OBJECTS)
INDENTED = json.dumps(OBJECTS, indent=2)
LINES = "".join(json.dumps(each) + "\n" for each in OBJECTS)


def table_of(tmp_path: Path, content: str | bytes) -> Table:
    path = tmp_path / "t.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_table(path)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"P5"', '"P5'),
        ('"P5"', 'P5"'),
        ("5.5", "5..5"),
        ("5.5", "05.5"),
        ("5.5", "1e999"),
        ("5.5", "1" * 30),
        ("5.5", "1" * 5000),
        ("5.5", "[" * 100_000),
        ('"P5"', '"\\ud83d"'),
        ('"P5"', '"P5", "id": "P5b"'),
        ('"P5"', '"P5", "\\udc00": 1'),
        ('"P5"', '"P5", "note": "\\x"'),
    ],
)
@pytest.mark.parametrize("form", [MINIFIED, INDENTED, LINES], ids=["minified", "indented", "lines"])
def test_json_object_alone_is_refused_when_it_is_damaged(form: str, right: str, wrong: str, tmp_path: Path) -> None:
    rows = list(table_of(tmp_path, form.replace(right, wrong, 1)))
    assert [type(row) for row in rows] == [*[Row] * 4, RefusedRow, *[Row] * 5]
    assert [row.values for row in rows if isinstance(row, Row)] == OBJECTS[:4] + OBJECTS[5:]


@pytest.mark.parametrize("form", [MINIFIED, INDENTED], ids=["minified", "indented"])
def test_json_object_alone_is_refused_when_its_brace_is_missing(form: str, tmp_path: Path) -> None:
    at = form.index('"P6"')
    end = form.rindex("}", 0, at)
    rows = list(table_of(tmp_path, form[:end] + form[end + 1 :]))
    assert [type(row) for row in rows] == [*[Row] * 4, RefusedRow, *[Row] * 5]


def test_json_row_names_line_column_and_value_when_a_value_is_refused(tmp_path: Path) -> None:
    refused = list(table_of(tmp_path, INDENTED.replace("5.5", "9" * 30)))[4]
    assert isinstance(refused, RefusedRow)
    assert refused.line == INDENTED[: INDENTED.index('"P5"')].count("\n")  # its brace is a line above
    assert (refused.column, refused.value) == ("price", "9" * 30)
    assert refused.values is not None
    assert refused.values["id"] == "P5"


def test_json_row_tells_its_id_when_its_line_is_damaged(tmp_path: Path) -> None:
    refused = list(table_of(tmp_path, LINES.replace("5.5", "5..5")))[4]
    assert isinstance(refused, RefusedRow)
    assert (refused.row, refused.line) == (5, 5)
    assert refused.values == {"id": "P5"}


@pytest.mark.parametrize("cut", [1, 30])
def test_json_array_says_that_rows_are_lost_when_the_file_is_cut(cut: int, tmp_path: Path) -> None:
    rows = list(table_of(tmp_path, MINIFIED[:-cut]))
    assert [row.values for row in rows if isinstance(row, Row)] == OBJECTS[: 10 if cut == 1 else 9]
    last = rows[-1]
    assert isinstance(last, RefusedRow)
    assert "ends in the middle" in last.reason


def test_json_elements_are_refused_when_they_are_no_objects(tmp_path: Path) -> None:
    rows = list(table_of(tmp_path, json.dumps([{"id": "P1"}, "text", None, 5, [1], {"id": "P2"}])))
    assert [isinstance(row, Row) for row in rows] == [True, False, False, False, False, True]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("element", ['{{"id": "P{n}", "name": "x"', '{{"id": "P{n}, "name": "x"}}', '{{"id": P{n}}}'])
def test_json_elements_are_told_apart_when_all_are_damaged(element: str, tmp_path: Path) -> None:
    damaged = ", ".join(element.format(n=n) for n in range(5_000))
    rows = list(table_of(tmp_path, f'{{"products": [{{"id": "P", "name": "y"}}, {damaged}]}}'))
    assert [isinstance(row, Row) for row in rows] == [True, *[False] * 5_000]


def test_json_element_is_read_when_it_is_longer_than_many_chunks(tmp_path: Path) -> None:
    objects = [{"id": f"P{n}", "text": '},{"' * 200_000, "more": [{}]} for n in range(3)]
    assert [row.values for row in table_of(tmp_path, json.dumps(objects))] == objects


def test_json_numbers_stay_exact_and_empty_ones_are_absent(tmp_path: Path) -> None:
    content = '{"id": "007", "a": 9223372036854775807, "b": NaN, "c": null, "d": "", "e": true, "f": "ü😀", "g": 0}\n'
    assert [row.values for row in table_of(tmp_path, content)] == [
        {"id": "007", "a": 2**63 - 1, "e": True, "f": "ü😀", "g": 0}
    ]


def test_json_lines_are_read_when_commas_end_them(tmp_path: Path) -> None:
    assert [row.values for row in table_of(tmp_path, LINES.replace("}\n", "},\n"))] == OBJECTS


def test_json_array_is_read_when_it_is_longer_than_a_chunk(tmp_path: Path) -> None:
    objects = [{"id": f"P{n}", "text": "ä" * (n % 7000)} for n in range(500)]
    text = json.dumps({"count": 500, "items": objects}, ensure_ascii=False, indent=1)
    rows = list(table_of(tmp_path, text))
    assert [{"text": "", **(row.values or {})} for row in rows] == objects
    lines = [number for number, line in enumerate(text.split("\n"), 1) if line == "  {"]
    assert [row.line for row in rows] == lines


VALUES = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('abc{}[]",:', max_size=3), inner, max_size=3),
    max_leaves=6,
)
DAMAGED = [
    '{"id": }',
    '{"id": "x"',
    '{"id": "x}',
    '{"id": 1' + "0" * 30 + "}",
    '"text"',
    '{"id": "\\udc00"}',
    "{id: 1}",
]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4).map(lambda each: {"id": "P", **each})
        | st.sampled_from(DAMAGED),
        max_size=12,
    ),
    form=st.sampled_from(["lines", "array"]),
)
def test_json_accounts_for_each_row_when_good_and_bad_are_mixed(
    rows: list[dict[str, Any] | str], form: str, tmp_path: Path
) -> None:
    rows = [{"id": "first"}, *rows]
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    text = "\n".join(texts) if form == "lines" else "[" + ",\n".join(texts) + "]"
    read = list(table_of(tmp_path, text))
    assert [row.row if isinstance(row, RefusedRow) else row.number for row in read] == list(range(1, len(read) + 1))
    good = [{name: value for name, value in row.items() if value != ""} for row in rows if isinstance(row, dict)]
    assert [row.values for row in read if isinstance(row, Row)] == good
    # In an array, only objects that begin as others do can be told from the damaged one before them.
    are_alike = all(not isinstance(row, str) or row.startswith('{"id"') for row in rows)
    assert len(read) == len(rows) or (form == "array" and not are_alike)
