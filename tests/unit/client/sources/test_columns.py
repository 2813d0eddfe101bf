"""Which column is the id, and which are the photos."""

from __future__ import annotations

import pytest

from triptych.errors import InvalidInput
from triptych.sources.columns import map_columns, plain, read_map, words_of


def found(header: str, *given: str) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    mapping = map_columns(header.split("|"), read_map(given), "'t.csv'")
    return mapping.product_id, mapping.photos, mapping.photo_id


@pytest.mark.parametrize(
    ("header", "ids", "photos"),
    [
        ("product_id|photo|price", "product_id", "photo"),
        ("Product ID|Image URL", "Product ID", "Image URL"),
        ("SKU|picture", "SKU", "picture"),
        ("Artikelnummer|Bild|Preis", "Artikelnummer", "Bild"),
        ("Réference|référence|foto", "référence", "foto"),
        ("product_id|id|sku|photo|image", "product_id", "photo"),
        ("handle|image|url", "handle", "image"),
        ("ean|img", "ean", "img"),
        ("id|link|image_link", "id", "image_link"),
        ("id|url", "id", "url"),
        ("id|image_1|image_2|image_10", "id", "image_1|image_2|image_10"),
        ("id|image|image2", "id", "image|image2"),
        ("id|Bild 2|Bild 1", "id", "Bild 1|Bild 2"),
        ("id|photo|additional_images", "id", "photo|additional_images"),
        ("id|image|images|title", "id", "image|images"),
        ("g:id|g:image_link", "g:id", "g:image_link"),
        ("商品コード|商品名|価格|画像", "商品コード", "画像"),
        ("Kod produktu|Cena|Zdjęcie główne", "Kod produktu", "Zdjęcie główne"),
        ("identifier|price-EUR|image-main", "identifier", "image-main"),
        ("Product ID|Active (0/1)|Image URLs (x,y,z...)", "Product ID", "Image URLs (x,y,z...)"),
        ("item_sku|main_image_url", "item_sku", "main_image_url"),
        ("Référence produit|URL image", "Référence produit", "URL image"),
        ("Codice articolo|Immagine principale", "Codice articolo", "Immagine principale"),
        ("Bestellnummer|Bild-URL", "Bestellnummer", "Bild-URL"),
        ("货号|主图", "货号", "主图"),
        ("Артикул|Фото", "Артикул", "Фото"),
    ],
)
def test_columns_are_found_by_their_usual_names(header: str, ids: str, photos: str) -> None:
    assert found(header)[:2] == ((ids,), tuple(photos.split("|")))


@pytest.mark.parametrize(
    ("text", "photos"),
    [
        ("id=SKU,photo=Image Src", ("Image Src",)),
        ('id=sku,photo="Image Src"', ("Image Src",)),
        ("id=SKU,photo='Image Src'+Back", ("Image Src", "Back")),
        ("product_id=SKU,image=Image Src,image=Back", ("Image Src", "Back")),
        ('id=SKU,photo="a, b"', ("a, b",)),
        ("id=SKU,photo=one+two", ("one+two",)),
    ],
)
def test_columns_are_those_that_the_user_maps(text: str, photos: tuple[str, ...]) -> None:
    assert found("SKU|Image Src|Back|a, b|one+two|id|photo", text)[:2] == (("SKU",), photos)


def test_photo_id_is_found_or_mapped() -> None:
    assert found("id|photo|Image ID")[2] == "Image ID"
    assert found("id|photo|view", "photo_id=View")[2] == "view"


@pytest.mark.parametrize(
    ("header", "given", "sentence"),
    [
        ("id|sku|photo", "", "several columns that may be the id: 'id', 'sku'. Say which: --map id=id"),
        ("id|picture|bild", "", "several columns that may be the photo: 'picture', 'bild'"),
        ("name|photo", "", "has no column 'product_id'; it has name, photo"),
        ("produkt-ident|photo", "", "Did you mean 'produkt-ident'"),
        ("id|phoot", "", "has no column 'photo'; it has id, phoot. Did you mean 'phoot'[?] Say --map photo=phoot"),
        ("SKU|photo", "id=SKUU", "no column 'SKUU', which --map names; it has SKU, photo. Did you mean 'SKU'"),
        ("SKU|photo", "price=photo", "expected ROLE=COLUMN with the roles id, photo and photo_id"),
        ("SKU|photo", "SKU", "expected ROLE=COLUMN"),
    ],
)
def test_columns_are_refused_with_the_candidates(header: str, given: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence.replace("(", r"\(")):
        found(header, *([given] if given else []))


@pytest.mark.parametrize(
    ("header", "title"),
    [
        ("Handle|Title|Vendor|Image Src|Image Position|Variant SKU|Variant Price", "Shopify"),
        ("Title|URL handle|SKU|Price|Product image URL|Image position", "Shopify"),
        ("ID|Type|SKU|Name|Regular price|Images|Parent", "WooCommerce"),
        ("id|title|link|image link|additional image link|price|availability", "Google Merchant"),
        ("g:id|g:title|g:image_link|g:price", "Google Merchant"),
        ("sku|store_view_code|base_image|additional_images|price", "Magento"),
        ("id|image|price", None),
        ("handle|title|image", None),
    ],
)
def test_export_is_recognised_by_its_header(header: str, title: str | None) -> None:
    preset = map_columns(header.split("|"), {}, "'t.csv'").preset
    assert (preset is None) if title is None else (preset is not None and title in preset.title)


def test_mapping_of_the_user_wins_over_an_export() -> None:
    ids, photos, _ = found("Handle|Title|Image Src|Variant SKU|Variant Image", "id='Variant SKU'")
    assert (ids, photos) == (("Variant SKU",), ("Image Src", "Variant Image"))


def test_names_are_compared_without_case_and_signs() -> None:
    assert plain(" g:Image-Link ") == "imagelink"
    assert words_of("itemGroup_ID 2") == ["item", "group", "id", "2"]
