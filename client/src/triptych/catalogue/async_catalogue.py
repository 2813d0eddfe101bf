"""`AsyncCatalogue`: the calls of the catalogue for `AsyncClient`. `_core.catalogue` has the requests and answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
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
    from triptych._runtime.callers import AsyncCaller


P = ParamSpec("P")
T = TypeVar("T")


class AsyncCatalogue:
    """`Catalogue` for an event loop; photos are read on threads, the rows of an import on the event loop."""

    def __init__(self, client: AsyncCaller) -> None:
        self._client = client

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
        await self._call(catalogue.upsert_one, item)

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
        options: ImportOptions | None = None,
        rejects: str | os.PathLike[str] | None = None,
        dry_run: bool = False,
        journal: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> ImportReport:
        """See `Catalogue.import_file`."""
        rows = await asyncio.to_thread(read_catalogue, path, options, progress=progress)
        if dry_run:
            return await asyncio.to_thread(check_rows, rows, rejects)
        opened = OpenJournal(journal_path(path, journal), self._client._session.target)
        with opened as done, rejects_file(rows, rejects) as refused:
            return await self._load(Loading(rows, done, refused), batch_size, progress)

    async def embed_items(
        self, items: Iterable[CatalogueItem], *, batch_size: int | None = None
    ) -> AsyncIterator[EmbeddedRow | RefusedRow]:
        """See `Catalogue.embed_items`."""
        loading = Loading(items)
        embedder = await self._call(catalogue.fingerprint)
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
        with OpenJournal(journal_path(path, journal), self._client._session.target) as done:
            loading = EmbeddedLoading(files, done)
            for batch, embedder in loading.batches():
                await self._call(catalogue.upsert_batch, batch, embedder)
        return loading.report()

    async def get(self, product_id: str) -> Product | None:
        """See `Catalogue.get`."""
        return await self._call(catalogue.get, product_id)

    async def delete(self, product_ids: str | Iterable[str]) -> int:
        """See `Catalogue.delete`."""
        ids = [product_ids] if isinstance(product_ids, str) else list(product_ids)
        return await self._call(catalogue.delete, ids)

    async def count(self, filter: Filter | None = None) -> CatalogueCount:
        """See `Catalogue.count`."""
        return await self._call(catalogue.count, filter)

    async def export(self, *, embeddings: bool = False, page_size: int = 500) -> AsyncIterator[CataloguePhoto]:
        """See `Catalogue.export`."""
        after: object = None
        while True:
            rows, after = await self._call(catalogue.page, after, page_size, embeddings)
            for row in rows:
                yield row
            if after is None or not rows:
                return

    async def duplicates(self, threshold: float = 0.95, *, limit: int = 1000) -> tuple[tuple[str, ...], ...]:
        """See `Catalogue.duplicates`."""
        return await self._call(catalogue.duplicates, threshold, limit)

    async def rebuild(self, *, wait: bool = True, progress: bool = False) -> int:
        """See `Catalogue.rebuild`."""
        with watched_rebuild(progress) as watch:
            return await self._call(rebuild.rebuild, wait, watch)

    async def status(self) -> RebuildStatus:
        """See `Catalogue.status`."""
        return await self._call(rebuild.status)

    async def activate(self) -> str:
        """See `Catalogue.activate`."""
        return await self._call(catalogue.activate)

    async def info(self) -> CatalogueInfo:
        """See `Catalogue.info`."""
        return await self._call(catalogue.info)

    async def _load(self, loading: Loading, batch_size: int | None, progress: bool) -> ImportReport:
        embedder = await self._call(catalogue.fingerprint)

        async def send(batch: Batch | None) -> None:
            if batch is not None:
                refused = await self._call(catalogue.upsert_separately, batch, embedder)
                loading.acknowledge(batch, refused)

        items = self._bulk_client()._many(Prepare(), loading.images(), batch_size, True, None, progress)
        async with contextlib.aclosing(items):
            async for embedded in items:
                await send(loading.take(embedded))
        await send(loading.rest())
        return loading.report()

    def _bulk_client(self) -> AsyncCaller:
        """This client if it has a priority, otherwise one of priority "bulk" over the same connection."""
        is_set = self._client._options.priority is not None
        return self._client if is_set else self._client.with_options(priority="bulk")

    async def _call(
        self, call: Callable[Concatenate[Session, Options, P], Steps[T]], *arguments: P.args, **named: P.kwargs
    ) -> T:
        return await self._client._run(call(self._client._session, self._client._options, *arguments, **named))
