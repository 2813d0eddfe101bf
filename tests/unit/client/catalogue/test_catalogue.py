"""The catalogue's calls and imports through a real client over the fake server."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from triptych import (
    CatalogueItem,
    Client,
    ConnectionFailed,
    ContractMismatch,
    IncompatibleIndex,
    InvalidInput,
    Overloaded,
    PermissionDenied,
    Retry,
    UnreadableImage,
)
from triptych.testing import FakeServer, fake_async_client, fake_client

PRODUCTS = 150


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos/sub").mkdir(parents=True)
    for number in range(PRODUCTS):
        (tmp_path / f"photos/{number:03}.jpg").write_bytes(b"photo %d" % number)
    (tmp_path / "photos/sub/last.png").write_bytes(b"the last")
    return tmp_path


def write_csv(path: Path, rows: list[list[Any]], columns: tuple[str, ...] = ("product_id", "photo", "price")) -> Path:
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.fixture
def listed(folder: Path) -> Path:
    rows = [[f"sku-{number}", f"photos/{number:03}.jpg", number] for number in range(PRODUCTS)]
    return write_csv(folder / "products.csv", rows)


def test_photo_is_there_when_it_was_put_and_not_when_deleted(client: Client) -> None:
    client.catalogue.upsert("shoe", b"a shoe", fields={"price": 5})
    client.catalogue.upsert("shoe", b"another", photo_id="side")
    product = client.catalogue.get("shoe")
    assert product is not None
    assert [(photo.photo_id, dict(photo.fields)) for photo in product.photos] == [("shoe", {"price": 5}), ("side", {})]
    assert product.photos[0].image_digest == hashlib.sha256(b"a shoe").hexdigest()
    assert (client.catalogue.count().photos, client.catalogue.count().products) == (2, 1)
    assert client.catalogue.delete(["shoe", "nobody"]) == 1
    assert client.catalogue.delete("shoe") == 0
    assert client.catalogue.get("shoe") is None
    assert client.search(b"a shoe").matches == ()


def test_photo_is_replaced_when_its_ids_come_again(client: Client) -> None:
    client.catalogue.upsert("shoe", b"a shoe", fields={"price": 5})
    client.catalogue.upsert("shoe", b"a newer photo", fields={"price": 6})
    (match,) = client.search(b"a newer photo").matches
    assert match.similarity == pytest.approx(1, abs=1e-5)
    assert match.fields["price"] == 6


def test_key_travels_when_the_client_has_one_and_only_to_the_catalogue() -> None:
    fake = FakeServer(catalogue_key="secret")
    with pytest.raises(PermissionDenied, match="catalogue's key"):
        fake_client(fake).catalogue.count()
    with pytest.raises(PermissionDenied):
        fake_client(fake, catalogue_key="wrong").catalogue.upsert("a", b"a")
    owner = fake_client(fake, catalogue_key="secret")
    owner.catalogue.upsert("a", b"a")
    owner.search(b"a")
    assert [bool(request.parameters) for request in fake.requests if request.model == "searcher"] == [False]
    assert "secret" not in repr(owner._configuration) + repr(owner._session) + repr(fake.requests)


def test_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CATALOGUE_KEY", "secret")
    assert Client.from_env()._session.catalogue_key == "secret"


def test_export_gives_all_when_there_are_several_pages(client: Client) -> None:
    report = client.catalogue.upsert_many(CatalogueItem(f"p{n}", b"%d" % n) for n in range(7))
    assert (report.upserted, report.skipped, report.refused) == (7, 0, ())
    rows = list(client.catalogue.export(embeddings=True, page_size=3))
    assert [row.product_id for row in rows] == [f"p{n}" for n in range(7)]
    assert rows[4].embedding is not None
    assert np.array_equal(rows[4].embedding, client.embed(b"4").vector)
    assert next(client.catalogue.export()).embedding is None


def test_duplicates_are_grouped_when_photos_are_alike(client: Client, fake: FakeServer) -> None:
    for name, direction in (("a", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 2)):
        fake.answer(name.encode(), embedding=np.eye(1280)[direction])
        client.catalogue.upsert(name, name.encode())
    assert set(client.catalogue.duplicates(0.99)) == {("a", "b"), ("c", "d")}
    assert len(client.catalogue.duplicates(0.99, limit=1)) == 1
    with pytest.raises(InvalidInput, match=r"threshold is 1\.5"):
        client.catalogue.duplicates(1.5)


def test_info_and_rebuild_say_what_there_is(client: Client) -> None:
    client.catalogue.upsert("a", b"a")
    info = client.catalogue.info()
    assert (info.photos, info.products, info.dimension, info.engine) == (1, 1, 1280, "fake")
    assert info.details["fingerprint"] == info.fingerprint
    assert client.catalogue.rebuild() == 1


def test_upsert_is_refused_when_the_embedder_is_another(client: Client, fake: FakeServer) -> None:
    client.catalogue.upsert("a", b"a")
    fake.catalogue.fingerprint = "another"
    with pytest.raises(IncompatibleIndex):
        client.catalogue.upsert("b", b"b")
    assert client.catalogue.count().photos == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("", b"x"), "product_id is ''"),
        ((7, b"x"), "product_id is 7"),
        (("a", b""), "photo is empty"),
        (("a", "missing.jpg"), "There is no file"),
    ],
)
def test_upsert_refuses_what_is_no_product(client: Client, arguments: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        client.catalogue.upsert(*arguments)


@pytest.mark.parametrize("fields", [{1: 2}, {"a": b"bytes"}, {"a": float("inf")}, ["a"]])
def test_upsert_refuses_fields_that_no_catalogue_holds(client: Client, fields: Any) -> None:
    with pytest.raises(InvalidInput, match="fields"):
        client.catalogue.upsert("a", b"a", fields=fields)


def test_call_is_repeated_when_the_server_is_busy(client: Client, fake: FakeServer) -> None:
    client.catalogue.upsert("a", b"a")
    fake.fail_next(Overloaded, times=2)
    assert client.catalogue.count().photos == 1


def test_answer_that_is_no_object_is_a_mismatch(client: Client, fake: FakeServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(fake.catalogue, "_call", lambda request: [])
    with pytest.raises(ContractMismatch, match="something else than a JSON object"):
        client.catalogue.info()


def test_file_is_imported_whole_when_all_is_well(client: Client, listed: Path) -> None:
    report = client.catalogue.import_file(listed)
    assert (report.upserted, report.skipped, report.refused) == (PRODUCTS, 0, ())
    assert client.catalogue.count({"price": {"lt": 10}}).photos == 10
    top = client.search(b"photo 17").top
    assert top is not None
    assert (top.product_id, dict(top.fields)) == ("sku-17", {"price": 17, "photo": "photos/017.jpg"})
    assert not Path(f"{listed}.import.jsonl").exists()


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_other_files_are_imported_alike(client: Client, folder: Path, suffix: str) -> None:
    rows = [
        {"product_id": f"sku-{n}", "photo": f"photos/{n:03}.jpg", "price": n, "colour": None if n else "red"}
        for n in range(5)
    ]
    path = folder / f"products{suffix}"
    if suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert client.catalogue.import_file(path).upserted == 5
    product = client.catalogue.get("sku-0")
    assert product is not None
    assert dict(product.photos[0].fields) == {"price": 0, "colour": "red", "photo": "photos/000.jpg"}


def test_folder_is_imported_with_a_product_for_each_photo(client: Client, folder: Path) -> None:
    assert client.catalogue.import_file(folder / "photos").upserted == PRODUCTS + 1
    product = client.catalogue.get("sub/last")
    assert product is not None
    assert dict(product.photos[0].fields) == {"photo": "sub/last.png", "folder": "sub"}


def test_link_that_leads_out_of_a_folder_is_refused(client: Client, fake: FakeServer, folder: Path) -> None:
    (folder.parent / "secret.jpg").write_bytes(b"not for the catalogue")
    (folder / "photos/link.jpg").symlink_to(folder.parent / "secret.jpg")
    (folder / "photos/broken.jpg").symlink_to(folder / "photos/none.jpg")
    (folder / "photos/copy.jpg").symlink_to("001.jpg")
    report = client.catalogue.import_file(folder / "photos")
    refused = {row.photo: row.reason for row in report.refused}
    assert refused.keys() == {"link.jpg", "broken.jpg"}
    assert "leads out of the catalogue's folder" in refused["link.jpg"]
    assert "there is no photo" in refused["broken.jpg"]
    assert report.upserted == PRODUCTS + 2
    assert b"not for the catalogue" not in fake.photos


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    "photo",
    [
        "../secret.jpg",
        "photos/../../secret.jpg",
        "/etc/passwd",
        "photos/up/secret.jpg",
        "file:///etc/passwd",
        "~/x.jpg",
    ],
)
def test_path_out_of_the_catalogues_folder_is_never_read(
    client: Client, fake: FakeServer, folder: Path, suffix: str, photo: str
) -> None:
    (folder.parent / "secret.jpg").write_bytes(b"not for the catalogue")
    (folder / "photos/up").symlink_to(folder.parent, target_is_directory=True)
    path = folder / f"products.{suffix}"
    if suffix == "csv":
        write_csv(path, [["out", photo, 1]])
    elif suffix == "jsonl":
        path.write_text(json.dumps({"product_id": "out", "photo": photo}))
    else:
        pyarrow.parquet.write_table(pyarrow.table({"product_id": ["out"], "photo": [photo]}), path)
    report = client.catalogue.import_file(path)
    assert report.upserted == 0
    (refused,) = report.refused
    assert "leads out of the catalogue's folder" in refused.reason or "there is no photo" in refused.reason
    assert fake.photos == []


def test_bad_rows_are_reported_when_the_rest_is_imported(client: Client, fake: FakeServer, folder: Path) -> None:
    fake.refuse(b"photo 3", UnreadableImage)
    (folder.parent / "secret.jpg").write_bytes(b"not for the catalogue")
    (folder / "link.jpg").symlink_to(folder.parent / "secret.jpg")
    path = write_csv(
        folder / "products.csv",
        [
            ["good", "photos/001.jpg", 1],
            ["good", "photos/002.jpg", 1],
            ["unreadable", "photos/003.jpg", 1],
            ["missing", "photos/none.jpg", 1],
            ["outside", "../secret.jpg", 1],
            ["outside-too", str(folder.parent / "secret.jpg"), 1],
            ["by-link", "link.jpg", 1],
            ["", "photos/004.jpg", 1],
            ["no-photo", "", 1],
            ["short"],
            ["also good", "photos/005.jpg", "007"],
        ],
    )
    report = client.catalogue.import_file(path)
    assert report.upserted == 2
    reasons = {row.row: row.reason for row in report.refused}
    assert list(reasons) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    for row, words in {
        2: "an earlier row of this import has the same ids",
        3: "unreadable image",
        4: "there is no photo",
        5: "leads out of the catalogue's folder",
        6: "leads out of the catalogue's folder",
        7: "leads out of the catalogue's folder",
        8: "no product_id",
        9: "names no photo",
        10: "it has 1 cell, the header has 3",
    }.items():
        assert words in reasons[row]
    assert str(report.refused[0]).startswith("row 2, line 3 (good, photos/002.jpg): ")
    assert b"not for the catalogue" not in fake.photos
    product = client.catalogue.get("also good")
    assert product is not None
    assert product.photos[0].fields["price"] == "007"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.csv", None, "There is no file"),
        ("x.csv", b"produktid2,photo\n", "Did you mean 'produktid2'[?] Say --map id=produktid2"),
        ("x.csv", b"product_id,price\n", "no column 'photo'"),
        ("x.csv", b"", "is empty: 0 bytes"),
        ("x.parquet", b"no parquet", "no column 'product_id'; it has no parquet"),
    ],
)
def test_file_is_refused_when_it_is_no_catalogue(
    client: Client, tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=sentence):
        client.catalogue.import_file(path)


def test_json_lines_are_refused_one_by_one_when_they_are_none(client: Client, folder: Path) -> None:
    path = folder / "x.jsonl"
    path.write_text('{"product_id": "a", "photo": "photos/000.jpg"}\nno json\n[1]\n\n')
    report = client.catalogue.import_file(path)
    assert report.upserted == 1
    assert [row.row for row in report.refused] == [2, 3]


def cut_off(fake: FakeServer, listed: Path, **arguments: Any) -> int:
    """An import that ends when the server does; returns how many photos the catalogue has then."""
    impatient = fake_client(fake, retry=Retry(tries=1), max_in_flight=1, **arguments)
    upserts = 0
    infer = fake.catalogue.infer

    def until_the_second(request: Any, embed: Any) -> Any:
        nonlocal upserts
        if request.model == "catalogue" and b'"call": "upsert"' in bytes(request.inputs["request"].content):
            upserts += 1
            if upserts == 2:
                fake.fail_next(ConnectionFailed)
        return infer(request, embed)

    fake.catalogue.infer = until_the_second  # type: ignore[method-assign]
    with pytest.raises(ConnectionFailed):
        impatient.catalogue.import_file(listed)
    fake.catalogue.infer = infer  # type: ignore[method-assign]
    # Requests in flight end on their own, and would count as those of the next import.
    for thread in threading.enumerate():
        if thread.name.startswith("triptych"):
            thread.join(20)
    return impatient.catalogue.count().photos


def test_import_resumes_when_it_was_cut_off(fake: FakeServer, client: Client, listed: Path) -> None:
    there = cut_off(fake, listed)
    assert 0 < there < PRODUCTS
    asked = len(fake.photos)
    with open(f"{listed}.import.jsonl", "ab") as journal:
        journal.write(b'{"row": "torn')
    report = client.catalogue.import_file(listed)
    assert (report.upserted, report.skipped) == (PRODUCTS - there, there)
    assert len(fake.photos) - asked == PRODUCTS - there
    assert client.catalogue.count().photos == PRODUCTS
    assert not Path(f"{listed}.import.jsonl").exists()


def test_row_is_imported_again_when_it_has_changed_since(fake: FakeServer, client: Client, listed: Path) -> None:
    there = cut_off(fake, listed)
    (listed.parent / "photos/000.jpg").write_bytes(b"a new photo of it")
    report = client.catalogue.import_file(listed)
    assert report.skipped == there - 1
    top = client.search(b"a new photo of it").top
    assert top is not None
    assert top.product_id == "sku-0"


def test_journal_is_refused_when_it_is_of_another_server_or_no_journal(
    fake: FakeServer, client: Client, listed: Path
) -> None:
    cut_off(fake, listed)
    other = fake_client(FakeServer(), target="other.invalid:8001")
    with pytest.raises(InvalidInput, match=r"of an import into '192\.0\.2\.1:8001'"):
        other.catalogue.import_file(listed)
    assert other.catalogue.import_file(listed, journal=listed.parent / "own.jsonl").upserted == PRODUCTS
    with pytest.raises(InvalidInput, match="was not written by an import"):
        client.catalogue.import_file(listed, journal=listed)
    assert listed.read_bytes().startswith(b"\xef\xbb\xbfproduct_id")


def test_journal_of_an_import_that_added_nothing_stops_no_other(fake: FakeServer, client: Client, listed: Path) -> None:
    journal = Path(f"{listed}.import.jsonl")
    journal.write_text('{"import": "no-server.invalid:8001"}\n')
    cut_off(fake, listed)
    assert journal.read_text().splitlines()[0] == '{"import": "192.0.2.1:8001"}'
    assert client.catalogue.import_file(listed).skipped > 0
    assert not journal.exists()


def test_both_clients_import_alike(fake: FakeServer, listed: Path) -> None:
    async def main() -> None:
        async with fake_async_client(fake) as client:
            report = await client.catalogue.import_file(listed)
            assert (report.upserted, report.refused) == (PRODUCTS, ())
            assert len([row async for row in client.catalogue.export(page_size=50)]) == PRODUCTS
            assert await client.catalogue.delete("sku-0") == 1
            await client.catalogue.upsert("new", b"new")
            assert (await client.catalogue.count()).photos == PRODUCTS
            assert (await client.match(b"new")).method == "digest"

    asyncio.run(main())
