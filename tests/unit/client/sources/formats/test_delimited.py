"""CSV as shops have it: delimiters, quotes, encodings, headers, damaged rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triptych.sources.rows import RefusedRow, Row
from triptych.sources.table import Table, TableOptions, open_table


def table_of(tmp_path: Path, content: bytes | str, options: TableOptions | None = None) -> Table:
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_table(path, options)


def values_of(table: Table) -> list[dict[str, object]]:
    return [dict(row.values) for row in table if isinstance(row, Row)]


def ten(line: str, header: str = "id,name,price\n", bad: str | None = None) -> str:
    """A header and ten rows, of which the fifth is `bad`."""
    rows = [line.format(n=n) if n != 5 or bad is None else bad for n in range(1, 11)]
    return header + "".join(rows)


@pytest.mark.parametrize(
    ("content", "said", "fifth"),
    [
        (ten("P{n};{n},90;3,5\n", "id;price;size\n"), ["semicolons between the columns"], ["P5", "5,90", "3,5"]),
        (ten("P{n}\ta, b\tc;d\n", "id\tx\ty\n"), ["tabs between the columns"], ["P5", "a, b", "c;d"]),
        (ten("P{n}|a, b|c;d\n", "id|x|y\n"), ["vertical bars between the columns"], ["P5", "a, b", "c;d"]),
        (ten("P{n};{n},90;x\n", "id;price, EUR;unit\n"), ["semicolons"], ["P5", "5,90", "x"]),
        (ten("P{n};{n},90\n", "id;price,EUR\n"), ["semicolons"], ["P5", "5,90"]),
        ("sep=;\n" + ten("P{n};a,b;c\n", "id;x;y\n"), ["'sep=;', names the delimiter"], ["P5", "a,b", "c"]),
        ("SEP=\t\r\n" + ten("P{n}\ta\tc\n", "id\tx\ty\n"), ["names the delimiter", "tabs"], ["P5", "a", "c"]),
        (ten("P{n}^a^c\n", "id^x^y\n"), ["one column"], ["P5^a^c"]),
        ("\ufeff" + ten("P{n},a,{n}\n"), [], ["P5", "a", "5"]),
        (ten("P{n},a,{n}\n").replace("\n", "\r"), [], ["P5", "a", "5"]),
        (ten("P{n},a,{n}\n").replace("\n", "\r\n\r\n"), [], ["P5", "a", "5"]),
        (ten("P{n},a,{n}\r\n", bad="P5,a,5\n"), [], ["P5", "a", "5"]),
        (ten("P{n},a,{n}\n", bad='P5,"a\n\nb",5\n'), [], ["P5", "a\n\nb", "5"]),
        (ten("P{n},a,{n}\n", bad='P5,"a ""b"", c",5\n'), [], ["P5", 'a "b", c', "5"]),
        (ten('P{n},"20\\" wide, ""x""",{n}\n', bad='P5,"20\\" wide",5\n'), [], ["P5", '20" wide', "5"]),
        (ten("P{n},a,{n}\n", bad='P5,"wide 5\\", red",5\n'), [], ["P5", 'wide 5", red', "5"]),
        (ten('P{n},"C:\\new\\",{n}\n'), [], ["P5", "C:\\new\\", "5"]),
        (ten('P{n}, "a, b", {n}\n', "id, name, price\n"), ["blanks between"], ["P5", "a, b", "5"]),
        (
            ten('P{n}\t"{n} inch\tx\n', "id\tname\tprice\n"),
            ["quotes are characters like others"],
            ["P5", '"5 inch', "x"],
        ),
        (ten("P{n},a,{n},\n", "id,name,price,\n"), ["ends with a delimiter"], ["P5", "a", "5"]),
        (ten("P{n},a,{n},,\n"), [], ["P5", "a", "5"]),
        (ten("P{n},a,{n}\n") + ",,\n,,\n", [], ["P5", "a", "5"]),
        ("Export of my shop\n\n" + ten("P{n},a,{n}\n"), ["title", "Export of my shop"], ["P5", "a", "5"]),
        ("Price list;;\n;;\n" + ten("P{n};a;{n}\n", "id;x;y\n"), ["titles", "Price list"], ["P5", "a", "5"]),
        ("Preisliste,,\n" + ten("P{n},a,{n}\n"), ["title", "Preisliste"], ["P5", "a", "5"]),
        (ten("Dress, red {n}\n", "name\n"), ["one column"], ["Dress, red 5"]),
        (ten("P{n},a,{n}\n") + "\x1a", [], ["P5", "a", "5"]),
        (ten("P{n},a,{n}\n", "\ufeffid,x,y\n").encode("utf-8-sig").decode(), [], ["P5", "a", "5"]),
        (ten("https://a.example/w_1,h_2/{n}.jpg\n", "photo\n"), ["one column"], ["https://a.example/w_1,h_2/5.jpg"]),
        (ten("P{n},a,{n}\n", bad=f"P5,{'x' * 200_000},5\n"), [], ["P5", "x" * 200_000, "5"]),
        (ten("P{n},a,{n}\n", 'id,"na\nme",price\n'), [], ["P5", "a", "5"]),
        (ten("{n},P{n},a\n", ",id,x\n"), ["no name: read as 'column 1'"], ["5", "P5", "a"]),
        (ten("P{n},a,b\n", "id,tag,tag\n"), ["'tag' is there again: read as 'tag 2'"], ["P5", "a", "b"]),
    ],
)
def test_csv_is_read_when_it_is_written_in_another_way(
    content: str, said: list[str], fifth: list[str], tmp_path: Path
) -> None:
    table = table_of(tmp_path, content)
    rows = list(table)
    assert len(rows) == 10
    assert [row for row in rows if isinstance(row, RefusedRow)] == []
    assert list((rows[4].values or {}).values()) == fifth
    told = "; ".join(table.understood)
    assert all(sentence in told for sentence in said), told
    assert bool(said) == bool(table.understood)


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", "UTF-16, by its byte order mark"),
        ("utf-16-le", "UTF-16, without a byte order mark"),
        ("utf-16-be", "UTF-16, without a byte order mark"),
        ("utf-32", "UTF-32, by its byte order mark"),
        ("utf-32-be", "UTF-32, without a byte order mark"),
        ("cp1252", "Windows-1252 (Western European), guessed"),
        ("mac_roman", "Mac Roman, guessed"),
    ],
)
def test_csv_is_read_when_its_encoding_differs(encoding: str, said: str | None, tmp_path: Path) -> None:
    text = "id;name\r\n" + "".join(f"P{n};Größe für Männer, süß\r\n" for n in range(1, 6))
    table = table_of(tmp_path, text.encode(encoding))
    assert values_of(table) == [{"id": f"P{n}", "name": "Größe für Männer, süß"} for n in range(1, 6)]
    assert table.understood[:-1] == () if said is None else said in table.understood[0]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1250", "Sukienka żółta dziewczęca, błękitna"),
        ("cp1251", "Платье женское красное, хлопок"),
        ("cp1253", "Φόρεμα γυναικείο κόκκινο"),
        ("cp1254", "Kırmızı kadın elbisesi, şık çanta"),
        ("koi8_r", "Ботинки мужские зимние"),
        ("cp932", "レディースドレス赤い綿のシャツ"),
        ("gb18030", "女士连衣裙红色棉质"),
        ("cp949", "여성 드레스 빨간색 면"),
    ],
)
def test_csv_is_read_when_its_language_is_not_western(encoding: str, text: str, tmp_path: Path) -> None:
    pytest.importorskip("charset_normalizer")
    table = table_of(tmp_path, f"id;name\n1;{text}\n2;{text}\n".encode(encoding))
    assert [row["name"] for row in values_of(table)] == [text, text]
    assert "guessed" in table.understood[0]


