"""`Catalogue`: the calls of the catalogue for `Client`. `_core.catalogue` has the requests and answers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from triptych._core import catalogue, rebuild
from triptych._core.catalogue import CatalogueCount, CatalogueInfo, CatalogueItem, CataloguePhoto, Prepare, Product
from triptych._core.rebuild import RebuildStatus
from triptych._core.search import Filter
from triptych._runtime.progress import watched_rebuild
from triptych.catalogue.embedded_files import EmbeddedLoading, EmbeddedRow, embedded_rows, find_embedded
from triptych.catalogue.files import ImportOptions, read_catalogue, rejects_file
from triptych.catalogue.importing import Batch, ImportReport, OpenJournal, journal_path
from triptych.catalogue.loading import Loading, check_rows
from triptych.sources.rows import RefusedRow

if TYPE_CHECKING:
    from triptych._core.session import Options, Session
    from triptych._core.steps import Steps
    from triptych._images.photo import ImageLike
    from triptych._runtime.callers import Caller


P = ParamSpec("P")
T = TypeVar("T")


class Catalogue:
    """The catalogue, in which `search` finds products. Every call needs its key: `Client(catalogue_key=...)`."""

    def __init__(self, client: Caller) -> None:
        self._client = client

    def upsert(
        self,
        product_id: str,
        image: ImageLike,
        *,
        fields: Mapping[str, Any] | None = None,
        photo_id: str | None = None,
    ) -> None:
        """Adds a photo of a product to the catalogue, or replaces the photo with these ids.

        Returns when the photo is durable; the next search finds it.

        Args:
            product_id: id of the product.
            image: its photo; see `ImageLike`.
            fields: values that searches return and filter by: text, numbers, true or false.
            photo_id: distinguishes the photos of a product; by default the product's id.

        Raises:
            InvalidInput: the photo or an argument has a wrong value.
            PermissionDenied: this client has no key of the catalogue, or a wrong one.
            IncompatibleIndex: another embedder than the one that serves embedded the catalogue.
        """
        item = CatalogueItem(product_id, image, {} if fields is None else fields, photo_id)
        self._call(catalogue.upsert_one, item)

    def upsert_many(
        self,
        items: Iterable[CatalogueItem],
        *,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> ImportReport:
        """Adds many photos to the catalogue; a bad photo is refused alone, and the report lists it.

        Args:
            items: any number; they are read only as far ahead as photos are embedded.
            batch_size: see `recognize_many`.
            progress: shows a progress bar on stderr (needs the extra `cli`).

        Raises:
            TriptychError: an error that does not concern one photo, such as no server or no key; the photos before it
                are in the catalogue.
        """
        return self._load(Loading(items), batch_size, progress)

    def import_file(
        self,
        path: str | os.PathLike[str],
        *,
        options: ImportOptions | None = None,
        rejects: str | os.PathLike[str] | None = None,
        dry_run: bool = False,
        journal: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> ImportReport:
        """Imports a table, a feed or a folder of photos into the catalogue; never removes anything from it.

        A table has a column of product ids and one or several of photos; all other columns become fields. In a folder
        each photo is a product; its path is the id. A row that cannot be used is refused alone.

        The same call resumes after an interruption: nothing is lost, and only the last batch is embedded twice.

        Args:
            path: path of the file or folder.
            options: what the user decides about the table; the rest is found out, see the report's `understanding`.
            rejects: file for the refused rows, which can be mended and imported; by default beside the file.
            dry_run: whether to read and check everything, and send nothing; writes `rejects` only if it is given.
            journal: file that records the progress; by default beside the file, and removed at the end.
            batch_size: see `recognize_many`.
            progress: shows a progress bar on stderr (needs the extra `cli`).

        Raises:
            InvalidInput: the table as a whole cannot be understood; the report has the bad rows.
            TriptychError: see `upsert_many`.
        """
        rows = read_catalogue(path, options, progress=progress)
        if dry_run:
            return check_rows(rows, rejects)
        opened = OpenJournal(journal_path(path, journal), self._client._session.target)
        with opened as done, rejects_file(rows, rejects) as refused:
            return self._load(Loading(rows, done, refused), batch_size, progress)

    def embed_items(
        self, items: Iterable[CatalogueItem], *, batch_size: int | None = None
    ) -> Iterator[EmbeddedRow | RefusedRow]:
        """Embeds photos without adding them to the catalogue; the bad photos come last, each with its reason.

        Args:
            items: any number; they are read only as far ahead as photos are embedded.
            batch_size: see `recognize_many`.

        Raises:
            TriptychError: see `upsert_many`.
        """
        loading = Loading(items)
        embedder = self._call(catalogue.fingerprint)
        found = self._client._many(Prepare(), loading.images(), batch_size, True, None, False)
        with contextlib.closing(found):
            for embedded in found:
                yield from embedded_rows(loading.take(embedded), embedder)
        yield from embedded_rows(loading.rest(), embedder)
        yield from loading.report().refused

    def import_embeddings(
        self, path: str | os.PathLike[str], *, journal: str | os.PathLike[str] | None = None
    ) -> ImportReport:
        """Adds photos that `triptych bulk-embed` has embedded to the catalogue.

        The same call resumes after an interruption; a photo that is added twice is there once.

        Args:
            path: a folder of Parquet files, or one of them (extra `parquet`).
            journal: file that records the finished files; by default beside the folder, and removed at the end.

        Raises:
            InvalidInput: there are no such files.
            IncompatibleIndex: another embedder than the one that serves embedded them.
            TriptychError: see `upsert_many`.
        """
        files = find_embedded(path)
        with OpenJournal(journal_path(path, journal), self._client._session.target) as done:
            loading = EmbeddedLoading(files, done)
            for batch, embedder in loading.batches():
                self._call(catalogue.upsert_batch, batch, embedder)
        return loading.report()

    def get(self, product_id: str) -> Product | None:
        """The product of an id with its photos; None where there is none."""
        return self._call(catalogue.get, product_id)

    def delete(self, product_ids: str | Iterable[str]) -> int:
        """Deletes products with all their photos; the next search does not find them.

        Returns the number of deleted products; an unknown id is no error.
        """
        ids = [product_ids] if isinstance(product_ids, str) else list(product_ids)
        return self._call(catalogue.delete, ids)

    def count(self, filter: Filter | None = None) -> CatalogueCount:
        """The numbers of photos and products in the catalogue, or of those that pass a filter."""
        return self._call(catalogue.count, filter)

    def export(self, *, embeddings: bool = False, page_size: int = 500) -> Iterator[CataloguePhoto]:
        """Yields all photos, oldest first; `embeddings` adds their embeddings."""
        after: object = None
        while True:
            rows, after = self._call(catalogue.page, after, page_size, embeddings)
            yield from rows
            if after is None or not rows:
                return

    def duplicates(self, threshold: float = 0.95, *, limit: int = 1000) -> tuple[tuple[str, ...], ...]:
        """Groups of products with similar photos.

        Args:
            threshold: smallest cosine of the embeddings, above 0 and up to 1.
            limit: the largest number of groups.
        """
        return self._call(catalogue.duplicates, threshold, limit)

    def rebuild(self, *, wait: bool = True, progress: bool = False) -> int:
        """Builds the index again from the stored photos; reads, writes and searches continue.

        Returns the number of photos in the new index.

        Args:
            wait: whether to return only when searches use the new index; otherwise `status` shows the progress.
            progress: shows a progress bar on stderr (needs the extra `cli`).

        Raises:
            NotReady: another rebuild runs, or the server has not loaded `index`.
            ServerFault: the build failed; the server tries again itself.
        """
        with watched_rebuild(progress) as watch:
            return self._call(rebuild.rebuild, wait, watch)

    def status(self) -> RebuildStatus:
        """The progress of a rebuild, and the result of the last one.

        Raises:
            ContractMismatch: the server is of an older release, which does not report rebuilds.
        """
        return self._call(rebuild.status)

    def activate(self) -> str:
        """Activates the collection of this server's network for all searches; only for the distributed engine.

        Until then servers of this network refuse searches (`IncompatibleIndex`), and servers of the previous network
        search the previous collection. Returns the name of the collection.

        Raises:
            InvalidInput: the collection of this server's network is empty, or the server stores its catalogue itself.
        """
        return self._call(catalogue.activate)

    def info(self) -> CatalogueInfo:
        """The state of the server's catalogue."""
        return self._call(catalogue.info)

    def _load(self, loading: Loading, batch_size: int | None, progress: bool) -> ImportReport:
        embedder = self._call(catalogue.fingerprint)

        def send(batch: Batch | None) -> None:
            if batch is not None:
                refused = self._call(catalogue.upsert_separately, batch, embedder)
                loading.acknowledge(batch, refused)

        items = self._bulk_client()._many(Prepare(), loading.images(), batch_size, True, None, progress)
        with contextlib.closing(items):
            for embedded in items:
                send(loading.take(embedded))
        send(loading.rest())
        return loading.report()

    def _bulk_client(self) -> Caller:
        """This client if it has a priority, otherwise one of priority "bulk" over the same connection."""
        is_set = self._client._options.priority is not None
        return self._client if is_set else self._client.with_options(priority="bulk")

    def _call(
        self, call: Callable[Concatenate[Session, Options, P], Steps[T]], *arguments: P.args, **named: P.kwargs
    ) -> T:
        return self._client._run(call(self._client._session, self._client._options, *arguments, **named))
