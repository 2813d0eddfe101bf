"""Damaged and lost files of the catalogue, and a full disk, at the real server.

Every kind of damage is tested without a server in tests/unit/triptych_models/catalogue/test_damage.py.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ops.settings import ROOT
from tests.faults.served import FREE_PORTS, Served, serving, wait_for
from tests.faults.test_pressure import full, needs_mounts
from triptych import Client, Retry, ServerFault
from triptych.cli import main

pytestmark = pytest.mark.alone
STORE = "catalogue.sqlite3"


def client_of(served: Served) -> Client:
    key = served.folder.catalogue_key_file.read_text().strip()
    return Client(served.target, catalogue_key=key, timeout_s=60, retry=Retry(tries=1))


def verify(served: Served) -> int:
    options = ["--target", served.target, "--catalogue-key-file", str(served.folder.catalogue_key_file)]
    return main(["catalogue", "verify", *options])


def found(client: Client, photo: bytes) -> str | None:
    top = client.search(photo, k=1).top
    return None if top is None else top.product_id


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> Path:
    """The state of a stopped server, whose catalogue has a photo a product and a saved index."""
    state = tmp_path_factory.mktemp("stopped") / "state"
    with serving(state) as served, client_of(served) as client:
        for number, photo in enumerate(contents):
            client.catalogue.upsert(f"sku-{number}", photo, fields={"name": f"name-{number}"})
        assert wait_for(lambda: any((state / "catalogue/index").glob("rows-*.npz")))
    with sqlite3.connect(state / "catalogue" / STORE) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return state


@pytest.fixture
def state(stopped: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(stopped / "catalogue", tmp_path / "state/catalogue")
    return tmp_path / "state"


def test_damage_is_found_named_and_never_served(
    state: Path, contents: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    (vectors,) = (state / "catalogue/index").glob("vectors-*.f32")
    with vectors.open("r+b") as file:
        file.write(os.urandom(len(contents) * 1280 * 4))
    store = state / "catalogue" / STORE
    assert store.read_bytes().count(b'{"name": "name-3"}') == 1
    store.write_bytes(store.read_bytes().replace(b'{"name": "name-3"}', b'{"name": "nome-3"}'))
    with serving(state) as served, client_of(served) as client:
        for number, photo in enumerate(contents):
            assert (found(client, photo) == f"sku-{number}") is (number != 3)
        log = (state / "server.log").read_text()
        assert f"{vectors.name} is damaged: {len(contents)} rows" in log
        assert "photo 'sku-3' of product 'sku-3'" in log
        assert verify(served) == 1
        assert "damaged: ids, fields or hashes of photo 'sku-3' of product 'sku-3'" in capsys.readouterr().out
        with pytest.raises(ServerFault) as refusal:
            client.catalogue.get("sku-3")
        assert refusal.value.code == "catalogue_unusable"
        client.catalogue.upsert("sku-3", contents[3], fields={"name": "name-3"})
        assert found(client, contents[3]) == "sku-3"
        assert verify(served) == 0


def test_server_makes_no_empty_catalogue_in_place_of_a_lost_one(state: Path) -> None:
    store = state / "catalogue" / STORE
    store.write_bytes(b"")
    words = [sys.executable, "-m", "ops", "serve", f"--state-dir={state}", *FREE_PORTS]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    said = ended.stdout + ended.stderr
    assert f"{store} is empty" in said
    assert "triptych catalogue restore" in said
    assert store.read_bytes() == b""


@needs_mounts
def test_full_disk_refuses_writes_while_searches_and_deletes_work(tmp_path: Path, contents: list[bytes]) -> None:
    state = tmp_path / "state"
    with serving(state, "--cache-mb=0", disks={state: "160m"}) as served, client_of(served) as client:
        for number in range(30):
            client.catalogue.upsert(f"sku-{number:03}", contents[number % 8], fields={"text": "x" * 2000})
        acknowledged = {f"sku-{number:03}" for number in range(30)}
        with full(served.folder.folder):
            refusal = refused_write(client, contents, acknowledged)
            assert "Nothing of this request was written" in str(refusal)
            assert refusal.code == "catalogue_unusable"
            assert {photo.product_id for photo in client.catalogue.export()} == acknowledged
            gone = sorted(acknowledged)[:25]
            assert client.catalogue.delete(gone[:1]) == 1
            assert client.catalogue.delete(gone[1:]) == 24
            acknowledged -= set(gone)
            assert found(client, contents[0]) in acknowledged
        assert {photo.product_id for photo in client.catalogue.export()} == acknowledged
        client.catalogue.upsert("after", contents[2])
        assert verify(served) == 0


def refused_write(client: Client, contents: list[bytes], acknowledged: set[str]) -> ServerFault:
    """Writes until a write is refused; adds what was acknowledged."""
    for number in range(len(acknowledged), 1000):
        try:
            client.catalogue.upsert(f"sku-{number:03}", contents[number % 8], fields={"text": "x" * 40_000})
        except ServerFault as refusal:
            return refusal
        acknowledged.add(f"sku-{number:03}")
    raise AssertionError("no write was refused")