def test_csv_is_western_when_the_first_letters_come_late(tmp_path: Path) -> None:
    table = table_of(tmp_path, b"id,name\n" + b"P1,plain\n" * 200_000 + b"P2,gr\xfcn\n")
    assert list(table)[-1].values == {"id": "P2", "name": "grün"}


@pytest.mark.parametrize(
    ("bad", "reason", "line"),
    [
        (b"P5,a,b,5\n", "it has 4 cells, the header has 3", 6),
        (b"P5,a\n", "it has 2 cells, the header has 3", 6),
        (b'P5,"a,5\n', "a quote that opens in this line is not closed", 6),
        (b'"P5","a,"5"\n', "quote", 6),
        (b'P5,"a" b,5\n', "text follows a closing quote", 6),
        (b"P5,gr\xfc\xfcn,5\n", "bytes that are no text in UTF-8", 6),
        (b"P5,\xed\xa0\xbd,5\n", "bytes that are no text in UTF-8", 6),
        (b"id,name,price\n", "it is the header again", 6),
        (b"P5,a\0b,5\n", "NUL character", 6),
    ],
)
@pytest.mark.parametrize("quoted", [False, True])
def test_csv_row_alone_is_refused_when_it_is_damaged(
    bad: bytes, reason: str, line: int, quoted: bool, tmp_path: Path
) -> None:
    row = '"P{n}","ä, {n}","{n}"\n' if quoted else "P{n},ä,{n}\n"
    content = ten(row, bad="BAD").encode().replace(b"BAD", bad)
    rows = list(table_of(tmp_path, content))
    assert [type(each) for each in rows] == [*[Row] * 4, RefusedRow, *[Row] * 5]
    refused = rows[4]
    assert isinstance(refused, RefusedRow)
    assert (refused.row, refused.line) == (5, line)
    assert reason in refused.reason
    assert refused.values is not None
    assert next(iter(refused.values.values())).strip('"') in ("P5", "id")


