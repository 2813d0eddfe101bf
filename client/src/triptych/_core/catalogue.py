"""The calls of the model `catalogue` and their answers. Performs no I/O."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from triptych._core.calls import infer_content, send_with_retries
from triptych._core.protocol import (
    InferAnswer,
    InferRequest,
    JsonObject,
    RequestedOutput,
    Tensor,
    bytes_tensor,
    elements,
)
from triptych._core.recognition import Contract, Embed, Task
from triptych._core.search import Filter, check_filter, check_id, encoded
from triptych._core.session import Options, Session, open_context
from triptych._core.steps import Read, Steps
from triptych._images.hashes import digest, perceptual_hash
from triptych.errors import ContractMismatch, InvalidInput, TriptychError, UnreadableImage
from triptych.results import Timing

if TYPE_CHECKING:
    from triptych._images.photo import ImageLike

MODEL = "catalogue"
MAX_ITEMS = 256
# The server's limits on an item; a contract test compares them.
MAX_ID_CHARS = 512
MAX_FIELDS_CHARS = 64 * 1024
_ADVICE = "Serve the model repository of this client's release, or install the triptych-client of the server's."


@dataclass(frozen=True, slots=True)
class CatalogueItem:
    """A photo of a product, to be added to the catalogue.

    Attributes:
        product_id: id of the product.
        image: its photo; see `ImageLike`.
        fields: values that searches return and filter by: text, numbers, true or false.
        photo_id: distinguishes the photos of a product; by default the product's id.
    """

    product_id: str
    image: ImageLike
    fields: Mapping[str, Any] = field(default_factory=dict)
    photo_id: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Ids of product and photo."""
        return self.product_id, self.photo_id or self.product_id


@dataclass(frozen=True, slots=True)
class CataloguePhoto:
    """A photo in the catalogue.

    Attributes:
        product_id, photo_id: ids of product and photo.
        fields: the values that were stored with the photo.
        image_digest: sha256 of the file.
        phash: its perceptual hash, 64 bits as hex.
        embedding: `float32[D]`, where it was requested.
    """

    product_id: str
    photo_id: str
    fields: Mapping[str, Any]
    image_digest: str | None = None
    phash: str | None = None
    embedding: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Product:
    """A product in the catalogue with its photos."""

    product_id: str
    photos: tuple[CataloguePhoto, ...]


@dataclass(frozen=True, slots=True)
class CatalogueCount:
    """Numbers of photos and products in the catalogue."""

    photos: int
    products: int


@dataclass(frozen=True, slots=True)
class CatalogueInfo:
    """The state of the server's catalogue.

    Attributes:
        photos, products: numbers of photos and products.
        dimension: length of an embedding; 0 while the catalogue is empty.
        fingerprint: of the embedder that serves.
        engine: the search engine, "embedded" for example.
        details: the complete answer of the server.
    """

    photos: int
    products: int
    dimension: int
    fingerprint: str
    engine: str
    details: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPhoto:
    """The embedding of a photo and the hashes of its file, as the catalogue stores them.

    Attributes:
        phash: None where only the server can decode the photo; matching then uses no perceptual hash.
    """

    vector: npt.NDArray[np.float32] = field(repr=False)
    image_digest: str
    phash: str | None


@dataclass(frozen=True)
class Prepare(Task[PreparedPhoto]):
    """The task that embeds and hashes photos, while other photos are in flight."""

    name = "embed"
    is_heavy = True
    source = "import"

    def outputs(self, contract: Contract) -> Iterator[RequestedOutput]:
        """See `Task`."""
        yield RequestedOutput("embedding")

    def read(
        self, answer: InferAnswer, request: InferRequest, contract: Contract, timing: Timing
    ) -> list[PreparedPhoto]:
        """See `Task`."""
        found = Embed().read(answer, request, contract, timing)
        return [_prepare(content, each.vector) for content, each in zip(request.photos, found, strict=True)]

    def read_rows(self, rows: Any, contract: Contract, origin: dict[str, Any]) -> Iterator[PreparedPhoto]:
        """Not used; see `read`."""
        raise NotImplementedError


