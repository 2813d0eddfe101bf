"""Exports of Shopify, WooCommerce, Google Merchant and Magento are imported with what is particular to each."""

from __future__ import annotations

from pathlib import Path

from tests.unit.client.catalogue.shop_files import stored, write
from triptych import Client

SHOPIFY = """\
Handle,Title,Vendor,Published,Option1 Value,Variant SKU,Variant Price,Image Src,Image Position,Image Alt Text,\
Variant Image
shoe,Nice shoe,Acme,TRUE,Red,S-R,59.90,a.jpg,1,front,a.jpg
shoe,,,,Blue,S-B,69.90,b.jpg,2,,c.jpg
shoe,,,,Green,S-G,49.90,,,,
shoe,,,,,,,d.jpg,3,,
hat,Hat,Acme,FALSE,Default Title,H,20.00,e.jpg,1,,
bare,Bare,Acme,FALSE,Default Title,B,20.00,,,,
"""


def test_shopify_export_is_imported_with_all_photos_of_a_product(client: Client, shop: Path) -> None:
    report = client.catalogue.import_file(write(shop / "shopify.csv", SHOPIFY))
    found = stored(client)
    ids = [("shoe", "shoe"), ("shoe", "shoe-2"), ("shoe", "shoe-v3"), ("shoe", "shoe-3"), ("hat", "hat")]
    assert list(found) == ids
    blue = found["shoe", "shoe-2"]
    assert (blue["Title"], blue["Vendor"], blue["Variant Price"]) == ("Nice shoe", "Acme", 69.9)
    assert "Image Alt Text" not in blue  # it describes the photo of another row
    assert found["shoe", "shoe-3"]["Variant Price"] == 59.9
    assert found["hat", "hat"]["Published"] is False
    assert [(row.row, row.product_id) for row in report.refused] == [(6, "bare")]
    assert [(each.reason, each.count) for each in report.passed_over] == [
        ("photo that the same product names before", 1),
        ("row of a variant without a photo of its own", 1),
    ]
    assert report.understanding is not None
    assert "recognised as a Shopify product export" in report.understanding.sentences


def test_woocommerce_export_is_imported(client: Client, shop: Path) -> None:
    text = (
        "ID,Type,SKU,Name,Published,Regular price,Images,Parent\n"
        '1,variable,HOOD,Hoodie,1,,"a.jpg, b.jpg",\n'
        "2,variation,HOOD-R,Hoodie - Red,1,45,c.jpg,id:1\n"
        "3,variation,HOOD-B,Hoodie - Blue,1,45,,HOOD\n"
        "4,simple,,Cap,1,16,d.jpg,\n"
    )
    report = client.catalogue.import_file(write(shop / "woo.csv", text))
    found = stored(client)
    assert list(found) == [("HOOD", "HOOD"), ("HOOD", "HOOD-2"), ("HOOD-R", "HOOD-R"), ("4", "4")]
    assert (found["HOOD-R", "HOOD-R"]["Regular price"], found["HOOD-R", "HOOD-R"]["Parent"]) == (45, "id:1")
    assert [each.reason for each in report.passed_over] == ["variation without a photo of its own"]
    assert report.refused == ()


def test_google_merchant_feed_is_imported(client: Client, shop: Path) -> None:
    header = "id\ttitle\tlink\timage link\tadditional image link\tavailability\tprice\tgtin\n"
    rows = "1\tShoe\thttps://x.test/1\ta.jpg\tb.jpg,c.jpg\tin_stock\t59.90 EUR\t0400638133393\n"
    rows += "2\tHat\thttps://x.test/2\td.jpg\t\tout_of_stock\t1,299 EUR\t4006381333931\n"
    client.catalogue.import_file(write(shop / "feed.tsv", header + rows))
    found = stored(client)
    assert list(found) == [("1", "1"), ("1", "1-2"), ("1", "1-3"), ("2", "2")]
    assert (found["1", "1"]["price"], found["2", "2"]["price"]) == (59.9, 1299)
    assert found["1", "1"]["gtin"] == "0400638133393"


def test_magento_export_is_imported_from_its_media_folder(client: Client, shop: Path) -> None:
    media = shop / "media/catalog/product/m/b"
    media.mkdir(parents=True)
    (media / "mb1.jpg").write_bytes(b"one")
    (media / "mb2.jpg").write_bytes(b"two")
    text = (
        "sku,store_view_code,product_type,price,base_image,additional_images\n"
        'M1,,simple,34.0000,/m/b/mb1.jpg,"/m/b/mb1.jpg,/m/b/mb2.jpg"\n'
        "M1,de,,,,\n"
    )
    report = client.catalogue.import_file(write(shop / "magento.csv", text))
    assert {key: fields["price"] for key, fields in stored(client).items()} == {("M1", "M1"): 34, ("M1", "M1-2"): 34}
    assert [each.reason for each in report.found] == ["found in media/catalog/product"]
    assert len(report.passed_over) == 2


def test_product_of_a_magento_export_has_no_photo_when_it_says_no_selection(client: Client, shop: Path) -> None:
    text = "sku,product_type,base_image,additional_images\nM1,simple,no_selection,\nM2,simple,a.jpg,no_selection\n"
    report = client.catalogue.import_file(write(shop / "t.csv", text))
    assert report.upserted == 1
    assert report.refused[0].reason.startswith("it names no photo")
