"""Damaged files of the catalogue's folder: found, named, and repaired from what is sound or refused; never served."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych_models.catalogue.files.checksums import COMPLETE_TO
from triptych_models.catalogue.files.sqlite_file import FILE, MARKER
from triptych_models.catalogue.maintenance.calls import MaintenanceCalls
from triptych_models.catalogue.records import Floats, Item
from triptych_models.catalogue.settings import INDEX_FOLDER
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import StoreFault
from triptych_models.search.index_sync import IndexSync
from triptych_models.search.query import SearchQuery

DIMENSION = 64
PHOTOS = 600
ANY = SearchQuery()

Spoil = Callable[[Path], None]


def matrix_of(count: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(count, DIMENSION)).astype(np.float32)
    units: Floats = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return units


MATRIX = matrix_of(PHOTOS)


def fill(folder: Path, matrix: Floats = MATRIX, start: int = 0) -> None:
    store = SqliteCatalogueStore(folder)
    items = [
        Item(f"product-{start + n:03}", f"photo-{start + n:03}", {"colour": f"shade-{n:03}"})
        for n in range(len(matrix))
    ]
    store.upsert(items, matrix, "test")
    store.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed catalogue with a saved index and graph."""
    folder = tmp_path_factory.mktemp("whole") / "catalogue"
    fill(folder)
    sync = IndexSync(folder, DIMENSION, lambda line: None, exact_below=100)
    sync.maintain()
    assert sync.index.graph_rows == PHOTOS
    sync.close()
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "catalogue"))


class Opened:
    """An index and its log."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []
        self.sync = IndexSync(folder, DIMENSION, self.lines.append, exact_below=100)

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def photos(self, number: int, k: int = 1, query: SearchQuery = ANY) -> list[str]:
        """Photo ids that a search finds for a photo."""
        with self.sync.lock():
            self.sync.catch_up()
            ids, similarities = self.sync.index.search(MATRIX[number], k, query)
            assert np.isfinite(similarities).all()
            rows = self.sync.store.rows(ids.tolist())
            return [rows[id_][1] for id_ in ids.tolist() if id_ in rows]


@pytest.fixture
def open_index() -> Iterator[Callable[[Path], Opened]]:
    opened: list[Opened] = []

    def make(folder: Path) -> Opened:
        opened.append(Opened(folder))
        return opened[-1]

    yield make
    for each in opened:
        each.sync.close()


def verify(folder: Path) -> list[str]:
    """What call `verify` names."""
    store = SqliteCatalogueStore(folder)
    ask = MaintenanceCalls(store, lambda raw, number: Item("", ""), DIMENSION, "test").calls["verify"]
    step: dict[str, Any] | None = {}
    damaged: list[str] = []
    while step is not None:
        answer = ask(step, None)
        damaged += answer["damaged"]
        step = answer["next"]
    store.close()
    return damaged


def index_file(folder: Path, kind: str) -> Path:
    (file,) = (folder / INDEX_FOLDER).glob(f"{kind}*")
    return file


def noise_in_vectors(folder: Path) -> None:
    """M2: 64 bytes every 4 kB in the middle of the rows."""
    chance = random.Random(1)
    size_bytes = PHOTOS * DIMENSION * 4
    with index_file(folder, "vectors").open("r+b") as file:
        for place in range(size_bytes // 4, 3 * size_bytes // 4, 4096):
            file.seek(place)
            file.write(chance.randbytes(64))


def zeros_in_vectors(folder: Path) -> None:
    with index_file(folder, "vectors").open("r+b") as file:
        file.write(bytes(PHOTOS * DIMENSION * 4))


def vectors_of_others(folder: Path) -> None:
    with index_file(folder, "vectors").open("r+b") as file:
        file.write(matrix_of(PHOTOS, seed=5).tobytes())


def flip(kind: str) -> Spoil:
    """Changes a byte in the middle of one of the index's files."""

    def spoil(folder: Path) -> None:
        content = bytearray(index_file(folder, kind).read_bytes())
        content[len(content) // 2] ^= 1
        index_file(folder, kind).write_bytes(content)

    return spoil


def empty(kind: str) -> Spoil:
    return lambda folder: os.truncate(index_file(folder, kind), 0)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (noise_in_vectors, "vectors-"),
        (zeros_in_vectors, "vectors-"),
        (vectors_of_others, "vectors-"),
        (empty("vectors"), "vectors-"),
        (flip("graph"), "graph-"),
        (empty("graph"), "graph-"),
        (flip("rows"), "rows-"),
        (empty("rows"), "rows-"),
        (flip("state"), "state.json"),
        (empty("state"), ""),
    ],
)
@pytest.mark.parametrize("query", [ANY, SearchQuery(exact=True)])
def test_damage_to_the_saved_index_changes_no_answer_and_is_named(
    folder: Path, open_index: Callable[[Path], Opened], spoil: Spoil, named: str, query: SearchQuery
) -> None:
    spoil(folder)
    assert any(named in sentence for sentence in verify(folder))
    opened = open_index(folder)
    for number in range(0, PHOTOS, 7):
        assert opened.photos(number, query=query) == [f"photo-{number:03}"]
    opened.sync.maintain()
    assert named in opened.log
    np.testing.assert_array_equal(opened.sync.index.vectors.matrix, MATRIX)
    assert opened.sync.index.graph_rows == PHOTOS
    opened.sync._save()
    assert verify(folder) == []


