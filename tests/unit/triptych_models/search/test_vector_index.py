from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from triptych_models.catalogue.files.index_files import state_checksum
from triptych_models.catalogue.files.sqlite_file import FILE, FORMAT
from triptych_models.catalogue.records import Floats, Ids, Item
from triptych_models.catalogue.settings import INDEX_FOLDER
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import StoreFault
from triptych_models.search.index_sync import IndexSync
from triptych_models.search.query import SearchQuery
from triptych_models.search.vector_index import VectorIndex

DIMENSION = 64
PHOTOS = 3000


def directions(count: int, seed: int = 0) -> Floats:
    """float32[count,D] in 60 heaps, as photos of products lie."""
    rng = np.random.default_rng(seed)
    heaps = np.random.default_rng(99).normal(size=(60, DIMENSION))
    matrix = heaps[rng.integers(60, size=count)] + 0.5 * rng.normal(size=(count, DIMENSION))
    units: Floats = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    return units


def fill(folder: Path, matrix: Floats, start: int = 0) -> SqliteCatalogueStore:
    """Two photos a product; `even` is of one in a hundred photos."""
    store = SqliteCatalogueStore(folder)
    items = [
        Item(f"p{(start + n) // 2}", f"photo {start + n}", {"rare": n % 100 == 0, "half": n % 2})
        for n in range(len(matrix))
    ]
    for at in range(0, len(items), 256):
        store.upsert(items[at : at + 256], matrix[at : at + 256], "test")
    return store


ANY = SearchQuery()


def search(
    sync: IndexSync, direction: Floats, k: int = 10, query: SearchQuery = ANY, allowed: Ids | None = None
) -> tuple[Ids, Floats]:
    """Every write that was acknowledged before is in the answer."""
    with sync.lock():
        sync.catch_up()
        return sync.index.search(direction, k, query, allowed)


