"""A catalogue embedded through a served `recognizer`, part by part, on Ray Data: this machine or a cluster.

A part is some rows of the catalogue; its Parquet file is named by what is in them, is written whole or not at all, and
is what a later run finds done. The one module of this room that imports the client: reading photos, retries and
back-pressure are the client's, and a second client would be a worse one.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.data
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import export
import triptych
from export.errors import BulkEmbeddingError, WrongUsage
from triptych import CatalogueItem, Client, EmbeddedRow, RefusedRow, TriptychError
from triptych.catalogue_files import read_catalogue
from triptych.catalogue_import import row_key
from triptych.command.embedding_files import replacing
from triptych.embedded_files import find_refused, write_embedded

# What a kill makes a later run embed again, for each worker.
PART_ROWS = 256
# Rows are all that goes through Ray's shared memory; the photos go straight to the server.
_OBJECT_STORE_BYTES = 256 * 2**20
REFUSED = "refused.csv"
_STARTS = 3


@dataclass(frozen=True)
class Settings:
    """What to embed, through which server, into which folder.

    Attributes:
        key: of the server's catalogue.
        workers: processes that call the server; None is one a node.
        in_flight: photos of one worker that are on their way at once.
        address: of a Ray cluster; None is this machine.
        retry_refused: embeds parts in which a photo was refused again.
    """

    catalogue: Path
    output: Path
    target: str
    key: str | None
    workers: int | None = None
    in_flight: int = 16
    address: str | None = None
    retry_refused: bool = False


@dataclass(frozen=True)
class Part:
    """Rows that are done together, and the name of their file."""

    name: str
    items: tuple[CatalogueItem, ...]


class PartEmbedder:
    """A Ray worker: embeds a part and writes its file.

    Args:
        settings: of the run; paths are absolute, on a cluster of a folder that all nodes have.
    """

    def __init__(self, settings: Settings) -> None:
        self._client = Client(settings.target, catalogue_key=settings.key, max_in_flight=settings.in_flight)
        self._output = settings.output

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """What became of it: photos embedded, photos refused, or what stopped it."""
        part: Part = row["part"]
        try:
            rows = list(self._client.catalogue.embed_items(part.items))
        except TriptychError as error:
            return {"embedded": 0, "refused": 0, "failure": f"{type(error).__name__}: {error}"}
        with replacing((str(self._output / part.name),)) as (file,):
            write_embedded(file, map(_columns, rows))
        refused = sum(isinstance(each, RefusedRow) for each in rows)
        return {"embedded": len(rows) - refused, "refused": refused, "failure": ""}


def embed_catalogue(settings: Settings, console: Console) -> dict[str, Any]:
    """Embeds what is not embedded yet; returns counts.

    Raises:
        WrongUsage: no such catalogue, or the output cannot be a folder.
        BulkEmbeddingError: the server or the cluster cannot be used; parts that are done stay.
    """
    # Workers may begin in other folders.
    settings = replace(settings, catalogue=settings.catalogue.resolve(), output=settings.output.resolve())
    fingerprint = _ask_fingerprint(settings)
    refused: list[RefusedRow] = []
    parts = list(_cut(settings.catalogue, fingerprint, refused))
    try:
        settings.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongUsage(
            f"{settings.output} cannot be a folder ({error.strerror}). Choose another --output."
        ) from error
    left = [part for part in parts if not _is_done(settings.output / part.name, settings.retry_refused)]
    if left:
        _run(settings, left, sum(len(part.items) for part in parts), console)
    for stale in set(settings.output.glob("part-*.parquet")) - {settings.output / part.name for part in parts}:
        stale.unlink()
    done = {part.name: len(part.items) for part in parts}
    for name in done:
        refused_there = _find_refused(settings.output / name)
        refused += refused_there
        done[name] -= len(refused_there)
    _write_refused(settings.output / REFUSED, refused)
    return {
        "embedded": sum(done.values()),
        "refused": len(refused),
        "embedded_before": sum(done.values()) - sum(done[part.name] for part in left),
        "parts": len(parts),
        "fingerprint": fingerprint,
        "output": str(settings.output),
    }


def _ask_fingerprint(settings: Settings) -> str:
    try:
        with Client(settings.target, catalogue_key=settings.key) as client:
            return client.catalogue.info().fingerprint
    except TriptychError as error:
        raise BulkEmbeddingError(f"{settings.target}: {error}") from error


def _cut(catalogue: Path, fingerprint: str, refused: list[RefusedRow]) -> Iterator[Part]:
    """The catalogue's rows in parts; those that cannot be read go to `refused`."""
    items: list[CatalogueItem] = []
    number = 0
    try:
        for row in read_catalogue(catalogue):
            if isinstance(row, RefusedRow):
                refused.append(row)
                continue
            items.append(row)
            if len(items) == PART_ROWS:
                yield _part(number, items, fingerprint)
                items, number = [], number + 1
    except (TriptychError, ModuleNotFoundError) as error:
        raise WrongUsage(str(error)) from error
    if items:
        yield _part(number, items, fingerprint)


