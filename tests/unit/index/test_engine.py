from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from catalogue_errors import StoreFault
from engine import Engine, Nearest, Question
from follower import INDEX_FOLDER, Follower
from store import FILE, FORMAT, Floats, Item, Store

DIMENSION = 64
PHOTOS = 3000


def directions(count: int, seed: int = 0) -> Floats:
    """float32[count,D] in 60 heaps, as photos of products lie."""
    rng = np.random.default_rng(seed)
    heaps = np.random.default_rng(99).normal(size=(60, DIMENSION))
    matrix = heaps[rng.integers(60, size=count)] + 0.5 * rng.normal(size=(count, DIMENSION))
    units: Floats = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    return units


def fill(folder: Path, matrix: Floats, start: int = 0) -> Store:
    """Two photos a product; `even` is of one in a hundred photos."""
    store = Store(folder)
    items = [
        Item(f"p{(start + n) // 2}", f"photo {start + n}", {"rare": n % 100 == 0, "half": n % 2})
        for n in range(len(matrix))
    ]
    for at in range(0, len(items), 256):
        store.upsert(items[at : at + 256], matrix[at : at + 256], "test")
    return store


def search(follower: Follower, question: Question) -> Nearest:
    """Every write that was acknowledged before is in the answer."""
    with follower.lock():
        follower.catch_up()
        return follower.engine.search(question)


