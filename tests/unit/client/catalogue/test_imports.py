"""Imports of tables as shops have them: exports, bad rows, the report, and the file of refused rows."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.client.catalogue.shop_files import stored, write
from triptych import CatalogueItem, Client, ImportOptions, InvalidInput, RefusedRow
from triptych._core.failures.codes import coded
from triptych.catalogue.files import read_catalogue
from triptych.testing import FakeServer, fake_client


def refuse_products(fake: FakeServer, *names: str) -> None:
    """Lets the server refuse every upsert that has one of these products, as it does for a faulty item."""
    infer = fake.catalogue.infer

    def refusing(request: Any, embed: Any) -> Any:
        if request.model == "catalogue":
            content = bytes(request.inputs["request"].content)
            if b'"call": "upsert"' in content and any(f'"{name}"'.encode() in content for name in names):
                raise coded("request_invalid", "`fields` of item 0 is invalid.")
        return infer(request, embed)

    fake.catalogue.infer = refusing  # type: ignore[method-assign]


def test_import_states_what_it_understood(client: Client, shop: Path) -> None:
    text = "Artikelnummer;Bild;Preis;Neu\nA;a.jpg;59,90 €;ja\nB;b.jpg;1.299,00 €;nein\n"
    report = client.catalogue.import_file(write(shop / "de.csv", text))
    assert report.understanding is not None
    told = report.understanding.as_json()
    assert told["columns"] == {"product_id": ["Artikelnummer"], "photo": ["Bild"]}
    assert told["kinds"] == {"Preis": "numbers, decimal comma, EUR", "Neu": "true or false (ja, nein)"}
    assert client.catalogue.count({"Preis": {"gt": 100}, "Neu": False}).photos == 1
    assert report.rows == 2


def test_table_is_refused_before_anything_is_sent_when_a_column_cannot_be_decided(
    client: Client, fake: FakeServer, shop: Path
) -> None:
    path = write(shop / "t.csv", 'id,photo,price\n1,a.jpg,"1,299"\n2,b.jpg,"2,500"\n')
    with pytest.raises(InvalidInput, match="--decimal"):
        client.catalogue.import_file(path)
    assert fake.requests == []
    client.catalogue.import_file(path, options=ImportOptions(decimal="."))
    assert stored(client)["1", "1"]["price"] == 1299


def test_row_is_refused_alone_when_the_server_refuses_it(client: Client, fake: FakeServer, shop: Path) -> None:
    rows = "".join(f"p{number},{'abcdef'[number % 6]}.jpg\n" for number in range(40))
    refuse_products(fake, "p7", "p31")
    report = client.catalogue.import_file(write(shop / "t.csv", "id,photo\n" + rows))
    assert (report.upserted, [row.product_id for row in report.refused]) == (38, ["p7", "p31"])
    assert report.refused[0].row == 8
    assert "`fields` of item 0 is invalid" in report.refused[0].reason
    assert len(stored(client)) == 38


def test_item_is_refused_alone_when_the_server_refuses_it(client: Client, fake: FakeServer) -> None:
    refuse_products(fake, "p2")
    report = client.catalogue.upsert_many(CatalogueItem(f"p{number}", b"%d" % number) for number in range(5))
    assert (report.upserted, report.refused_count, report.refused[0].row) == (4, 1, 3)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"product_id": "x" * 513}, "has 513 characters; expected at most 512"),
        ({"text": "x" * 70_000}, "the longest is 'text' with 70,000"),
        ({"text": "half \ud83d"}, "half an emoji"),
        ({"number": 10**30}, "beyond 64 bits"),
        ({"deep": {"a": [10**30]}}, "beyond 64 bits"),
        ({"product_id": None}, "it has no product_id"),
        ({"product_id": "nan"}, "it has no product_id: 'nan'"),
        ({"product_id": "4.00638E+12"}, "a spreadsheet has shortened it"),
        ({"photo": "n/a"}, "it names no photo"),
        ({"photo": ""}, "it names no photo"),
        ({"photo": "zzz.jpg"}, "there is no photo 'zzz.jpg'"),
        ({"photo": 7}, "its photo is 7"),
    ],
)
def test_value_that_no_catalogue_holds_is_its_rows_fault(
    client: Client, shop: Path, values: dict[str, Any], sentence: str
) -> None:
    rows = [{"product_id": f"p{number}", "photo": "a.jpg"} for number in range(3)]
    rows[1] |= values
    report = client.catalogue.import_file(write(shop / "t.jsonl", "\n".join(map(json.dumps, rows))))
    assert (report.upserted, report.refused_count) == (2, 1)
    assert report.refused[0].row == 2
    assert sentence.lower() in report.refused[0].reason.lower()


def test_fields_of_many_umlauts_are_stored_when_they_are_short_enough(client: Client, shop: Path) -> None:
    row = {"product_id": "p", "photo": "a.jpg", "text": "ü" * 60_000}
    assert client.catalogue.import_file(write(shop / "t.jsonl", json.dumps(row))).upserted == 1


def read_rejects(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_refused_rows_are_imported_when_their_file_is_mended(client: Client, shop: Path) -> None:
    text = "sku;photo;price;size\n1;a.jpg;1.299,00;M\n2;gone.jpg;59,90;38\n3;c.jpg;cheap;39\n4;d.jpg;20,00;L\n"
    report = client.catalogue.import_file(write(shop / "shop.csv", text))
    assert (report.upserted, report.rejects) == (2, str(shop / "shop.rejects.csv"))
    rows = read_rejects(shop / "shop.rejects.csv")
    assert [(row["sku"], row["reason_row"], row["reason_column"]) for row in rows] == [
        ("2", "2", ""),
        ("3", "3", "price"),
    ]
    assert "there is no photo 'gone.jpg'" in rows[0]["reason"]
    mended = (
        (shop / "shop.rejects.csv").read_text("utf-8-sig").replace("gone.jpg", "b.jpg", 1).replace("cheap", "1.500", 1)
    )
    write(shop / "shop.rejects.csv", mended)
    again = client.catalogue.import_file(shop / "shop.rejects.csv")
    assert (again.upserted, again.refused_count, again.rejects) == (2, 0, None)
    # "1.500" and "38" mean here what they meant in the whole table.
    assert stored(client)["3", "3"] == {"price": 1500, "size": "39", "photo": "c.jpg"}
    assert stored(client)["2", "2"] == {"price": 59.9, "size": "38", "photo": "b.jpg"}


def test_refused_rows_of_a_refused_file_go_into_another(client: Client, shop: Path) -> None:
    write(shop / "shop.csv", "sku,photo\n1,gone.jpg\n")
    first = client.catalogue.import_file(shop / "shop.csv").rejects
    assert first is not None
    second = client.catalogue.import_file(first).rejects
    third = client.catalogue.import_file(str(second)).rejects
    assert [Path(str(name)).name for name in (first, second, third)] == [
        "shop.rejects.csv",
        "shop.rejects-2.csv",
        "shop.rejects-3.csv",
    ]
    assert read_rejects(Path(str(third)))[0]["sku"] == "1"
    write(shop / "shop.rejects.csv", "sku,photo,reason,reason_row\n1,mended.jpg,,\n")
    client.catalogue.import_file(shop / "shop.csv")
    assert "mended.jpg" in (shop / "shop.rejects.csv.old").read_text()


def test_cells_beyond_the_header_are_kept_until_they_are_mended(client: Client, shop: Path) -> None:
    path = write(shop / "t.csv", "id,photo,colour\n1,a.jpg,red, dark\n")
    first = Path(str(client.catalogue.import_file(path).rejects))
    assert read_rejects(first)[0]["reason_cells"] == '[" dark"]'
    again = client.catalogue.import_file(first)
    assert again.upserted == 0
    assert 'it has cells beyond the header: [" dark"]. Move them' in again.refused[0].reason
    write(first, first.read_text("utf-8-sig").replace(",red,", ',"red, dark",').replace('"["" dark""]"', ""))
    assert client.catalogue.import_file(first).upserted == 1
    assert stored(client)["1", "1"]["colour"] == "red, dark"


def test_empty_rows_are_skipped_and_counted(client: Client, shop: Path) -> None:
    rows = [{"id": 1, "photo": "a.jpg"}, {}, {"id": None, "photo": ""}]
    report = client.catalogue.import_file(write(shop / "t.jsonl", "\n".join(map(json.dumps, rows))))
    assert (report.upserted, report.refused_count, report.rows) == (1, 0, 3)
    assert [(each.reason, each.count) for each in report.passed_over] == [("empty row", 2)]


def test_column_is_decided_when_only_a_late_row_has_it(client: Client, shop: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": "1", "photo": "gone.jpg"}] * 1500
    rows.append({"id": "2", "photo": "a.jpg", "late": "5,50"})
    report = client.catalogue.import_file(write(shop / "t.jsonl", "\n".join(map(json.dumps, rows))))
    assert stored(client)["2", "2"]["late"] == 5.5
    assert report.understanding is not None
    assert report.understanding.kinds == {"late": "numbers, decimal comma"}


def test_table_without_rows_is_said_to_be_empty(client: Client, shop: Path) -> None:
    report = client.catalogue.import_file(write(shop / "t.csv", "id,photo\n"))
    assert report.understanding is not None
    assert report.understanding.notices == ("the table has a header and no rows",)


def test_refused_rows_of_json_lines_keep_their_values(client: Client, shop: Path) -> None:
    rows = [{"product_id": "p", "photo": "gone.jpg", "tags": ["a", "b"], "n": 7, "reason": "mine"}]
    report = client.catalogue.import_file(write(shop / "t.jsonl", "\n".join(map(json.dumps, rows))))
    assert report.rejects == str(shop / "t.rejects.jsonl")
    told = json.loads((shop / "t.rejects.jsonl").read_text())
    assert {name: told[name] for name in rows[0]} == rows[0]
    assert "there is no photo" in told["import_reason"]
    told["photo"] = "a.jpg"
    client.catalogue.import_file(write(shop / "t.rejects.jsonl", json.dumps(told)))
    assert stored(client)["p", "p"] == {"tags": ["a", "b"], "n": 7, "reason": "mine", "photo": "a.jpg"}


def test_refused_rows_are_written_where_the_user_says(client: Client, shop: Path) -> None:
    path = write(shop / "t.csv", "id,photo\n1,gone.jpg\n")
    report = client.catalogue.import_file(path, rejects=shop / "mine.jsonl")
    assert report.rejects == str(shop / "mine.jsonl")
    assert json.loads((shop / "mine.jsonl").read_text())["id"] == "1"
    lost = client.catalogue.import_file(path, rejects=shop / "no/folder.csv")
    assert (lost.rejects, lost.refused_count) == (None, 1)
    assert [each.reason for each in lost.found] == ["file of refused rows"]


def test_photos_are_read_from_the_folder_that_the_user_names(client: Client, shop: Path) -> None:
    (shop / "elsewhere").mkdir()
    path = write(shop / "elsewhere/t.csv", "id,photo\n1,a.jpg\n")
    assert client.catalogue.import_file(path).refused_count == 1
    assert client.catalogue.import_file(path, options=ImportOptions(photos=shop)).upserted == 1
    with pytest.raises(InvalidInput, match="There is no folder"):
        client.catalogue.import_file(path, options=ImportOptions(photos=shop / "none"))


def test_dry_run_tells_all_and_sends_nothing(client: Client, fake: FakeServer, shop: Path) -> None:
    path = write(shop / "t.csv", "id,photo\n1,a.jpg\n2,gone.jpg\n2,b.jpg\n2,c.jpg\n3,https://x.test/1.jpg\n")
    report = client.catalogue.import_file(path, dry_run=True)
    assert (report.upserted, [row.row for row in report.refused], report.rows) == (3, [2, 4], 5)
    assert [each.reason for each in report.found] == ["photos by URL, which a dry run does not fetch"]
    assert fake.requests == []
    assert sorted(each.name for each in shop.iterdir() if each.suffix != ".jpg") == ["t.csv"]


def test_folder_states_what_it_passed_over(client: Client, shop: Path) -> None:
    (shop / ".hidden.jpg").write_bytes(b"hidden")
    write(shop / "notes.txt", "no photo")
    report = client.catalogue.import_file(shop)
    assert report.upserted == 6
    assert sum(each.count for each in report.passed_over) == 2
    assert report.rows == 8


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["", "n/a", "x" * 600, *(f"p{number}" for number in range(12))]),
        st.sampled_from(
            ["a.jpg", "B.JPG", "gone.jpg", "../c.jpg", "", "-", "broken.jpg", "d.jpg,e.jpg", "s3://x/1.jpg"]
        ),
        st.sampled_from(["1,50", "2,00", "3", "12,99 €", "free", "n/a", "007"]),
    ),
    max_size=25,
)


@given(rows=ROWS, refused=st.sets(st.sampled_from(["p1", "p5", "p9"])))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_row_is_added_refused_or_skipped(rows: list[tuple[str, str, str]], refused: set[str]) -> None:
    fake = FakeServer()
    fake.refuse(b"broken")
    refuse_products(fake, *refused)
    with tempfile.TemporaryDirectory() as place, fake_client(fake) as client:
        for name in ("a", "b", "d", "e", "broken"):
            (Path(place) / f"{name}.jpg").write_bytes(name.encode())
        path = Path(place) / "t.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=";").writerows([("id", "photo", "price"), *rows])
        named = sum(1 for each in read_catalogue(path) if isinstance(each, CatalogueItem))
        report = client.catalogue.import_file(path)
        assert report.rows == len(rows)
        assert report.upserted + report.refused_count >= named
        outcomes = {row.row for row in report.refused}
        for number, (product_id, photo, price) in enumerate(rows, start=1):
            is_bad = product_id in ("", "n/a", "x" * 600) or photo not in ("a.jpg", "B.JPG", "d.jpg,e.jpg")
            if is_bad or product_id in refused:
                assert number in outcomes, (product_id, photo, price)
        assert report.upserted == len(stored(client))
        if all(photo != "d.jpg,e.jpg" for _, photo, _ in rows):
            passed_over = sum(each.count for each in report.passed_over)
            assert report.upserted + report.refused_count + passed_over == len(rows)
        if report.rejects is not None:
            told = read_rejects(Path(report.rejects))
            assert sorted(int(row["reason_row"]) for row in told) == sorted(outcomes)
            assert all(row["reason"] for row in told)


def test_old_callers_read_a_catalogue_row_by_row(shop: Path) -> None:
    items = list(read_catalogue(write(shop / "t.csv", "product_id,photo\n1,a.jpg\n2,gone.jpg\n")))
    assert [type(item) for item in items] == [CatalogueItem, RefusedRow]


@pytest.mark.parametrize("value", [True, {"$oid": "65a"}, ["a"]])
def test_row_is_refused_when_its_id_is_no_text_and_no_number(client: Client, shop: Path, value: Any) -> None:
    rows = [{"id": 1, "photo": "a.jpg"}, {"id": value, "photo": "b.jpg"}]
    report = client.catalogue.import_file(write(shop / "t.jsonl", "\n".join(map(json.dumps, rows))))
    assert (report.upserted, report.refused_count) == (1, 1)
    assert "its product_id is" in report.refused[0].reason
    assert "a text or a number" in report.refused[0].reason


def test_table_without_the_columns_tells_how_it_was_read(client: Client, shop: Path) -> None:
    path = write(shop / "t.csv", "Article;Photograph 1 of 2\nA;a.jpg\n")
    with pytest.raises(InvalidInput, match="It was read as CSV; semicolons between the columns"):
        client.catalogue.import_file(path)


def test_examples_of_a_report_are_told_once(client: Client, shop: Path) -> None:
    path = write(shop / "t.csv", 'id,photo\n1,"A.JPG,B.JPG"\n2,C.JPG\n')
    rows = read_catalogue(path)
    assert len(list(rows)) == 3
    path = write(shop / "u.csv", 'id,photo\n1,"a.jpg,a.jpg,a.jpg"\n2,"b.jpg,b.jpg"\n')
    rows = read_catalogue(path)
    assert len(list(rows)) == 2
    assert [(each.count, each.examples) for each in rows.skipped] == [(3, ("row 1", "row 2"))]


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "2", "photo": "b.jpg", "tags": ["x" "price": 5}',
        '{"id": "2", "photo": "b.jpg"}{"id": "3", "photo": "c.jpg"}',
        '{"id": "2", "photo": "b.jpg", "name": "cut of',
    ],
)
def test_damaged_json_is_refused_again_until_all_of_it_is_mended(client: Client, shop: Path, line: str) -> None:
    report = client.catalogue.import_file(write(shop / "t.jsonl", '{"id": "1", "photo": "a.jpg"}\n' + line + "\n"))
    assert (report.upserted, report.refused_count) == (1, 1)
    rejects = shop / "t.rejects.jsonl"
    told = json.loads(rejects.read_text())
    assert told["reason_cells"] == line
    assert client.catalogue.import_file(rejects).refused_count == 1
    write(rejects, json.dumps({**told, "reason_cells": ""}) + "\n")
    assert client.catalogue.import_file(rejects).upserted == 1


def test_json_object_of_products_by_id_is_named(client: Client, shop: Path) -> None:
    path = write(shop / "t.json", '{"7": {"photo": "a.jpg"}, "8": {"photo": "b.jpg"}}')
    with pytest.raises(InvalidInput, match="JSON without a list of products"):
        client.catalogue.import_file(path)


def test_photos_that_a_tool_has_wrapped_are_imported_and_counted(client: Client, shop: Path) -> None:
    text = 'id;photo\n1;<img src=\'a.jpg\'>\n2;"=IMAGE(""b.jpg"")"\n3;c.jpg\n'
    report = client.catalogue.import_file(write(shop / "t.csv", text))
    assert report.upserted == 3
    told = [(each.reason, each.count, each.examples) for each in report.found]
    assert told == [("cells with a formula, HTML or other text around the photos", 2, ("row 1", "row 2"))]
