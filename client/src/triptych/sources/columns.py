"""Which column of a table is the product's id, its photos, and the id of a photo."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from triptych.errors import InvalidInput
from triptych.sources.presets import Preset, recognise

ROLES = ("product_id", "photo", "photo_id")
_ROLE_NAMES = {
    "id": "product_id",
    "product_id": "product_id",
    "product": "product_id",
    "photo": "photo",
    "photos": "photo",
    "image": "photo",
    "images": "photo",
    "photo_id": "photo_id",
    "image_id": "photo_id",
}
# Names in the form of `plain`; of several groups the first that the table has decides.
_ID_NAMES: tuple[tuple[str, ...], ...] = (
    ("productid",),
    (
        "id", "sku", "handle", "articleid", "itemid", "itemnumber", "articlenumber", "artikelnummer",
        "artikelnr", "artnr", "artikelid", "produktid", "produktnummer", "productnumber", "productcode",
        "productsku", "productref", "offerid", "reference", "referencia", "référence", "riferimento",
        "codice", "codigo", "código", "itemcode", "skuid", "variantsku", "urlhandle", "stylenumber", "asin",
        "idproduct", "idproduit", "produitid", "idproducto", "productkey",
    ),
    (
        "identifier", "productidentifier",
        "itemsku", "sellersku", "bestellnummer", "bestellnr", "référenceproduit", "refproduit",
        "référencearticle", "codeproduit", "codearticle", "códigoproducto", "códigodoproduto", "codiceprodotto",
        "codicearticolo", "kodproduktu", "symbol", "indeks", "numerkatalogowy", "artikelcode", "productnummer",
        "varenummer", "varenr", "artikelkod", "ürünkodu", "stokkodu", "kódproduktu", "cikkszám", "артикул",
        "кодтовара", "商品コード", "商品番号", "商品id", "品番", "型番", "货号", "商品编号", "商品编码", "產品編號",
        "상품코드", "상품번호", "رمزالمنتج",
    ),
    ("ean", "gtin", "upc", "barcode", "slug", "code"),
)  # fmt: skip
_PHOTO_NAMES: tuple[tuple[str, ...], ...] = (
    ("photo",),
    ("image",),
    (
        "path", "imageurl", "imagelink", "imagesrc", "imagepath", "imagefile", "imagefilename", "imagename",
        "img", "imgurl", "imgsrc", "images", "imageurls", "imagelinks", "photos", "photourl", "photourls",
        "photopath", "photofile", "picture", "pictures", "pictureurl", "picturelink", "pic", "foto",
        "fotos", "fotourl", "fotografie", "bild", "bilder", "bildurl", "bildlink", "bilddatei", "bildpfad",
        "produktbild", "productimage", "productphoto", "productpicture", "productimageurl", "mainimage",
        "mainimageurl", "mainphoto", "mainpicture", "hauptbild", "primaryimage", "primaryimageurl",
        "baseimage", "featuredimage", "coverimage", "immagine", "immagini", "imagen", "imagenes",
        "imágenes", "imagem", "imagens", "imageprincipale", "urlimage", "urlfoto", "afbeelding",
        "afbeeldingen", "zdjęcie", "zdjecie", "obraz", "obrázek", "kép", "kuva", "billede", "görsel",
        "resim", "画像", "图片", "изображение", "фото",
    ),
    (
        "商品画像", "画像url", "メイン画像", "主图", "商品图片", "圖片", "이미지", "상품이미지",
        "фотография", "картинка", "zdjęciegłówne", "zdjęcia", "obrazek", "urlimages",
        "imagemain", "photoprincipale", "immagineprincipale", "imagenprincipal", "imagemprincipal", "urlphoto",
        "urlbild", "hoofdafbeelding", "ürünresmi", "صورة", "תמונה",
    ),
    ("filename", "file", "filepath", "dateiname", "datei", "src"),
    ("url", "link", "href"),
)  # fmt: skip
_PHOTO_ID_NAMES = (("photoid", "imageid", "pictureid", "bildid", "fotoid"),)
_FURTHER = re.compile(
    r"(additional|more|other|extra|further|gallery|weitere|zusätzliche|secondary)(image|photo|picture|bild|foto)\w*"
)
_BRACKETS = re.compile(r"[(\[][^()\[\]]*[)\]]")  # "Image URLs (x,y,z...)"
_NUMBERED = re.compile(r"(.+?)0*(\d{1,2})")


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """The columns of the roles.

    Attributes:
        product_id: columns of the id; the first that a row fills counts.
        photos: columns of photos, in the order of the photos.
        photo_id: column that distinguishes the photos of a product, or None.
        preset: the export that was recognised, or None.
        stated: sentences: "product_id: SKU", "photo: Image Src".
    """

    product_id: tuple[str, ...]
    photos: tuple[str, ...]
    photo_id: str | None
    preset: Preset | None
    stated: tuple[str, ...]

    @property
    def used(self) -> frozenset[str]:
        """The columns that have a role, and are no fields."""
        own = {*self.product_id[:1], *self.photos}
        return frozenset(own if self.photo_id is None else own | {self.photo_id})

    def as_json(self) -> dict[str, tuple[str, ...]]:
        """The columns by role."""
        told = {"product_id": self.product_id, "photo": self.photos}
        return told if self.photo_id is None else {**told, "photo_id": (self.photo_id,)}


def plain(name: str) -> str:
    """A name without case, blanks, signs, a prefix of XML: "g:Image Link" is "imagelink"."""
    text = unicodedata.normalize("NFKC", name).strip().casefold().removeprefix("g:")
    return "".join(each for each in text if each.isalnum())


def words_of(name: str) -> list[str]:
    """The words of a column's name: "itemGroupId" is item, group, id."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))
    return re.findall(r"[^\W_]+", parted.casefold())


