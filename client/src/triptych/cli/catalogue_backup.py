"""`triptych catalogue verify`, `backup` and `restore`: over the wire, while the server answers other calls."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych._core.catalogue import MAX_ITEMS, call
from triptych._core.protocol import JsonObject
from triptych._optional import require
from triptych.catalogue.backup_files import check_backup, read_backup, write_backup
from triptych.cli.exit_codes import EXIT_DONE, EXIT_FAILED, CommandFailed, WrongUsage
from triptych.cli.report import printable
from triptych.client import Client
from triptych.errors import InvalidInput, TriptychError

# Photos of one answer: 3.5 MB of JSON at D = 1280.
_PAGE = 500
# The last step of a restore replaces all photos: 100,000 take some 10 s.
_COMMIT_TIMEOUT_S = 900.0

AddCall = Callable[[str, Callable[[argparse.Namespace, Client], int], str], argparse.ArgumentParser]
Advance = Callable[[int], None]


def add_backup_calls(add: AddCall) -> None:
    """Adds the three commands."""
    add("verify", _verify, "compare the stored photos and the index with their checksums; name what is damaged")
    backup = add("backup", _backup, "write all photos with their embeddings to a file: the state of one moment")
    backup.add_argument("file", metavar="FILE", help="the backup, JSON lines; some 7 kB a photo")
    backup.add_argument("--force", action="store_true", help="replace FILE if it exists")
    restore = add("restore", _restore, "replace all photos of the catalogue by those of a backup, all or none")
    restore.add_argument("file", metavar="FILE", help="what `triptych catalogue backup` wrote")
    restore.add_argument("--force", action="store_true", help="replace the photos of a catalogue that is not empty")


def _verify(arguments: argparse.Namespace, client: Client) -> int:
    photos = damaged = 0
    step: JsonObject | None = {}
    with _progress("photos compared") as advance:
        while step is not None:
            answer = _ask(client, "verify", step)
            photos += answer["compared"]
            advance(answer["compared"])
            for sentence in answer["damaged"]:
                damaged += 1
                print(f"damaged: {printable(sentence)}")
            step = answer["next"]
    if damaged:
        print(f"{damaged} damaged parts among {photos} photos and the files of the catalogue")
        print(
            "triptych: add damaged photos again or delete their products; `triptych catalogue rebuild` makes the index "
            "anew; otherwise restore a backup",
            file=sys.stderr,
        )
        return EXIT_FAILED
    print(f"{photos} photos and the files of the catalogue are sound")
    return EXIT_DONE


def _backup(arguments: argparse.Namespace, client: Client) -> int:
    path: str = arguments.file
    _check_target(path)
    if os.path.lexists(path) and not arguments.force:
        raise WrongUsage(f"{path!r} exists. Name another file, or pass --force to replace it.")
    with _progress("photos read") as advance:
        made = write_backup(path, _pages(client, advance))
    size_mb = os.path.getsize(path) / 1e6
    print(f"{made.photos} photos of {made.products} products in {printable(path)} ({size_mb:.1f} MB, read back)")
    return EXIT_DONE


def _check_target(path: str) -> None:
    """Raises:
    WrongUsage: no file can be made there.
    """
    folder = os.path.dirname(path) or "."
    if path == "-":
        raise WrongUsage("A backup is read back, so it cannot go to standard output. Name a file (./- for that name).")
    if not os.path.isdir(folder):
        raise WrongUsage(f"The folder {folder!r} of the backup does not exist. Create it, or name another file.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WrongUsage(f"The folder {folder!r} of the backup cannot be written to. Name a file in another folder.")
    if os.path.lexists(path) and not os.path.isfile(path):
        raise WrongUsage(f"{path!r} is a folder, a device or a pipe; expected a file. Name another.")


def _pages(client: Client, advance: Advance) -> Iterator[JsonObject]:
    cursor: JsonObject = {}
    while True:
        page = _ask(client, "backup", {**cursor, "limit": _PAGE})
        advance(len(page["rows"]))
        yield page
        if page["complete"]:
            return
        cursor = page["next"]


def _restore(arguments: argparse.Namespace, client: Client) -> int:
    try:
        backup = check_backup(arguments.file)
    except InvalidInput as error:
        raise CommandFailed(f"{error} The catalogue is unchanged.") from error
    there = client.catalogue.count()
    if there.photos and not arguments.force:
        raise WrongUsage(
            f"The catalogue has {there.photos} photos. Pass --force to replace them by the {backup.photos} of "
            "the backup."
        )
    asked = {"step": "begin", "fingerprint": backup.fingerprint, "dimension": backup.dimension}
    token = _ask(client, "restore", asked)["restore"]
    try:
        sent = 0
        with _progress("photos sent") as advance:
            for rows, vectors in read_backup(arguments.file, MAX_ITEMS, backup.dimension):
                asked = {"step": "add", "restore": token, "at": sent, "items": rows}
                sent = _ask(client, "restore", asked, vectors)["received"]
                advance(len(rows))
    except BaseException as error:
        with suppress(TriptychError):  # the first error counts
            _ask(client, "restore", {"step": "abort", "restore": token})
        if isinstance(error, InvalidInput):
            raise CommandFailed(f"{error} The catalogue is unchanged.") from error
        raise
    patient = client.with_options(timeout_s=_COMMIT_TIMEOUT_S)
    done = _ask(patient, "restore", {"step": "commit", "restore": token, "photos": backup.photos})
    if (done["photos"], done["products"]) != (backup.photos, backup.products):
        raise CommandFailed(
            f"The catalogue has {done['photos']} photos of {done['products']} products after the restore; expected "
            f"{backup.photos} of {backup.products}. Another client has written meanwhile, or see the server's log."
        )
    print(f"{done['photos']} photos of {done['products']} products restored, the state of {backup.created_at}")
    return EXIT_DONE


# Calls that send many requests; their default priority is bulk.
JOBS = (_verify, _backup, _restore)


def _ask(
    client: Client, name: str, fields: JsonObject, embeddings: npt.NDArray[np.float32] | None = None
) -> JsonObject:
    return client._run(call(client._session, client._options, name, fields, embeddings))


@contextmanager
def _progress(unit: str) -> Iterator[Advance]:
    """Gives a function that counts photos in a progress bar on a terminal; a bar needs the extra `cli`."""
    bar: Any = None
    if sys.stderr.isatty():
        with suppress(ModuleNotFoundError):
            bar = require("tqdm.auto", extra="cli", wanted_by="A progress bar").tqdm(unit=f" {unit}")
    if bar is None:
        yield lambda count: None
        return
    with bar:
        yield bar.update