def call(
    session: Session,
    options: Options,
    name: str,
    fields: JsonObject | None = None,
    embeddings: npt.NDArray[np.float32] | None = None,
) -> Steps[JsonObject]:
    """One call of the catalogue. Every call is idempotent: an item that is stored twice is there once."""
    context = open_context(session, options)
    inputs = {"request": bytes_tensor([encoded({"call": name, **(fields or {})}, "The request").encode()], (1,))}
    if embeddings is not None:
        inputs["embedding"] = Tensor("FP32", embeddings.shape, embeddings.astype("<f4", copy=False).tobytes())
    parameters = {} if session.catalogue_key is None else {"catalogue_key": session.catalogue_key}
    output = (RequestedOutput("response"),)
    request = InferRequest(MODEL, "", (), output, context.request_id, inputs, parameters, source="import")
    answer: InferAnswer = (yield from send_with_retries(context, request)).answer
    try:
        (text,) = elements(answer.tensors["response"].content)
        found = json.loads(text)
        if not isinstance(found, dict):
            raise TypeError(f"got a {type(found).__name__}")
    except (KeyError, ValueError, TypeError) as error:
        raise ContractMismatch(
            f"Model {MODEL} returned something else than a JSON object ({error}). {_ADVICE}",
            model=MODEL,
            request_id=context.request_id,
        ) from error
    return found


def fingerprint(session: Session, options: Options) -> Steps[str]:
    """The embedder that serves; requested before photos are embedded, so that a later change is detected."""
    return str((yield from call(session, options, "info")).get("fingerprint", ""))


def upsert_one(session: Session, options: Options, item: CatalogueItem) -> Steps[None]:
    """Embeds a photo and adds it to the catalogue."""
    check_item(item)
    embedder = yield from fingerprint(session, options)
    content = yield Read(item.image)
    prepared = yield from infer_content(session, options, Prepare(), content)
    yield from upsert_batch(session, options, [(item, prepared)], embedder)


def upsert_separately(
    session: Session, options: Options, batch: Sequence[tuple[CatalogueItem, PreparedPhoto]], embedder: str
) -> Steps[dict[int, TriptychError]]:
    """Adds embedded photos; a photo that the server refuses costs the others nothing.

    Returns the errors of the refused photos by their place in the batch.
    """
    try:
        yield from upsert_batch(session, options, batch, embedder)
    except InvalidInput as error:
        if len(batch) == 1:
            return {0: error}
        middle = len(batch) // 2
        first = yield from upsert_separately(session, options, batch[:middle], embedder)
        second = yield from upsert_separately(session, options, batch[middle:], embedder)
        return first | {middle + place: refusal for place, refusal in second.items()}
    return {}


def upsert_batch(
    session: Session, options: Options, batch: Sequence[tuple[CatalogueItem, PreparedPhoto]], embedder: str
) -> Steps[int]:
    """Adds embedded photos to the catalogue, all or none; returns their number."""
    rows = [_row(item, photo, embedder) for item, photo in batch]
    vectors = np.stack([photo.vector for _, photo in batch])
    answer = yield from call(session, options, "upsert", {"items": rows}, vectors)
    return int(answer.get("upserted", len(rows)))


def get(session: Session, options: Options, product_id: str) -> Steps[Product | None]:
    """The product of an id, None where there is none."""
    check_id("product_id", product_id)
    answer = yield from call(session, options, "get", {"product_id": product_id})
    photos = tuple(read_photo_row({"product_id": product_id, **row}) for row in answer.get("photos", ()))
    return Product(product_id, photos) if photos else None


def delete(session: Session, options: Options, product_ids: Sequence[str]) -> Steps[int]:
    """Deletes products; returns how many there were."""
    for product_id in product_ids:
        check_id("product_id", product_id)
    answer = yield from call(session, options, "delete", {"product_ids": list(product_ids)})
    return int(answer.get("deleted", 0))


def count(session: Session, options: Options, conditions: Filter | None) -> Steps[CatalogueCount]:
    """Counts all photos and products, or those that pass a filter."""
    if conditions is not None:
        check_filter(conditions)
    answer = yield from call(session, options, "count", {"filter": dict(conditions)} if conditions else {})
    return CatalogueCount(int(answer["photos"]), int(answer["products"]))


def info(session: Session, options: Options) -> Steps[CatalogueInfo]:
    """The state of the catalogue."""
    said = yield from call(session, options, "info")
    return CatalogueInfo(
        int(said.get("photos", 0)),
        int(said.get("products", 0)),
        int(said.get("dimension") or 0),
        str(said.get("fingerprint", "")),
        str(said.get("engine", "")),
        MappingProxyType(said),
    )


