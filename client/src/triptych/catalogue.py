"""The catalogue's calls for `Client` and `AsyncClient`: how each goes belongs to `catalogue_calls`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from triptych import catalogue_calls, catalogue_rebuild
from triptych.catalogue_calls import CatalogueCount, CatalogueInfo, CatalogueItem, CataloguePhoto, Prepare, Product
from triptych.catalogue_files import RefusedRow, read_catalogue
from triptych.catalogue_import import Batch, ImportReport, Loading, OpenJournal, journal_path
from triptych.catalogue_rebuild import RebuildStatus
from triptych.embedded_files import EmbeddedLoading, EmbeddedRow, embedded_rows, find_embedded
from triptych.progress import watched_rebuild
from triptych.searching import Filter

if TYPE_CHECKING:
    from triptych.calls import Options, Session, Steps
    from triptych.photo import ImageLike
    from triptych.search_client import AsyncSearching, Searching

T = TypeVar("T")


class Catalogue:
    """The products that `search` finds. Every call needs the catalogue's key: `Client(catalogue_key=...)`."""

    def __init__(self, client: Searching) -> None:
        self._client: Any = client

    def upsert(
        self,
        product_id: str,
        image: ImageLike,
        *,
        fields: Mapping[str, Any] | None = None,
        photo_id: str | None = None,
    ) -> None:
        """Puts a photo of a product into the catalogue, or in the place of the one with these ids.

        Returns once it is durable; the next search sees it.

        Args:
            product_id: of the product.
            image: its photo; see `ImageLike`.
            fields: what a search may filter by and gives back: text, numbers, true or false.
            photo_id: tells several photos of a product apart; the product's own id unless set.

        Raises:
            InvalidInput: the photo or an argument cannot be used.
            PermissionDenied: this client has no key of the catalogue, or another's.
            IncompatibleIndex: the catalogue is of another embedder than the one that serves.
        """
        item = CatalogueItem(product_id, image, {} if fields is None else fields, photo_id)
        self._run(catalogue_calls.upsert_one(self._session, self._options, item))

    def upsert_many(
        self,
        items: Iterable[CatalogueItem],
        *,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> ImportReport:
        """Puts many photos into the catalogue; a bad one is refused alone and is in the report.

        Args:
            items: of any length: they are read only as far ahead as photos are embedded.
            batch_size: see `recognize_many`.
            progress: shows a bar on stderr (needs the extra `cli`).

        Raises:
            TriptychError: what is not about one photo: no server, no key; those before it are in the catalogue.
        """
        return self._load(Loading(items), batch_size, progress)

    def import_file(
        self,
        path: str | os.PathLike[str],
        *,
        journal: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> ImportReport:
        """Puts a catalogue of a file into the server's: `.csv`, `.jsonl`, `.parquet` (extra `parquet`), or a folder.

        A file has `product_id`, `photo` (a path below the file's folder, or a URL) and perhaps `photo_id`; all else
        becomes fields. Of a folder, each photo is a product of its own, named by its path.

        Killed, the same call goes on where it was: nothing is lost, and nothing is embedded twice but the last batch.

        Args:
            path: of the file or folder.
            journal: notes how far it is; beside the file unless named, and removed at the end.
            batch_size: see `recognize_many`.
            progress: shows a bar on stderr (needs the extra `cli`).

        Raises:
            InvalidInput: the file cannot be read, or lacks a column; a bad row is in the report.
            TriptychError: see `upsert_many`.
        """
        rows = read_catalogue(path)
        with OpenJournal(journal_path(path, journal), self._session.target) as done:
            return self._load(Loading(rows, done), batch_size, progress)

    def embed_items(
        self, items: Iterable[CatalogueItem], *, batch_size: int | None = None
    ) -> Iterator[EmbeddedRow | RefusedRow]:
        """Embeds photos for the catalogue without putting them there; the bad ones come last, each with its reason.

        Args:
            items: read only as far ahead as photos are embedded.
            batch_size: see `recognize_many`.

        Raises:
            TriptychError: see `upsert_many`.
        """
        loading = Loading(items)
        embedder = self._run(catalogue_calls.fingerprint(self._session, self._options))
        found = self._client._many(Prepare(), loading.images(), batch_size, True, None, False)
        with contextlib.closing(found):
            for embedded in found:
                yield from embedded_rows(loading.take(embedded), embedder)
        yield from embedded_rows(loading.rest(), embedder)
        yield from loading.report().refused

    def import_embeddings(
        self, path: str | os.PathLike[str], *, journal: str | os.PathLike[str] | None = None
    ) -> ImportReport:
        """Puts photos that are embedded already into the catalogue: what `python -m export embed-catalogue` wrote.

        Killed, the same call goes on with the file it was at; a photo put twice is there once.

        Args:
            path: a folder of Parquet files, or one of them (extra `parquet`).
            journal: notes which files are done; beside the folder unless named, and removed at the end.

        Raises:
            InvalidInput: there are no such files.
            IncompatibleIndex: they were embedded by another network than the one that serves.
            TriptychError: see `upsert_many`.
        """
        files = find_embedded(path)
        with OpenJournal(journal_path(path, journal), self._session.target) as done:
            loading = EmbeddedLoading(files, done)
            for batch, embedder in loading.batches():
                self._run(catalogue_calls.upsert_batch(self._session, self._options, batch, embedder))
        return loading.report()

    def get(self, product_id: str) -> Product | None:
        """A product with its photos; None where there is none of this id."""
        return self._run(catalogue_calls.get(self._session, self._options, product_id))

    def delete(self, product_ids: str | Iterable[str]) -> int:
        """Takes products out, with all their photos; the next search does not see them.

        Returns how many products were there; those that were not are no error.
        """
        ids = [product_ids] if isinstance(product_ids, str) else list(product_ids)
        return self._run(catalogue_calls.delete(self._session, self._options, ids))

    def count(self, filter: Filter | None = None) -> CatalogueCount:
        """How many photos and products there are, or pass a filter."""
        return self._run(catalogue_calls.count(self._session, self._options, filter))

    def export(self, *, embeddings: bool = False, page_size: int = 500) -> Iterator[CataloguePhoto]:
        """All photos, oldest first, as they are needed; with `embeddings` where asked for."""
        after: object = None
        while True:
            rows, after = self._run(catalogue_calls.page(self._session, self._options, after, page_size, embeddings))
            yield from rows
            if after is None or not rows:
                return

    def duplicates(self, threshold: float = 0.95, *, limit: int = 1000) -> tuple[tuple[str, ...], ...]:
        """Groups of products whose photos look alike.

        Args:
            threshold: cosine of the embeddings, above 0 and up to 1.
            limit: groups at most.
        """
        return self._run(catalogue_calls.duplicates(self._session, self._options, threshold, limit))

    def rebuild(self, *, wait: bool = True, progress: bool = False) -> int:
        """Makes the index anew from what is stored; reads, writes and searches go on. Returns how many photos it has.

        Args:
            wait: until the new index is searched; else `status` tells how far it is.
            progress: shows a bar on stderr (needs the extra `cli`).

        Raises:
            NotReady: another rebuild runs, or the server has not loaded `index`.
            ServerFault: the index could not be made; the server tries again by itself.
        """
        with watched_rebuild(progress) as watch:
            return self._run(catalogue_rebuild.rebuild(self._session, self._options, wait, watch))

    def status(self) -> RebuildStatus:
        """Whether the index is being rebuilt, how far that is, and how the last rebuild ended.

        Raises:
            ContractMismatch: the server is of an older release, which does not tell.
        """
        return self._run(catalogue_rebuild.status(self._session, self._options))

    def activate(self) -> str:
        """Lets everybody search what was put in through servers of a new network; for the distributed engine.

        Until then such servers refuse searches (`IncompatibleIndex`), while those of the network before go on with what
        they have. Returns the name of the collection.

        Raises:
            InvalidInput: nothing was put in for this server's network yet, or the server keeps its catalogue itself.
        """
        return self._run(catalogue_calls.activate(self._session, self._options))

    def info(self) -> CatalogueInfo:
        """What the server says about its catalogue."""
        return self._run(catalogue_calls.info(self._session, self._options))

    def _load(self, loading: Loading, batch_size: int | None, progress: bool) -> ImportReport:
        embedder = self._run(catalogue_calls.fingerprint(self._session, self._options))

        def send(batch: Batch | None) -> None:
            if batch is not None:
                self._run(catalogue_calls.upsert_batch(self._session, self._options, batch, embedder))
                loading.acknowledge(batch)

        items = _bulk(self._client)._many(Prepare(), loading.images(), batch_size, True, None, progress)
        with contextlib.closing(items):
            for embedded in items:
                send(loading.take(embedded))
        send(loading.rest())
        return loading.report()

    @property
    def _session(self) -> Session:
        session: Session = self._client._session
        return session

    @property
    def _options(self) -> Options:
        options: Options = self._client._options
        return options

    def _run(self, steps: Steps[T]) -> T:
        result: T = self._client._run(steps)
        return result


class AsyncCatalogue:
    """`Catalogue` for an event loop; files of an import are listed on it, photos are read on threads."""

    def __init__(self, client: AsyncSearching) -> None:
        self._client: Any = client

    async def upsert(
        self,
        product_id: str,
        image: ImageLike,
        *,
        fields: Mapping[str, Any] | None = None,
        photo_id: str | None = None,
    ) -> None:
        """See `Catalogue.upsert`."""
        item = CatalogueItem(product_id, image, {} if fields is None else fields, photo_id)
        await self._run(catalogue_calls.upsert_one(self._session, self._options, item))

    async def upsert_many(
        self,
        items: Iterable[CatalogueItem],
        *,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> ImportReport:
        """See `Catalogue.upsert_many`."""
        return await self._load(Loading(items), batch_size, progress)

    async def import_file(
        self,
        path: str | os.PathLike[str],
        *,
        journal: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> ImportReport:
        """See `Catalogue.import_file`."""
        rows = read_catalogue(path)
        with OpenJournal(journal_path(path, journal), self._session.target) as done:
            return await self._load(Loading(rows, done), batch_size, progress)

    async def embed_items(
        self, items: Iterable[CatalogueItem], *, batch_size: int | None = None
    ) -> AsyncIterator[EmbeddedRow | RefusedRow]:
        """See `Catalogue.embed_items`."""
        loading = Loading(items)
        embedder = await self._run(catalogue_calls.fingerprint(self._session, self._options))
        found = self._client._many(Prepare(), loading.images(), batch_size, True, None, False)
        async with contextlib.aclosing(found):
            async for embedded in found:
                for row in embedded_rows(loading.take(embedded), embedder):
                    yield row
        for row in embedded_rows(loading.rest(), embedder):
            yield row
        for refused in loading.report().refused:
            yield refused

    async def import_embeddings(
        self, path: str | os.PathLike[str], *, journal: str | os.PathLike[str] | None = None
    ) -> ImportReport:
        """See `Catalogue.import_embeddings`."""
        files = find_embedded(path)
        with OpenJournal(journal_path(path, journal), self._session.target) as done:
            loading = EmbeddedLoading(files, done)
            for batch, embedder in loading.batches():
                await self._run(catalogue_calls.upsert_batch(self._session, self._options, batch, embedder))
        return loading.report()

    async def get(self, product_id: str) -> Product | None:
        """See `Catalogue.get`."""
        return await self._run(catalogue_calls.get(self._session, self._options, product_id))

    async def delete(self, product_ids: str | Iterable[str]) -> int:
        """See `Catalogue.delete`."""
        ids = [product_ids] if isinstance(product_ids, str) else list(product_ids)
        return await self._run(catalogue_calls.delete(self._session, self._options, ids))

    async def count(self, filter: Filter | None = None) -> CatalogueCount:
        """See `Catalogue.count`."""
        return await self._run(catalogue_calls.count(self._session, self._options, filter))

    async def export(self, *, embeddings: bool = False, page_size: int = 500) -> AsyncIterator[CataloguePhoto]:
        """See `Catalogue.export`."""
        after: object = None
        while True:
            rows, after = await self._run(
                catalogue_calls.page(self._session, self._options, after, page_size, embeddings)
            )
            for row in rows:
                yield row
            if after is None or not rows:
                return

    async def duplicates(self, threshold: float = 0.95, *, limit: int = 1000) -> tuple[tuple[str, ...], ...]:
        """See `Catalogue.duplicates`."""
        return await self._run(catalogue_calls.duplicates(self._session, self._options, threshold, limit))

    async def rebuild(self, *, wait: bool = True, progress: bool = False) -> int:
        """See `Catalogue.rebuild`."""
        with watched_rebuild(progress) as watch:
            return await self._run(catalogue_rebuild.rebuild(self._session, self._options, wait, watch))

    async def status(self) -> RebuildStatus:
        """See `Catalogue.status`."""
        return await self._run(catalogue_rebuild.status(self._session, self._options))

    async def activate(self) -> str:
        """See `Catalogue.activate`."""
        return await self._run(catalogue_calls.activate(self._session, self._options))

    async def info(self) -> CatalogueInfo:
        """See `Catalogue.info`."""
        return await self._run(catalogue_calls.info(self._session, self._options))

    async def _load(self, loading: Loading, batch_size: int | None, progress: bool) -> ImportReport:
        embedder = await self._run(catalogue_calls.fingerprint(self._session, self._options))

        async def send(batch: Batch | None) -> None:
            if batch is not None:
                await self._run(catalogue_calls.upsert_batch(self._session, self._options, batch, embedder))
                loading.acknowledge(batch)

        items = _bulk(self._client)._many(Prepare(), loading.images(), batch_size, True, None, progress)
        async with contextlib.aclosing(items):
            async for embedded in items:
                await send(loading.take(embedded))
        await send(loading.rest())
        return loading.report()

    @property
    def _session(self) -> Session:
        session: Session = self._client._session
        return session

    @property
    def _options(self) -> Options:
        options: Options = self._client._options
        return options

    async def _run(self, steps: Steps[T]) -> T:
        result: T = await self._client._run(steps)
        return result


def _bulk(client: Any) -> Any:
    """The client itself where it was told a priority, else one over the same connection whose photos may wait."""
    return client.with_options(priority="bulk") if client._options.priority is None else client