def test_csv_rows_are_read_when_no_quote_follows_an_open_one_for_long(tmp_path: Path) -> None:
    rows = "".join(f"P{n},a,{n}\n" for n in range(20_000))
    read = list(table_of(tmp_path, f'id,name,price\nP0,"a,5\n{rows}P,a",5\n'))
    assert len(read) == 20_002
    assert sum(isinstance(row, RefusedRow) for row in read) == 1


@pytest.mark.parametrize(
    ("header", "columns", "said"),
    [
        ("\ufeff\ufeff id , Image Src ,x", ("id", "Image Src", "x"), 0),
        ("id,name,name,name 2,name", ("id", "name", "name 3", "name 2", "name 4"), 2),
        ("id,,x", ("id", "column 2", "x"), 1),
        ("id,column 2,,column 3", ("id", "column 2", "column 3 2", "column 3"), 1),
        ("SKU,sku", ("SKU", "sku"), 0),
    ],
)
def test_csv_names_each_column_once_when_the_header_does_not(
    header: str, columns: tuple[str, ...], said: int, tmp_path: Path
) -> None:
    table = table_of(tmp_path, header + "\n")
    assert table.columns == columns
    assert len(table.understood) == said
    assert list(table) == []


CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\r\t"), max_size=12)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    # Python's writer quotes no line end but its own, so only with "\r\n" may it choose.
    style=st.sampled_from([(csv.QUOTE_MINIMAL, "\r\n"), *((csv.QUOTE_ALL, end) for end in ("\n", "\r\n", "\r"))]),
)
def test_csv_gives_back_what_was_written_when_cells_are_random(
    cells: list[tuple[str, str]], delimiter: str, encoding: str, style: tuple[Literal[0, 1], str], tmp_path: Path
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=style[0], lineterminator=style[1])
    writer.writerow(["id", "first", "second"])
    writer.writerows([f"P{n}", *pair] for n, pair in enumerate(cells))
    table = table_of(tmp_path, text.getvalue().encode(encoding), TableOptions(delimiter=delimiter))
    expected = [
        {name: cell for name, cell in zip(("id", "first", "second"), (f"P{n}", *pair), strict=True) if cell}
        for n, pair in enumerate(cells)
    ]
    assert [row.values for row in table] == expected
    assert [row.row if isinstance(row, RefusedRow) else row.number for row in table] == list(range(1, len(cells) + 1))


GOOD = [b"P,a,1\n", b'P,"a, ""b""",1\n', b'P,"a\nb",1\n', "P,ä,1\n".encode(), b'"P","a","1"\r\n']
BAD = [b"P,a\n", b"P,a,b,c\n", b'P,"a,1\n', b"P,\xff\xfe,1\n", b"P,\0,1\n", b'P,"a"b,1\n']


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.one_of(st.sampled_from(GOOD), st.sampled_from(BAD)), max_size=30))
def test_csv_accounts_for_each_row_when_good_and_bad_are_mixed(rows: list[bytes], tmp_path: Path) -> None:
    letters = "P,Größe,1\n".encode() * (len(rows) + 1)  # the file is UTF-8, whatever single rows are
    read = list(table_of(tmp_path, b"id,name,price\n" + letters + b"".join(rows)))
    assert [row.row if isinstance(row, RefusedRow) else row.number for row in read] == list(range(1, len(read) + 1))
    kinds = [isinstance(row, Row) for row in read[len(rows) + 1 :]]
    assert kinds == [row in GOOD for row in rows]