def test_sound_catalogue_is_loaded_without_a_word_about_damage(
    folder: Path, open_index: Callable[[Path], Opened]
) -> None:
    assert verify(folder) == []
    opened = open_index(folder)
    opened.sync.maintain()
    assert opened.sync.index.vectors.unchecked == 0
    assert "damaged" not in opened.log
    assert "loaded 600 rows" in opened.log


def other_catalogue(folder: Path) -> None:
    other = folder.parent / "other"
    fill(other, matrix_of(5))
    shutil.copy(other / FILE, folder / FILE)


def other_program(folder: Path) -> None:
    (folder / FILE).unlink()
    with sqlite3.connect(folder / FILE) as connection:
        connection.execute("CREATE TABLE accounts (name TEXT)")
    connection.close()


def overwrite_header(folder: Path) -> None:
    with (folder / FILE).open("r+b") as file:
        file.write(b"noise" * 20)


def truncate(share: float) -> Spoil:
    return lambda folder: os.truncate(folder / FILE, int((folder / FILE).stat().st_size * share))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (truncate(0), "is empty, and .* says that there was one"),
        (truncate(0.5), "malformed"),
        (lambda folder: (folder / FILE).unlink(), "is missing, and .* says that there was one"),
        (overwrite_header, "file is not a database"),
        (other_program, "is a database of another program, with the tables accounts"),
        (other_catalogue, "is not the one of this folder: its identity is"),
    ],
    ids=["emptied", "truncated", "deleted", "header", "other program", "other catalogue"],
)
def test_store_that_is_not_the_folders_catalogue_is_refused_and_untouched(
    folder: Path, spoil: Spoil, sentence: str
) -> None:
    spoil(folder)
    before = (folder / FILE).read_bytes() if (folder / FILE).exists() else None
    for _ in range(2):
        with pytest.raises(StoreFault, match=sentence) as refusal:
            SqliteCatalogueStore(folder)
        assert str(folder / FILE) in str(refusal.value)
        assert "triptych catalogue restore" in str(refusal.value) or MARKER in str(refusal.value)
    assert ((folder / FILE).read_bytes() if (folder / FILE).exists() else None) == before


def test_lost_store_is_refused_where_an_earlier_release_left_no_marker(folder: Path) -> None:
    (folder / MARKER).unlink()
    (folder / FILE).unlink()
    with pytest.raises(StoreFault, match=r"is missing, and .*index says that there was one"):
        SqliteCatalogueStore(folder)


def test_other_catalogue_is_served_once_the_marker_is_removed(folder: Path) -> None:
    other_catalogue(folder)
    (folder / MARKER).unlink()
    store = SqliteCatalogueStore(folder)
    assert store.count() == (5, 5)
    store.close()


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_damage_to_the_write_ahead_log_is_named_with_the_number_of_lost_commits(
    tmp_path: Path, open_index: Callable[[Path], Opened], damage: str
) -> None:
    fill(tmp_path / "a")
    store = SqliteCatalogueStore(tmp_path / "a")
    for number in range(3):
        store.upsert([Item("late", f"late-{number}")], MATRIX[:1], "test")
    running = IndexSync(tmp_path / "a", DIMENSION, lambda line: None, exact_below=100)
    running._save()
    shutil.copytree(tmp_path / "a", tmp_path / "killed")  # as a kill leaves it, with the log
    running.close()
    store.close()
    log = tmp_path / "killed" / f"{FILE}-wal"
    log.write_bytes(log.read_bytes()[:60] + b"noise" + log.read_bytes()[65:]) if damage == "changed" else log.unlink()
    (tmp_path / "killed" / f"{FILE}-shm").unlink()
    opened = open_index(tmp_path / "killed")
    assert "lacks the last 3 commits that the saved index has: its write-ahead log is missing" in opened.log
    assert opened.photos(0) == ["photo-000"]


def change(folder: Path, old: bytes, new: bytes) -> None:
    """Changes bytes of the closed store's file."""
    content = (folder / FILE).read_bytes()
    assert content.count(old) >= 1
    (folder / FILE).write_bytes(content.replace(old, new))


def damage_embedding(folder: Path) -> None:
    old = MATRIX[17].tobytes()
    change(folder, old[8:40], bytes([old[8] ^ 64]) + old[9:40])