OPENED: list[Follower] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Closes what a test opened with `follow` or `reopened`."""
    yield
    while OPENED:
        OPENED.pop().close()


def follow(folder: Path, exact_below: int = 200) -> Follower:
    OPENED.append(Follower(folder, DIMENSION, lambda line: None, exact_below))
    return OPENED[-1]


def recall(engine: Engine, questions: list[Question]) -> float:
    """Share of the exact answers that the engine finds."""
    hits = total = 0
    for question in questions:
        exact = engine.search(Question(**{**question.__dict__, "exact": True}))
        hits += len(set(exact.ids) & set(engine.search(question).ids))
        total += len(exact.ids)
    return hits / total


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalogue")
    fill(folder, directions(PHOTOS)).close()
    return folder


@pytest.fixture(scope="module")
def follower(folder: Path) -> Iterator[Follower]:
    follower = Follower(folder, DIMENSION, lambda line: None, exact_below=200)
    follower.tend()
    assert follower.engine.graph_rows == PHOTOS
    yield follower
    follower.close()


def test_exact_search_is_what_all_comparisons_say(follower: Follower) -> None:
    matrix = follower.engine.vectors.matrix
    for query in directions(20, seed=1):
        nearest = search(follower, Question(query, k=10, groups=False, exact=True))
        expected = np.sort(matrix @ query)[::-1][:10]
        np.testing.assert_allclose(nearest.similarities, expected, atol=1e-6)  # sums in another order


@pytest.mark.parametrize("groups", [True, False])
@pytest.mark.parametrize("condition", [None, {"half": 1}, {"rare": True}])
def test_graph_finds_the_exact_answer_when_filtered_or_not(
    follower: Follower, groups: bool, condition: dict[str, object] | None
) -> None:
    from filters import parse_filter

    allowed = None if condition is None else follower.store.select(parse_filter(condition))
    questions = [Question(query, 10, allowed, groups=groups) for query in directions(50, seed=2)]
    assert recall(follower.engine, questions) >= 0.98


def test_search_gives_one_photo_a_product_unless_told_otherwise(follower: Follower) -> None:
    query = directions(1, seed=3)[0]
    ids = search(follower, Question(query, k=20)).ids.tolist()
    assert len({row[0] for row in follower.store.rows(ids).values()}) == len(ids) == 20


def test_search_answers_less_than_k_when_less_is_near_enough(follower: Follower) -> None:
    query = follower.engine.vectors.matrix[5]
    nearest = search(follower, Question(query, k=10, min_similarity=0.999))
    assert len(nearest.ids) == 1


def test_search_is_empty_when_the_catalogue_is(tmp_path: Path) -> None:
    assert len(search(follow(tmp_path), Question(directions(1)[0])).ids) == 0


def test_index_sees_writes_past_the_graph_and_removals_in_it(tmp_path: Path) -> None:
    store = fill(tmp_path, directions(600))
    follower = follow(tmp_path)
    follower.tend()
    assert follower.engine.graph_rows == 600
    fresh = directions(1, seed=9)
    store.upsert([Item("fresh", "fresh")], fresh, "test")
    assert follower.store.rows(search(follower, Question(fresh[0], k=1)).ids.tolist()).popitem()[1][0] == "fresh"
    store.delete(["fresh", "p0"])
    for query in (fresh[0], directions(600)[0]):
        rows = follower.store.rows(search(follower, Question(query, k=5)).ids.tolist())
        assert {"fresh", "p0"}.isdisjoint(row[0] for row in rows.values())
        assert len(rows) == 5


def reopened(folder: Path) -> tuple[Follower, str]:
    lines: list[str] = []
    follower = Follower(folder, DIMENSION, lines.append, exact_below=200)
    OPENED.append(follower)
    return follower, lines[0]


def test_index_starts_from_what_it_saved_and_replays_the_rest(tmp_path: Path) -> None:
    store = fill(tmp_path, directions(600))
    first = follow(tmp_path)
    first.tend()
    first.close()
    fill(tmp_path, directions(10, seed=4), start=600)
    store.delete(["p3"])
    again, said = reopened(tmp_path)
    assert "loaded 610 rows" in said or "loaded 600 rows" in said
    assert again.engine.graph_rows == 600
    assert [again.engine.vectors.count, int(again.engine.vectors.alive.sum())] == [610, 608]
    assert len(search(again, Question(directions(10, seed=4)[9], k=1, min_similarity=0.999)).ids) == 1


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
    (folder / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize(
    "spoil",
    [
        *map(cut, (".usearch", ".f32", ".npz", "state.json")),
        *map(remove, (".usearch", ".f32", ".npz", "state.json")),
        overwrite_end,
        of_another_history,
    ],
)
def test_index_is_built_from_the_store_when_what_was_saved_is_damaged(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    fill(tmp_path, directions(600)).close()
    first = follow(tmp_path)
    first.tend()
    first.close()
    spoil(tmp_path / INDEX_FOLDER)
    again, said = reopened(tmp_path)
    assert "catalogue: built" in said
    assert again.engine.vectors.count == 600
    nearest = search(again, Question(directions(600)[17], k=1, groups=False))
    assert again.store.rows(nearest.ids.tolist()).popitem()[1][1] == "photo 17"


def test_index_keeps_to_itself_what_another_process_has_open(tmp_path: Path) -> None:
    fill(tmp_path, directions(600)).close()
    first = follow(tmp_path)
    first.tend()
    second, said = reopened(tmp_path)
    assert "not used" in said
    assert second.engine.vectors.file != first.engine.vectors.file
    for follower in (second, first):
        follower._save()
    for follower in (first, second):
        assert follower.engine.vectors.file.is_file()
    second.close()
    first._save()
    assert not second.engine.vectors.file.exists()


def test_rebuild_leaves_the_dead_behind(tmp_path: Path) -> None:
    store = fill(tmp_path, directions(600))
    follower = follow(tmp_path)
    follower.tend()
    store.delete([f"p{n}" for n in range(200)])
    epoch = store.start_over()
    follower.tend()
    assert [follower.engine.vectors.count, follower.engine.epoch] == [200, epoch]
    assert len(search(follower, Question(directions(600)[500], k=1, min_similarity=0.999)).ids) == 1


def test_store_is_refused_and_untouched_when_a_newer_version_wrote_it(tmp_path: Path) -> None:
    store = fill(tmp_path, directions(10))
    store._connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    store.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StoreFault, match=f"is of version {FORMAT + 1}, written by a newer Triptych; .* untouched"):
        Store(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_store_says_what_to_do_when_its_file_is_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database, surely" * 100)
    with pytest.raises(StoreFault, match="cannot be used: file is not a database"):
        Store(tmp_path)


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
    with pytest.raises(StoreFault, match=r"index cannot be made: File exists\. .*TRIPTYCH_CATALOGUE_DIR names it"):
        follow(tmp_path)
    (tmp_path / INDEX_FOLDER).unlink()
    assert follow(tmp_path).engine.vectors.count == 10