OPENED: list[IndexSync] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Closes what a test opened with `follow` or `reopened`."""
    yield
    while OPENED:
        OPENED.pop().close()


def follow(folder: Path, exact_below: int = 200) -> IndexSync:
    OPENED.append(IndexSync(folder, DIMENSION, lambda line: None, exact_below))
    return OPENED[-1]


def recall(index: VectorIndex, directions: Floats, query: SearchQuery, allowed: Ids | None) -> float:
    """Share of the exact answers that the index finds."""
    hits = total = 0
    for direction in directions:
        exact, _ = index.search(direction, 10, replace(query, exact=True), allowed)
        hits += len(set(exact) & set(index.search(direction, 10, query, allowed)[0]))
        total += len(exact)
    return hits / total


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalogue")
    fill(folder, directions(PHOTOS)).close()
    return folder


@pytest.fixture(scope="module")
def sync(folder: Path) -> Iterator[IndexSync]:
    sync = IndexSync(folder, DIMENSION, lambda line: None, exact_below=200)
    sync.maintain()
    assert sync.index.graph_rows == PHOTOS
    yield sync
    sync.close()


def test_exact_search_is_what_all_comparisons_say(sync: IndexSync) -> None:
    matrix = sync.index.vectors.matrix
    for query in directions(20, seed=1):
        _, similarities = search(sync, query, 10, SearchQuery(group_by_product=False, exact=True))
        expected = np.sort(matrix @ query)[::-1][:10]
        np.testing.assert_allclose(similarities, expected, atol=1e-6)  # sums in another order


@pytest.mark.parametrize("groups", [True, False])
@pytest.mark.parametrize("condition", [None, {"half": 1}, {"rare": True}])
def test_graph_finds_the_exact_answer_when_filtered_or_not(
    sync: IndexSync, groups: bool, condition: dict[str, object] | None
) -> None:
    from triptych_models.catalogue.filters import parse_filter

    allowed = None if condition is None else sync.store.select(parse_filter(condition))
    query = SearchQuery(group_by_product=groups)
    assert recall(sync.index, directions(50, seed=2), query, allowed) >= 0.98


def test_search_gives_one_photo_a_product_unless_told_otherwise(sync: IndexSync) -> None:
    query = directions(1, seed=3)[0]
    ids = search(sync, query, 20)[0].tolist()
    assert len({row[0] for row in sync.store.rows(ids).values()}) == len(ids) == 20


def test_search_answers_less_than_k_when_less_is_near_enough(sync: IndexSync) -> None:
    query = sync.index.vectors.matrix[5]
    assert len(search(sync, query, 10, SearchQuery(min_similarity=0.999))[0]) == 1


def test_search_is_empty_when_the_catalogue_is(tmp_path: Path) -> None:
    assert len(search(follow(tmp_path), directions(1)[0])[0]) == 0


def test_index_sees_writes_past_the_graph_and_removals_in_it(tmp_path: Path) -> None:
    store = fill(tmp_path, directions(600))
    sync = follow(tmp_path)
    sync.maintain()
    assert sync.index.graph_rows == 600
    fresh = directions(1, seed=9)
    store.upsert([Item("fresh", "fresh")], fresh, "test")
    assert sync.store.rows(search(sync, fresh[0], 1)[0].tolist()).popitem()[1][0] == "fresh"
    store.delete(["fresh", "p0"])
    for query in (fresh[0], directions(600)[0]):
        rows = sync.store.rows(search(sync, query, 5)[0].tolist())
        assert {"fresh", "p0"}.isdisjoint(row[0] for row in rows.values())
        assert len(rows) == 5


def reopened(folder: Path) -> tuple[IndexSync, str]:
    lines: list[str] = []
    sync = IndexSync(folder, DIMENSION, lines.append, exact_below=200)
    OPENED.append(sync)
    return sync, lines[0]


def test_index_starts_from_what_it_saved_and_replays_the_rest(tmp_path: Path) -> None:
    store = fill(tmp_path, directions(600))
    first = follow(tmp_path)
    first.maintain()
    first.close()
    fill(tmp_path, directions(10, seed=4), start=600)
    store.delete(["p3"])
    again, said = reopened(tmp_path)
    assert "loaded 610 rows" in said or "loaded 600 rows" in said
    assert again.index.graph_rows == 600
    assert [again.index.vectors.count, int(again.index.vectors.alive.sum())] == [610, 608]
    assert len(search(again, directions(10, seed=4)[9], 1, SearchQuery(min_similarity=0.999))[0]) == 1


def cut(suffix: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (file,) = folder.glob(f"*{suffix}")
        file.write_bytes(file.read_bytes()[:-100])

    return spoil


def remove(suffix: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (file,) = folder.glob(f"*{suffix}")
        file.unlink()

    return spoil


def overwrite_end(folder: Path) -> None:
    (file,) = folder.glob("*.usearch")
    file.write_bytes(file.read_bytes()[:-8] + b"spoiled!")


def of_another_history(folder: Path) -> None:
    state = json.loads((folder / "state.json").read_text())
    state["tip"]["token"] = "0" * 16
    del state["crc32"]
    state["crc32"] = state_checksum(state)
    (folder / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize(
    "spoil",
    [
        *map(cut, (".f32", ".npz", "state.json")),
        *map(remove, (".f32", ".npz", "state.json")),
        of_another_history,
    ],
)
def test_index_is_built_from_the_store_when_what_was_saved_is_damaged(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    fill(tmp_path, directions(600)).close()
    first = follow(tmp_path)
    first.maintain()
    first.close()
    spoil(tmp_path / INDEX_FOLDER)
    again, said = reopened(tmp_path)
    assert "catalogue: built" in said
    assert again.index.vectors.count == 600
    ids, _ = search(again, directions(600)[17], 1, SearchQuery(group_by_product=False))
    assert again.store.rows(ids.tolist()).popitem()[1][1] == "photo 17"


@pytest.mark.parametrize("spoil", [cut(".usearch"), remove(".usearch"), overwrite_end])
def test_graph_alone_is_built_again_when_it_is_damaged(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    fill(tmp_path, directions(600)).close()
    first = follow(tmp_path)
    first.maintain()
    first.close()
    spoil(tmp_path / INDEX_FOLDER)
    again, said = reopened(tmp_path)
    assert "loaded 600 rows" in said
    ids, _ = search(again, directions(600)[17], 1, SearchQuery(group_by_product=False))
    assert again.store.rows(ids.tolist()).popitem()[1][1] == "photo 17"
    assert again.index.graph_rows == 0
    again.maintain()
    assert again.index.graph_rows == 600


def test_index_keeps_to_itself_what_another_process_has_open(tmp_path: Path) -> None:
    fill(tmp_path, directions(600)).close()
    first = follow(tmp_path)
    first.maintain()
    second, said = reopened(tmp_path)
    assert "not used" in said
    assert second.index.vectors.file != first.index.vectors.file
    for sync in (second, first):
        sync._save()
    for sync in (first, second):
        assert sync.index.vectors.file.is_file()
    second.close()
    first._save()
    assert not second.index.vectors.file.exists()


def test_rebuild_leaves_the_dead_behind(tmp_path: Path) -> None:
    store = fill(tmp_path, directions(600))
    sync = follow(tmp_path)
    sync.maintain()
    store.delete([f"p{n}" for n in range(200)])
    epoch = store.request_rebuild()
    sync.maintain()
    assert [sync.index.vectors.count, sync.index.epoch] == [200, epoch]
    assert len(search(sync, directions(600)[500], 1, SearchQuery(min_similarity=0.999))[0]) == 1


def test_store_is_refused_and_untouched_when_a_newer_version_wrote_it(tmp_path: Path) -> None:
    store = fill(tmp_path, directions(10))
    store._connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    store.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StoreFault, match=f"has version {FORMAT + 1}, written by a newer Triptych; .* is unchanged"):
        SqliteCatalogueStore(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_store_says_what_to_do_when_its_file_is_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database, surely" * 100)
    with pytest.raises(StoreFault, match="cannot be used: file is not a database"):
        SqliteCatalogueStore(tmp_path)


def test_store_writes_all_or_nothing_when_the_disk_is_full(tmp_path: Path) -> None:
    store = fill(tmp_path, directions(10))
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    more = [Item(f"q{n}", "x") for n in range(256)]
    with pytest.raises(StoreFault, match=r"database or disk is full.*Nothing of this request was written"):
        store.upsert(more, directions(256), "test")
    assert store.count() == (10, 5)


def test_whoever_reads_a_snapshot_keeps_its_own_errors(tmp_path: Path) -> None:
    store = fill(tmp_path, directions(10))
    with pytest.raises(OSError, match="No space left"), store.snapshot():
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StoreFault, match="no such table: absent"), store.snapshot():
        store._connection.execute("SELECT * FROM absent")
    assert store.count() == (10, 5)


def test_start_says_what_to_do_when_the_index_has_no_place(tmp_path: Path) -> None:
    fill(tmp_path, directions(10)).close()
    (tmp_path / INDEX_FOLDER).touch()
    with pytest.raises(
        StoreFault, match=r"index cannot be created: File exists\. Name a folder in TRIPTYCH_CATALOGUE_DIR"
    ):
        follow(tmp_path)
    (tmp_path / INDEX_FOLDER).unlink()
    assert follow(tmp_path).index.vectors.count == 10