def _part(number: int, items: list[CatalogueItem], fingerprint: str) -> Part:
    digest = hashlib.sha256(fingerprint.encode())
    for item in items:
        digest.update(row_key(item).encode())
    return Part(f"part-{number:06d}-{digest.hexdigest()[:16]}.parquet", tuple(items))


def _is_done(file: Path, retry_refused: bool) -> bool:
    if not file.exists():
        return False
    return not retry_refused or not _find_refused(file)


def _find_refused(file: Path) -> list[RefusedRow]:
    try:
        return find_refused(file)
    except TriptychError as error:
        raise BulkEmbeddingError(f"{error} Remove it and run the command again: it is made anew.") from error


def _run(settings: Settings, parts: list[Part], total: int, console: Console) -> None:
    _start_ray(settings)
    try:
        workers = settings.workers or max(1, sum(node["Alive"] for node in ray.nodes()))
        done = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts)).map(
            PartEmbedder,
            fn_constructor_args=(settings,),
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(parts))),
        )
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("Embedding", total=total, completed=total - sum(len(p.items) for p in parts))
            for row in done.iter_rows():
                if row["failure"]:
                    raise BulkEmbeddingError(
                        f"{row['failure']} The parts that were done are in {settings.output}: the same command goes on."
                    )
                progress.advance(task, row["embedded"] + row["refused"])
    except ray.exceptions.RayError as error:
        raise BulkEmbeddingError(
            f"A Ray worker failed: {str(error).strip().splitlines()[-1]}. The parts that were done are in "
            f"{settings.output}: the same command goes on."
        ) from error
    finally:
        ray.shutdown()


def _start_ray(settings: Settings) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What Ray says of itself belongs to its own log files; what fails is raised.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    try:
        if settings.address is None:
            _start_local(1 + (settings.workers or 1), quiet)
        else:
            _reach(settings.address)
            # Nodes need the packages of the group `bulk` and of the client; these two folders travel.
            ours = [str(Path(package.__file__ or "").parent) for package in (export, triptych)]
            ray.init(address=settings.address, runtime_env={"py_modules": ours}, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise BulkEmbeddingError(
            f"Ray does not start ({error}). Check --address: `ray status` on the cluster's head says it."
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


def _start_local(cpus: int, quiet: dict[str, Any]) -> None:
    for tries_left in reversed(range(_STARTS)):
        try:
            ray.init(
                num_cpus=cpus,
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
            return
        except Exception as error:  # Ray 2.60 raises it plain after 30 s, which a busy machine may need
            ray.shutdown()
            if "timed out during startup" not in str(error):
                raise
            if not tries_left:
                raise BulkEmbeddingError(f"Ray did not start in {_STARTS} tries ({error}).") from error


def _reach(address: str) -> None:
    """Ray itself would try for minutes. Raises OSError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5).close()


def _columns(row: EmbeddedRow | RefusedRow) -> dict[str, Any]:
    if isinstance(row, RefusedRow):
        return {"product_id": row.product_id, "photo_id": row.photo, "error": row.reason}
    product_id, photo_id = row.item.key
    return {
        "product_id": product_id,
        "photo_id": photo_id,
        "fields": json.dumps(dict(row.item.fields), ensure_ascii=False),
        "embedding": row.prepared.vector,
        "image_digest": row.prepared.image_digest,
        "phash": row.prepared.phash,
        "fingerprint": row.fingerprint,
    }


def _write_refused(file: Path, refused: Iterable[RefusedRow]) -> None:
    rows = list(refused)
    if not rows:
        file.unlink(missing_ok=True)
        return
    with open(file, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(("product_id", "photo", "reason"))
        writer.writerows((row.product_id, row.photo, row.reason) for row in rows)