def duplicates(session: Session, options: Options, threshold: float, limit: int) -> Steps[tuple[tuple[str, ...], ...]]:
    """Groups of products with similar photos."""
    if not isinstance(threshold, (int, float)) or isinstance(threshold, bool) or not 0 < threshold <= 1:
        raise InvalidInput(f"threshold is {threshold!r}; expected a cosine above 0 and up to 1, 0.95 for example.")
    answer = yield from call(session, options, "duplicates", {"threshold": float(threshold), "limit": limit})
    return tuple(tuple(map(str, cluster)) for cluster in answer.get("clusters", ()))


def page(
    session: Session, options: Options, after: object, limit: int, embeddings: bool
) -> Steps[tuple[list[CataloguePhoto], object]]:
    """The photos after the cursor `after`, and the next cursor; None at the end."""
    asked = {"after": after, "limit": limit, "embeddings": embeddings}
    answer = yield from call(session, options, "export", asked)
    return [read_photo_row(row) for row in answer.get("rows", ())], answer.get("next")


def activate(session: Session, options: Options) -> Steps[str]:
    """Activates the collection of this server's network; returns its name."""
    return str((yield from call(session, options, "activate")).get("active", ""))


def check_item(item: CatalogueItem) -> None:
    """Raises `InvalidInput` for ids and fields that no catalogue can store."""
    _check_stored_id("product_id", item.product_id)
    if item.photo_id is not None:
        _check_stored_id("photo_id", item.photo_id)
    if not isinstance(item.fields, Mapping) or not all(isinstance(name, str) for name in item.fields):
        raise InvalidInput(f"fields is {item.fields!r}; expected values by name: {{'category': 'Shoes', 'price': 59}}.")
    text = encoded(dict(item.fields), "fields")
    if len(text) > MAX_FIELDS_CHARS:
        name, length = max(((name, len(str(value))) for name, value in item.fields.items()), key=lambda pair: pair[1])
        raise InvalidInput(
            f"the fields have {len(text):,} characters; expected at most {MAX_FIELDS_CHARS:,}. The longest is {name!r} "
            f"with {length:,}: shorten it, or leave the column out."
        )
    is_text = True
    try:
        text.encode()
    except UnicodeEncodeError:
        is_text = False
    for name, value in item.fields.items():
        if not is_text or not isinstance(value, str):
            _check_value(name, value)


def _check_stored_id(name: str, value: object) -> None:
    check_id(name, value)
    text = str(value)
    if len(text) > MAX_ID_CHARS:
        raise InvalidInput(f"{name} {text[:40]!r}... has {len(text)} characters; expected at most {MAX_ID_CHARS}.")
    _check_text(name, text)


def _check_value(name: str, value: object) -> None:
    _check_text("the name of a field", name)
    if isinstance(value, str):
        _check_text(name, value)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidInput(f"{name} is {value}, a number of more than 64 bits. Write it as text.")
    elif isinstance(value, (list, tuple)):
        for each in value:
            _check_value(name, each)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            _check_value(f"{name}.{key}", each)


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{name} has a character at place {error.start + 1} that is no text in Unicode, half an emoji for example. "
            "Remove it."
        ) from error


def read_photo_row(row: JsonObject) -> CataloguePhoto:
    """Reads a row of the answer to `get` or `export`."""
    packed = row.get("embedding")
    return CataloguePhoto(
        str(row["product_id"]),
        str(row.get("photo_id", row["product_id"])),
        MappingProxyType(dict(row.get("fields") or {})),
        row.get("image_digest"),
        row.get("phash"),
        None if packed is None else np.frombuffer(base64.b64decode(packed), "<f4"),
    )


def _row(item: CatalogueItem, photo: PreparedPhoto, embedder: str) -> JsonObject:
    product_id, photo_id = item.key
    row: JsonObject = {"product_id": product_id, "photo_id": photo_id, "fields": dict(item.fields)}
    row |= {"image_digest": photo.image_digest, "fingerprint": embedder}
    if photo.phash is not None:
        row["phash"] = photo.phash
    return row


def _prepare(content: bytes, vector: npt.NDArray[np.float32]) -> PreparedPhoto:
    phash = None
    with contextlib.suppress(UnreadableImage):
        phash = perceptual_hash(content)
    return PreparedPhoto(vector, digest(content), phash)
