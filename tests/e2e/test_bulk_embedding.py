"""`triptych bulk-embed` and the import of what it wrote, through a real server and a real Ray."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from export.bulk_embedding.parts import PART_ROWS, REFUSED
from ops.server.local_server import LocalServer
from ops.settings import Settings
from triptych import Client, IncompatibleIndex, InvalidInput

ROWS = 2 * PART_ROWS + 40
PARTS = 3
BAD = 7


class Shop:
    """A catalogue's file over the sample photos, one of them cut off, and a server for it."""

    def __init__(self, server: LocalServer, folder: Path, photos: list[Path]) -> None:
        self.server = server
        self.photos = photos
        self.file = folder / "products.csv"
        self.output = folder / "embedded"
        for photo in photos:
            (folder / photo.name).write_bytes(photo.read_bytes())
        (folder / "bad.jpg").write_bytes(photos[0].read_bytes()[:2000])
        self.write(price=1)

    def write(self, price: int) -> None:
        """The last row has the price."""
        with open(self.file, "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("product_id", "photo", "price"))
            for number in range(ROWS):
                name = "bad.jpg" if number == BAD else self.photos[number % len(self.photos)].name
                rows.writerow((f"sku-{number}", name, price if number == ROWS - 1 else 5))

    def start(self, *more: str) -> subprocess.Popen[str]:
        words = [str(self.file), "--output", str(self.output), "--target", self.server.grpc_target]
        key = ["--catalogue-key-file", str(self.server.catalogue_key_file)]
        command = [sys.executable, "-m", "export", "bulk-embed", *words, *key, "--json", *more]
        return subprocess.Popen(
            command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )

    def embed(self, *more: str, code: int = 1) -> dict[str, Any]:
        """What the command says of itself; 1: the bad photo was refused."""
        process = self.start(*more)
        out, err = process.communicate(timeout=280)
        assert process.returncode == code, err
        found: dict[str, Any] = json.loads(out)
        return found

    def parts(self) -> dict[str, int]:
        return {file.name: file.stat().st_mtime_ns for file in self.output.glob("part-*.parquet")}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, photos: list[Path]) -> Iterator[Shop]:
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0)) as server:
        yield Shop(server, tmp_path_factory.mktemp("shop"), photos)


@pytest.fixture
def embedded(shop: Shop) -> Shop:
    """The shop with its catalogue embedded, whichever test ran before."""
    if len(shop.parts()) < PARTS:
        shop.embed()
    return shop


@pytest.mark.timeout(600)
def test_catalogue_is_embedded_once_when_killed_and_changed(shop: Shop) -> None:
    shutil.rmtree(shop.output, ignore_errors=True)
    process = shop.start()
    deadline = time.monotonic() + 240
    while not shop.parts():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = shop.parts()
    assert 1 <= len(before) < PARTS

    report = shop.embed()
    assert (report["embedded"], report["refused"], report["parts"]) == (ROWS - 1, 1, PARTS)
    after = shop.parts()
    assert len(after) == PARTS
    # A worker that outlives its driver for a moment may have finished the part it was at.
    assert before.items() <= after.items()
    with open(shop.output / REFUSED, newline="", encoding="utf-8") as file:
        (refused,) = csv.DictReader(file)
    assert (refused["product_id"], refused["photo"]) == (f"sku-{BAD}", "bad.jpg")
    assert "unreadable image" in refused["reason"]

    assert shop.embed()["embedded_before"] == ROWS - 1
    assert shop.parts() == after

    shop.write(price=2)
    report = shop.embed()
    # The part of 40 rows has changed.
    assert (report["embedded"], report["embedded_before"]) == (ROWS - 1, 2 * PART_ROWS - 1)
    changed = shop.parts()
    assert len(changed) == PARTS
    assert len(changed.items() & after.items()) == 2


@pytest.mark.timeout(600)
def test_embedded_catalogue_is_found_when_imported(embedded: Shop) -> None:
    shop = embedded
    with Client(shop.server.grpc_target, catalogue_key=shop.server.catalogue_key_file.read_text()) as client:
        report = client.catalogue.import_embeddings(shop.output)
        assert (report.upserted, report.skipped, len(report.refused)) == (ROWS - 1, 0, 1)
        assert client.catalogue.count().photos == ROWS - 1
        photo = shop.photos[3]
        found = client.search(photo, k=3)
        assert {shop.photos[int(match.product_id.removeprefix("sku-")) % 20] for match in found.matches} == {photo}
        # Batches of the server's differ in the last bits of an embedding.
        assert [match.similarity for match in found.matches] == pytest.approx([1] * 3, abs=1e-4)
        decision = client.match(photo)
        assert (decision.verdict, decision.method) == ("match", "digest")
        assert client.catalogue.import_embeddings(shop.output).upserted == ROWS - 1
        assert client.catalogue.count().photos == ROWS - 1


@pytest.mark.timeout(600)
def test_import_refuses_embeddings_of_another_network_and_what_is_none(
    embedded: Shop, tmp_path: Path, photos: list[Path]
) -> None:
    shop = embedded
    with Client(shop.server.grpc_target, catalogue_key=shop.server.catalogue_key_file.read_text()) as client:
        first = min(shop.output.glob("part-*.parquet"))
        table = pyarrow.parquet.read_table(first)
        foreign = table.set_column(
            table.schema.get_field_index("fingerprint"), "fingerprint", [["0123456789abcdef"] * table.num_rows]
        )
        pyarrow.parquet.write_table(foreign, tmp_path / "foreign.parquet")
        with pytest.raises(IncompatibleIndex, match="0123456789abcdef"):
            client.catalogue.import_embeddings(tmp_path / "foreign.parquet")
        pyarrow.parquet.write_table(table.drop_columns(["phash"]), tmp_path / "less.parquet")
        with pytest.raises(InvalidInput, match="no column 'phash'"):
            client.catalogue.import_embeddings(tmp_path / "less.parquet")
        (tmp_path / "cut.parquet").write_bytes(first.read_bytes()[:-100])
        with pytest.raises(InvalidInput, match="cannot be read as embeddings"):
            client.catalogue.import_embeddings(tmp_path / "cut.parquet")
        with pytest.raises(InvalidInput, match="no embeddings in"):
            client.catalogue.import_embeddings(tmp_path / "nowhere")
        row = table.slice(0, 1).to_pylist()[0]
        embedding = client.embed(photos[0]).vector
        assert np.asarray(row["embedding"], np.float32) @ embedding == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--target", "127.0.0.1:9"), 1, "No Triptych server answers"),
        (("--address", "127.0.0.1:9"), 1, "Ray does not start"),
        (("--workers", "0"), 2, "expected a whole number from 1"),
        (("--catalogue-key-file", "nowhere.key"), 2, "cannot be read"),
        (("--output", "/proc/embedded"), 2, "cannot be created"),
    ],
)
def test_command_refuses_with_a_sentence_when_it_cannot_begin(
    shop: Shop, words: tuple[str, ...], code: int, said: str
) -> None:
    if words[0] == "--address":
        words = (*words, "--output", str(shop.output.with_name("elsewhere")))
    process = shop.start(*words)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, said in err) == (code, True), err
