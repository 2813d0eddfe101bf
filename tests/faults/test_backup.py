"""Backups of a server that goes on: one moment while others write, restored all or none, refused when damaged."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.served import Served, serving
from triptych import Client
from triptych.cli import main

pytestmark = pytest.mark.alone
PRODUCTS = 120


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("backup") / "state") as served:
        yield served


@pytest.fixture
def shop(served: Served, contents: list[bytes]) -> Iterator[Client]:
    key = served.folder.catalogue_key_file.read_text().strip()
    with Client(served.target, catalogue_key=key, timeout_s=60) as client:
        for number in range(PRODUCTS):
            client.catalogue.upsert(f"sku-{number:03}", contents[number % 8], fields={"round": 0})
        yield client
        client.catalogue.delete([photo.product_id for photo in client.catalogue.export()])


def triptych(served: Served, *words: str) -> int | str | None:
    """The exit code of a command of the catalogue."""
    options = ["--target", served.target, "--catalogue-key-file", str(served.folder.catalogue_key_file)]
    try:
        return main(["catalogue", *words, *options])
    except SystemExit as end:
        return end.code


def state_of(client: Client) -> dict[str, tuple[object, bytes]]:
    return {
        photo.product_id: (photo.fields["round"], b"" if photo.embedding is None else photo.embedding.tobytes())
        for photo in client.catalogue.export(embeddings=True)
    }


def test_backup_is_restored_as_it_was(
    served: Served, shop: Client, contents: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "backup.jsonl"
    kept = state_of(shop)
    assert triptych(served, "backup", str(file)) == 0
    assert capsys.readouterr().out.startswith(f"{PRODUCTS} photos of {PRODUCTS} products in {file}")
    assert triptych(served, "backup", str(file)) == 2
    assert "pass --force to replace it" in capsys.readouterr().err
    shop.catalogue.delete([f"sku-{number:03}" for number in range(60)])
    shop.catalogue.upsert("late", contents[0], fields={"round": 1})
    assert triptych(served, "restore", str(file)) == 2
    assert f"The catalogue has {PRODUCTS - 59} photos. Pass --force" in capsys.readouterr().err
    assert triptych(served, "restore", str(file), "--force") == 0
    assert capsys.readouterr().out.startswith(f"{PRODUCTS} photos of {PRODUCTS} products restored")
    assert state_of(shop) == kept
    top = shop.search(contents[3], k=PRODUCTS)
    assert {match.product_id for match in top.matches} == set(kept)
    assert triptych(served, "verify") == 0
    assert capsys.readouterr().out == f"{PRODUCTS} photos and the files of the catalogue are sound\n"


def test_backup_has_one_moment_while_a_writer_goes_on(
    served: Served, shop: Client, contents: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer changes product after product, a round each: a moment has at most two rounds, in order."""
    monkeypatch.setattr("triptych.cli.catalogue_backup._PAGE", 10)
    file, is_over = tmp_path / "backup.jsonl", threading.Event()

    def write() -> None:
        number = 0
        while not is_over.is_set():
            turn, product = divmod(number, PRODUCTS)
            shop.catalogue.upsert(f"sku-{product:03}", contents[product % 8], fields={"round": turn + 1})
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert triptych(served, "backup", str(file)) == 0
    finally:
        is_over.set()
        writer.join()
    assert triptych(served, "restore", str(file), "--force") == 0
    found = state_of(shop)
    rounds = [int(str(found[f"sku-{number:03}"][0])) for number in range(PRODUCTS)]
    assert len(found) == PRODUCTS
    assert rounds == sorted(rounds, reverse=True)
    assert max(rounds) - min(rounds) <= 1


@pytest.mark.parametrize("damage", ["cut", "changed", "no backup"])
def test_damaged_backup_changes_nothing(
    served: Served, shop: Client, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "backup.jsonl"
    assert triptych(served, "backup", str(file)) == 0
    kept, content = state_of(shop), file.read_bytes()
    file.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "changed": content.replace(b"sku-007", b"sku-700"),
            "no backup": b'{"product_id": "a"}\n',
        }[damage]
    )
    assert triptych(served, "restore", str(file), "--force") == 1
    assert "The catalogue is unchanged." in capsys.readouterr().err
    assert state_of(shop) == kept
