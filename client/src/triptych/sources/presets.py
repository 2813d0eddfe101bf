"""Exports of shop systems that are recognised by their header: Shopify, WooCommerce, Google Merchant, Magento.

Column names of Shopify's first template, WooCommerce's "Product CSV Import Schema" and Google Merchant's "Product data
specification" were compared with these pages on 2026-11-30; those of Shopify's present template and Magento were not.
Names here are in the form of `columns.plain`.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Preset:
    """An export of a shop system.

    Attributes:
        title: in the user's words.
        marks: groups of columns; the header has one of each group.
        roles: columns by role, those that the header has.
        decimal: decimal mark of its numbers.
        folders: folders below the table's where photos may lie.
        inherits: whether a row without title continues the product of the row before.
        titles: columns that only the first row of a product fills.
        own: beginnings of columns that a row never inherits.
        variant: beginnings of columns that a row inherits only if it fills none of them.
        position: column with the number of the photo within its product.
        kind_column: column of the row's kind.
        optional_kinds: kinds of rows that need no photo of their own, with the words for those skipped.
        scope_column: column that only rows of one store view fill.
    """

    title: str
    marks: tuple[tuple[str, ...], ...]
    roles: Mapping[str, tuple[str, ...]]
    decimal: str = "."
    folders: tuple[str, ...] = ()
    inherits: bool = False
    titles: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    variant: tuple[str, ...] = ()
    position: str | None = None
    kind_column: str | None = None
    optional_kinds: Mapping[str, str] = field(default_factory=dict)
    scope_column: str | None = None


_OPTIONS = ("option1value", "option2value", "option3value")

PRESETS = (
    Preset(
        "a Shopify product export",
        (
            ("handle", "urlhandle"),
            ("title",),
            ("imagesrc", "productimageurl"),
            ("variantsku", "variantprice", "imageposition", "option1name", "vendor", "price"),
        ),
        {
            "product_id": ("handle", "urlhandle"),
            "photo": ("imagesrc", "productimageurl", "variantimage", "variantimageurl"),
        },
        inherits=True,
        titles=("title",),
        own=("image", "productimage", "variantimage"),
        variant=(
            "variant",
            "sku",
            "barcode",
            "price",
            "compareatprice",
            "costperitem",
            "inventory",
            "weight",
            *_OPTIONS,
        ),
        position="imageposition",
    ),
    Preset(
        "a WooCommerce product export",
        (
            ("images",),
            ("sku", "id"),
            ("type",),
            ("regularprice", "parent", "isfeatured", "visibilityincatalog", "published"),
        ),
        {"product_id": ("sku", "id"), "photo": ("images",)},
        kind_column="type",
        optional_kinds={"variation": "variation without a photo of its own"},
    ),
    Preset(
        "a Google Merchant feed",
        (("id",), ("imagelink",), ("availability", "price", "link", "title", "description")),
        {"product_id": ("id",), "photo": ("imagelink", "additionalimagelink")},
    ),
    Preset(
        "a Magento product export",
        (
            ("sku",),
            ("baseimage",),
            ("attributesetcode", "producttype", "additionalimages", "smallimage", "categories", "price"),
        ),
        {"product_id": ("sku",), "photo": ("baseimage", "additionalimages")},
        folders=(
            "media/catalog/product",
            "pub/media/catalog/product",
            "pub/media/import",
            "media/import",
            "catalog/product",
        ),
        scope_column="storeviewcode",
    ),
)


def recognise(header: Set[str]) -> Preset | None:
    """The export that has these columns; None where there is none."""
    return next((each for each in PRESETS if all(not header.isdisjoint(group) for group in each.marks)), None)