def read_map(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Reads `--map id=SKU,photo="Image Src"`; the same role may come several times.

    Raises:
        InvalidInput: a text is no mapping, or names an unknown role.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        for part in re.findall(r"(?:[^,\"']|\"[^\"]*\"|'[^']*')+", text):
            role, sign, columns = part.partition("=")
            known = _ROLE_NAMES.get(role.strip().lower().replace("-", "_"))
            if not sign or known is None or not columns.strip():
                raise InvalidInput(
                    f"--map {text!r} has {part.strip()!r}; expected ROLE=COLUMN with the roles id, photo and photo_id: "
                    "--map id=SKU,photo='Image Src'. All other columns become fields under their own names."
                )
            found[known] = (*found.get(known, ()), _unquoted(columns))
    return found


def _unquoted(text: str) -> str:
    text = text.strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if is_quoted else text


def map_columns(columns: Sequence[str], given: Mapping[str, Sequence[str]], source: str) -> ColumnMapping:
    """Finds the columns of the roles.

    Args:
        columns: of the table.
        given: columns by role that the user names; a name may join several with "+".
        source: the table for sentences.

    Raises:
        InvalidInput: a column is missing, or several may be meant.
    """
    preset = recognise({plain(name) for name in columns})
    chosen = {role: _named(columns, names, source) for role, names in given.items()}
    by_name = {plain(name): name for name in reversed(columns)}
    if preset is not None:
        for role, names in preset.roles.items():
            chosen.setdefault(role, tuple(by_name[name] for name in names if name in by_name))
    ids = chosen.get("product_id") or (_found("id", columns, _ID_NAMES, source),)
    photos = chosen.get("photo") or _photos(columns, source)
    photo_id = chosen.get("photo_id") or tuple(by_name[name] for name in _PHOTO_ID_NAMES[0] if name in by_name)[:1]
    stated = [] if preset is None else [f"recognised as {preset.title}"]
    told = (("product_id", " or ".join(ids)), ("photo", ", ".join(photos)), ("photo_id", "".join(photo_id)))
    stated += [f"{role}: {names}" for role, names in told if names not in ("", role)]
    return ColumnMapping(tuple(ids), tuple(photos), photo_id[0] if photo_id else None, preset, tuple(stated))


def _named(columns: Sequence[str], names: Sequence[str], source: str) -> tuple[str, ...]:
    found: list[str] = []
    for name in names:
        parts = [name] if _column(columns, name) is not None else [_unquoted(part) for part in name.split("+")]
        for part in parts:
            column = _column(columns, part)
            if column is None:
                raise InvalidInput(_missing(f"column {part!r}, which --map names", part, columns, source))
            found.append(column)
    return tuple(dict.fromkeys(found))


def _column(columns: Sequence[str], name: str) -> str | None:
    if name in columns:
        return name
    alike = [each for each in columns if plain(each) == plain(name)]
    return alike[0] if len(alike) == 1 else None


def _found(role: str, columns: Sequence[str], groups: Sequence[Sequence[str]], source: str) -> str:
    for group in groups:
        candidates = [name for name in columns if plain(name) in group]
        candidates = candidates or [name for name in columns if plain(_BRACKETS.sub("", name)) in group]
        if len(candidates) > 1:
            exact = [name for name in candidates if name in ("product_id", "photo", "image", "path", "url")]
            if len(exact) != 1:
                raise InvalidInput(
                    f"{source} has several columns that may be the {role}: {', '.join(map(repr, candidates))}. "
                    f"Say which: --map {role}={_as_argument(candidates[0])}."
                )
            candidates = exact
        if candidates:
            return candidates[0]
    wanted = "product_id" if role == "id" else "photo"
    raise InvalidInput(_missing(f"column {wanted!r}", wanted, columns, source, role))


def _photos(columns: Sequence[str], source: str) -> tuple[str, ...]:
    further = [name for name in columns if _FURTHER.fullmatch(plain(name))]
    rest = [name for name in columns if name not in further]
    numbered = _numbered(rest)
    first = numbered[:1] or [_found("photo", rest, _PHOTO_NAMES, source)]
    # An API's answer has the first photo, and a list of all.
    both = [name for name in rest if plain(name) == plain(first[0]) + "s"]
    return tuple(dict.fromkeys([*first, *both, *numbered[1:], *further]))


def _numbered(columns: Sequence[str]) -> list[str]:
    """A series of columns, with the one without number if there is one: image, image_2, image_3."""
    known = {name for group in _PHOTO_NAMES for name in group}
    series: dict[str, list[tuple[int, str]]] = {}
    for name in columns:
        found = _NUMBERED.fullmatch(plain(name))
        base = plain(name) if found is None else found[1]
        if base in known:
            series.setdefault(base, []).append((0 if found is None else int(found[2]), name))
    several = [sorted(names) for names in series.values() if any(number for number, _ in names)]
    return [name for _, name in several[0]] if len(several) == 1 and len(series) == 1 else []


def _missing(what: str, wanted: str, columns: Sequence[str], source: str, role: str | None = None) -> str:
    by_plain = {plain(name): name for name in columns}
    near = difflib.get_close_matches(plain(wanted), by_plain, 3, 0.55)
    advice = f"Did you mean {' or '.join(repr(by_plain[name]) for name in near)}? " if near else ""
    example = _as_argument(by_plain[near[0]] if near else "COLUMN")
    how = f"Say --map {role}={example}; further columns become fields." if role else "Check its name."
    shown = ", ".join(columns[:40]) + (f" and {len(columns) - 40} more" if len(columns) > 40 else "")
    return f"{source} has no {what}; it has {shown or 'none'}. {advice}{how}"


def _as_argument(name: str) -> str:
    return name if name.isidentifier() else f"'{name}'"
