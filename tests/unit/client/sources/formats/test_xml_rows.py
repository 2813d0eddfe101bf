"""Feeds: Google Merchant in RSS and Atom, and others; a damaged product costs no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triptych.sources.rows import RefusedRow, Row
from triptych.sources.table import Table, open_table

RSS = (
    '<?xml version="1.0" encoding="{encoding}"?>\n<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0">\n'
    "<channel><title>Shop</title><link>https://shop.example</link>\n{items}</channel></rss>\n"
)
ITEM = (
    "<item><g:id>P{n}</g:id><title>Kleid &amp; {n}</title><g:price>5.90 EUR</g:price>"
    "<g:image_link>https://shop.example/{n}.jpg</g:image_link>"
    "<g:additional_image_link>a</g:additional_image_link><g:additional_image_link>b</g:additional_image_link>"
    "<g:shipping><g:country>DE</g:country><g:price>1 EUR</g:price></g:shipping>"
    "<description><![CDATA[<b>soft</b> </item>]]></description></item>\n"
)
ITEMS = "".join(ITEM.format(n=n) for n in range(1, 11))


def table_of(tmp_path: Path, content: str | bytes) -> Table:
    path = tmp_path / "feed.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_table(path)


def values(n: int) -> dict[str, object]:
    return {
        "g:id": f"P{n}",
        "title": f"Kleid & {n}",
        "g:price": "5.90 EUR",
        "g:image_link": f"https://shop.example/{n}.jpg",
        "g:additional_image_link": ["a", "b"],
        "g:shipping": {"g:country": "DE", "g:price": "1 EUR"},
        "description": "<b>soft</b> </item>",
    }


def test_feed_gives_lists_and_objects_when_elements_repeat_or_nest(tmp_path: Path) -> None:
    table = table_of(tmp_path, RSS.format(encoding="UTF-8", items=ITEMS))
    assert [row.values for row in table] == [values(n) for n in range(1, 11)]
    assert [row.line for row in table] == list(range(4, 14))
    assert table.columns == tuple(values(1))
    assert table.understood == ("one row for each rss > channel > item",)


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "windows-1252", "UTF-8", "UTF-16"])
def test_feed_is_read_when_it_declares_its_encoding(encoding: str, tmp_path: Path) -> None:
    text = RSS.format(encoding=encoding, items=ITEMS.replace("Kleid", "Größe"))
    rows = list(table_of(tmp_path, text.encode(encoding)))
    assert [row.values["title"] for row in rows if isinstance(row, Row)] == [f"Größe & {n}" for n in range(1, 11)]


@pytest.mark.parametrize(
    ("content", "first"),
    [
        (
            '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:c="http://base.google.com/ns/1.0"><title>x</title>'
            '<entry><c:id>P1</c:id><title type="text">t</title><link href="https://a.example"/></entry></feed>',
            {"g:id": "P1", "title": "t", "title@type": "text", "link": "https://a.example"},
        ),
        (
            '<yml_catalog><shop><categories><category id="1">A</category><category id="2">B</category></categories>'
            '<offers><offer id="P1" available="true"><price>5</price><param name="C">red</param></offer></offers>'
            "</shop></yml_catalog>",
            {"@id": "P1", "@available": "true", "price": "5", "param": "red", "param@name": "C"},
        ),
        ("<list><thing><id>P1</id></thing><thing><id>P2</id></thing></list>", {"id": "P1"}),
        ('<list><p id="P1" name="n"/><p id="P2"/></list>', {"@id": "P1", "@name": "n"}),
        ("<!-- <product><id>no</id></product> --><a><product><id>P1</id></product></a>", {"id": "P1"}),
    ],
)
def test_feed_is_read_when_its_elements_have_other_names(content: str, first: dict[str, str], tmp_path: Path) -> None:
    assert next(iter(table_of(tmp_path, content))).values == first


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("Kleid &amp; 5", "Kleid & 5", "Write & as &amp;"),
        ("Kleid &amp; 5", "Kleid&nbsp;5", "knows no entities of HTML"),
        ("P5</g:id>", "P5</g:idd>", "mismatched tag"),
        ("P5</g:id>", "P5", "mismatched tag"),
        ("Kleid &amp; 5", "Kleid < 5", "Write & as &amp;"),
        ("Kleid &amp; 5", "\x01", "not well-formed"),
        ("]]></description></item>\n<item><g:id>P6", "</description></item>\n<item><g:id>P6", "CDATA"),
        ("</item>\n<item><g:id>P6", "\n<item><g:id>P6", "not closed"),
    ],
)
def test_feed_product_alone_is_refused_when_it_is_damaged(right: str, wrong: str, said: str, tmp_path: Path) -> None:
    rows = list(table_of(tmp_path, RSS.format(encoding="UTF-8", items=ITEMS.replace(right, wrong))))
    assert [type(row) for row in rows] == [*[Row] * 4, RefusedRow, *[Row] * 5]
    refused = rows[4]
    assert isinstance(refused, RefusedRow)
    assert (refused.row, refused.line) == (5, 8)
    assert said in refused.reason
    assert "P5" in str(refused.value)


def test_feed_product_tells_its_values_when_an_ampersand_is_its_only_fault(tmp_path: Path) -> None:
    content = RSS.format(encoding="UTF-8", items=ITEMS.replace("Kleid &amp; 5", "Kleid & 5"))
    assert list(table_of(tmp_path, content))[4].values == values(5)


def test_feed_product_alone_is_refused_when_its_bytes_are_no_text(tmp_path: Path) -> None:
    content = RSS.format(encoding="UTF-8", items=ITEMS.replace("Kleid", "Größe")).encode()
    rows = list(table_of(tmp_path, content.replace("Größe &amp; 5".encode(), b"Gr\xf6\xdfe")))
    assert [row.row for row in rows if isinstance(row, RefusedRow)] == [5]


def test_feed_says_that_rows_are_lost_when_it_is_cut(tmp_path: Path) -> None:
    content = RSS.format(encoding="UTF-8", items=ITEMS)
    rows = list(table_of(tmp_path, content[: content.index("<item><g:id>P8")]))
    assert [isinstance(row, Row) for row in rows] == [*[True] * 7, False]
    assert isinstance(rows[-1], RefusedRow)
    assert "ends in the middle of the feed" in rows[-1].reason


def test_feed_is_read_when_it_is_longer_than_a_chunk(tmp_path: Path) -> None:
    items = "".join(ITEM.format(n=n).replace("soft", "s" * (n % 5000)) for n in range(1, 401))
    rows = list(table_of(tmp_path, RSS.format(encoding="UTF-8", items=items)))
    assert [row.values["g:id"] for row in rows if isinstance(row, Row)] == [f"P{n}" for n in range(1, 401)]
    assert [row.line for row in rows] == list(range(4, 404))


@pytest.mark.parametrize("cut", range(0, 44, 3))
def test_feed_is_read_when_a_chunk_ends_inside_a_tag(cut: int, tmp_path: Path) -> None:
    start = "<rss><channel>"
    items = "<item a='>'><id>P1</id></item><item><id>P2</id></item>"
    content = f"{start}{' ' * (2**18 - len(start) - cut)}{items}</channel></rss>"
    assert [row.values for row in table_of(tmp_path, content)] == [{"@a": ">", "id": "P1"}, {"id": "P2"}]


DAMAGED = [
    "<item><g:id>x & y</g:id></item>",
    "<item><g:id>x</item>",
    "<item><g:id>x</g:id>",
    "<item><g:id>&nbsp;</g:id></item>",
    "<item><a><![CDATA[x</a></item>",
]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.text("ab <>&'\"ü]-!/", min_size=1, max_size=8).filter(lambda text: text.strip()) | st.sampled_from(DAMAGED),
        max_size=12,
    )
)
def test_feed_accounts_for_each_row_when_good_and_bad_are_mixed(rows: list[str], tmp_path: Path) -> None:
    rows = ["first", *rows, "last"]
    escaped = [row.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for row in rows]
    items = [
        row if row in DAMAGED else f"<item><g:id>{text}</g:id></item>" for row, text in zip(rows, escaped, strict=True)
    ]
    read = list(table_of(tmp_path, RSS.format(encoding="UTF-8", items="\n".join(items))))
    assert [isinstance(row, Row) for row in read] == [row not in DAMAGED for row in rows]
    assert [row.values["g:id"] for row in read if isinstance(row, Row)] == [
        row.strip() for row in rows if row not in DAMAGED
    ]