def damage_fields(folder: Path) -> None:
    change(folder, b'{"colour": "shade-017"}', b'{"colour": "shade-0\xff7"}')


def damage_product_id(folder: Path) -> None:
    change(folder, b"product-017", b"product-01\xff")


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (damage_embedding, "the embedding of photo 'photo-017' of product 'product-017' (row 18)"),
        (damage_fields, "ids, fields or hashes of photo 'photo-017' of product 'product-017' (row 18)"),
        (damage_product_id, "ids, fields or hashes of photo 'photo-017' of product"),
    ],
)
def test_damaged_photo_is_named_and_left_out_and_can_be_replaced(
    folder: Path, open_index: Callable[[Path], Opened], spoil: Spoil, part: str
) -> None:
    spoil(folder)
    shutil.rmtree(folder / INDEX_FOLDER)
    assert any(part in sentence for sentence in verify(folder))
    opened = open_index(folder)
    assert "photo-017" not in opened.photos(17, k=PHOTOS, query=SearchQuery(exact=True))
    for number in (16, 18):
        assert opened.photos(number) == [f"photo-{number:03}"]
    assert "photo 'photo-017' of product" in opened.log
    store = SqliteCatalogueStore(folder)
    with pytest.raises(StoreFault, match="does not match its checksum"):
        store.export(0, 100)
    if spoil is not damage_product_id:
        with pytest.raises(StoreFault, match="photo 'photo-017' of product 'product-017'"):
            store.get("product-017")
        store.upsert([Item("product-017", "photo-017", {"colour": "shade-017"})], MATRIX[17:18], "test")
        assert opened.photos(17) == ["photo-017"]
        assert len(store.export(0, 1000)) == PHOTOS
        assert verify(folder) == []
    store.close()


def test_damaged_embedding_of_the_store_is_served_from_the_sound_index(
    folder: Path, open_index: Callable[[Path], Opened]
) -> None:
    damage_embedding(folder)
    opened = open_index(folder)
    assert opened.photos(17) == ["photo-017"]
    opened.sync.maintain()
    assert "damaged: the embedding of photo 'photo-017' of product 'product-017'" in opened.log


def test_photo_damaged_in_store_and_index_is_left_out(folder: Path, open_index: Callable[[Path], Opened]) -> None:
    damage_embedding(folder)
    zeros_in_vectors(folder)
    opened = open_index(folder)
    assert "photo-017" not in opened.photos(17, k=PHOTOS, query=SearchQuery(exact=True))
    assert "599 were read from the catalogue again, 1 are left out" in opened.log


def test_catalogue_of_a_release_without_checksums_gets_them_once(
    folder: Path, open_index: Callable[[Path], Opened]
) -> None:
    with sqlite3.connect(folder / FILE) as connection:
        connection.execute("DROP TABLE checksums")
        connection.execute("DELETE FROM meta WHERE key IN ('identity', ?)", (COMPLETE_TO,))
    connection.close()
    (folder / MARKER).unlink()
    opened = open_index(folder)
    assert (folder / MARKER).is_file()
    assert len(opened.sync.store.embedding_checksums()) == PHOTOS
    assert verify(folder) == []
    assert opened.photos(3) == ["photo-003"]


def test_rows_that_an_earlier_release_wrote_meanwhile_get_checksums_at_the_next_start(folder: Path) -> None:
    with sqlite3.connect(folder / FILE) as connection:
        connection.execute("DELETE FROM checksums WHERE photo > 590")
        connection.execute("INSERT INTO commits (token) VALUES ('earlier')")
    connection.close()
    store = SqliteCatalogueStore(folder)
    store.upsert([Item("new", "new")], MATRIX[:1], "test")
    assert len(store.embedding_checksums()) == PHOTOS + 1
    store.close()


def test_leftovers_of_killed_processes_are_removed_at_the_start(
    folder: Path, open_index: Callable[[Path], Opened]
) -> None:
    index = folder / INDEX_FOLDER
    for name in ("graph-dead0000-1.usearch", "vectors-dead0000-1.f32", "state-dead0000-1.tmp", "owner-dead0000.lock"):
        (index / name).write_bytes(b"left")
    for name in ("restore-0.lock", "restore-0.sqlite3"):
        (folder / name).write_bytes(b"left")
    first = open_index(folder)
    mine = first.sync._saved.new_file("graph", "usearch")
    mine.write_bytes(b"in use")
    open_index(folder)
    store = SqliteCatalogueStore(folder)
    MaintenanceCalls(store, lambda raw, number: Item("", ""), DIMENSION, "test")
    store.close()
    assert not [path.name for path in index.iterdir() if "dead0000" in path.name]
    assert not list(folder.glob("restore-*"))
    assert mine.exists()
