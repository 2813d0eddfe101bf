"""Embeds a catalogue through a served `recognizer` with Ray Data, on this machine or a cluster.

Reading photos, retries and back-pressure are those of the client `triptych`.
"""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.data
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import export
import triptych
from export.bulk_embedding.parts import REFUSED, Part, is_done, read_parts, read_refused, to_columns, write_refused
from export.errors import BulkEmbeddingError, WrongUsage
from triptych import Client, RefusedRow, TriptychError
from triptych.catalogue.embedded_files import write_embedded
from triptych.catalogue.file_replacement import replace_files
from triptych.sources.report import Skipped

# Ray's shared memory holds only rows; workers send the photos directly to the server.
_OBJECT_STORE_BYTES = 256 * 2**20
_STARTS = 3


@dataclass(frozen=True)
class Settings:
    """Settings of one run.

    Attributes:
        key: catalogue key of the server.
        workers: processes that call the server; None is one per node.
        in_flight: concurrent photos per worker.
        address: of a Ray cluster; None is this machine.
        retry_refused: whether to embed again the parts in which a photo was refused.
    """

    catalogue: Path
    output: Path
    target: str
    key: str | None
    workers: int | None = None
    in_flight: int = 16
    address: str | None = None
    retry_refused: bool = False


class PartEmbedder:
    """A Ray worker: embeds a part and writes its file; on a cluster, all nodes share the output folder."""

    def __init__(self, settings: Settings) -> None:
        self._client = Client(settings.target, catalogue_key=settings.key, max_in_flight=settings.in_flight)
        self._output = settings.output

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """The number of embedded and of refused photos, or the error that stopped the part."""
        part: Part = row["part"]
        try:
            rows = list(self._client.catalogue.embed_items(part.items))
        except TriptychError as error:
            return {"embedded": 0, "refused": 0, "failure": f"{type(error).__name__}: {error}"}
        with replace_files((str(self._output / part.name),)) as (file,):
            write_embedded(file, map(to_columns, rows))
        refused = sum(isinstance(each, RefusedRow) for each in rows)
        return {"embedded": len(rows) - refused, "refused": refused, "failure": ""}


def embed_catalogue(settings: Settings, console: Console) -> dict[str, Any]:
    """Embeds the parts that are not done yet; returns counts.

    Raises:
        WrongUsage: the catalogue does not exist, or the output folder cannot be created.
        BulkEmbeddingError: the server or the cluster cannot be used; finished parts are kept.
    """
    # Workers may run in other working directories.
    settings = replace(settings, catalogue=settings.catalogue.resolve(), output=settings.output.resolve())
    fingerprint = _ask_fingerprint(settings)
    refused: list[RefusedRow] = []
    passed_over: list[Skipped] = []
    parts = list(read_parts(settings.catalogue, fingerprint, refused, passed_over))
    for skipped in passed_over:
        console.print(f"{settings.catalogue}: {skipped}", markup=False, highlight=False)
    try:
        settings.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongUsage(f"{settings.output} cannot be created ({error.strerror}). Choose another --output.") from error
    left = [part for part in parts if not is_done(settings.output / part.name, settings.retry_refused)]
    if left:
        _run(settings, left, sum(len(part.items) for part in parts), console)
    for stale in set(settings.output.glob("part-*.parquet")) - {settings.output / part.name for part in parts}:
        stale.unlink()
    done = {part.name: len(part.items) for part in parts}
    for name in done:
        refused_there = read_refused(settings.output / name)
        refused += refused_there
        done[name] -= len(refused_there)
    write_refused(settings.output / REFUSED, refused)
    return {
        "embedded": sum(done.values()),
        "refused": len(refused),
        "passed_over": [skipped.as_json() for skipped in passed_over],
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
                        f"{row['failure']} Finished parts are in {settings.output}; the same command resumes."
                    )
                progress.advance(task, row["embedded"] + row["refused"])
    except ray.exceptions.RayError as error:
        raise BulkEmbeddingError(
            f"A Ray worker failed: {str(error).strip().splitlines()[-1]}. Finished parts are in "
            f"{settings.output}; the same command resumes."
        ) from error
    finally:
        ray.shutdown()


def _start_ray(settings: Settings) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray logs to its own files; failures raise exceptions.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    try:
        if settings.address is None:
            _start_local(1 + (settings.workers or 1), quiet)
        else:
            _check_reachable(settings.address)
            # Nodes need the dependency group `bulk` and the client's dependencies; Ray copies these two packages to
            # them.
            ours = [str(Path(package.__file__ or "").parent) for package in (export, triptych)]
            ray.init(address=settings.address, runtime_env={"py_modules": ours}, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise BulkEmbeddingError(
            f"Ray does not start ({error}). Check --address with `ray status` on the head node of the cluster."
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
        except Exception as error:  # Ray 2.60 raises a plain Exception after 30 s, which a busy machine may exceed
            ray.shutdown()
            if "timed out during startup" not in str(error):
                raise
            if not tries_left:
                raise BulkEmbeddingError(f"Ray did not start in {_STARTS} tries ({error}).") from error


def _check_reachable(address: str) -> None:
    """Checks that the address accepts connections, since Ray itself would retry for minutes.

    Raises:
        OSError: the connection failed.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5).close()
