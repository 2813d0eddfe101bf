"""Search and catalogue on the real server: over both transports, by the command, killed and resumed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ops.server.local_server import LocalServer
from ops.settings import Settings
from triptych import Client, InvalidInput, PermissionDenied

TRIPTYCH = [sys.executable, "-W", "error", "-c", "import sys; from triptych.cli import main; sys.exit(main())"]
# The same photo by preprocessing and by the fused model, and in another batch.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def shop_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server whose catalogue is this module's."""
    folder = tmp_path_factory.mktemp("catalogue")
    with LocalServer(
        Settings(http_port=0, grpc_port=0, metrics_port=0, state_dir=None, catalogue_dir=folder)
    ) as server:
        yield server


@pytest.fixture(params=["grpc", "http"])
def owner(shop_server: LocalServer, request: pytest.FixtureRequest, photos: list[Path]) -> Iterator[Client]:
    """Who holds the key; the catalogue has the first ten photos."""
    target = shop_server.grpc_target if request.param == "grpc" else f"127.0.0.1:{shop_server.ports.http}"
    key = shop_server.catalogue_key_file.read_text().strip()
    with Client(target, transport=request.param, catalogue_key=key) as client:
        client.catalogue.delete([photo.product_id for photo in client.catalogue.export()])
        for number, photo in enumerate(photos[:10]):
            client.catalogue.upsert(photo.stem, photo, fields={"price": number, "photo": photo.name})
        yield client


def test_photo_is_found_when_it_was_put_and_not_when_deleted(owner: Client, photos: list[Path]) -> None:
    found = owner.search(photos[4], k=3)
    assert found.top is not None
    assert found.top.product_id == photos[4].stem
    assert found.top.similarity == pytest.approx(1, abs=TOLERANCE)
    assert len(found.matches) == 3
    assert found.fingerprint == owner.catalogue.info().fingerprint
    assert owner.catalogue.delete(photos[4].stem) == 1
    assert photos[4].stem not in [match.product_id for match in owner.search(photos[4], k=50).matches]


def test_searches_agree_when_made_in_three_ways(owner: Client, photos: list[Path]) -> None:
    by_photo = owner.search(photos[2], k=4)
    by_embedding = owner.search_embedding(owner.embed(photos[2]), k=4)
    by_product = owner.similar_to(photos[2].stem, k=3)
    names = [match.product_id for match in by_photo.matches]
    assert names == [match.product_id for match in by_embedding.matches]
    assert names[1:] == [match.product_id for match in by_product.matches]


def test_filters_and_limits_hold(owner: Client, photos: list[Path]) -> None:
    assert len(owner.search(photos[0], filter={"price": {"lt": 3}}).matches) == 3
    assert owner.search(photos[0], filter={"price": 99}).matches == ()
    assert owner.search(photos[15], min_similarity=0.99).matches == ()
    assert owner.catalogue.count({"price": [1, 2]}).photos == 2
    with pytest.raises(InvalidInput, match="Did you mean 'price'"):
        owner.search(photos[0], filter={"prise": 1})
    with pytest.raises(InvalidInput, match="another size"):
        owner.search_embedding(np.ones(7))
    with pytest.raises(InvalidInput, match="No product has the id"):
        owner.similar_to("nobody")
    assert owner.catalogue.get("nobody") is None


def test_part_of_a_collage_finds_its_product(owner: Client, photos: list[Path]) -> None:
    left, right = (Image.open(photo).convert("RGB") for photo in (photos[1], photos[15]))
    collage = Image.new("RGB", (left.width + right.width, max(left.height, right.height)))
    collage.paste(left, (0, 0))
    collage.paste(right, (left.width, 0))
    top = owner.search(collage, box=(0, 0, left.width, left.height)).top
    assert top is not None
    assert top.product_id == photos[1].stem
    assert top.similarity > 0.99


def test_catalogue_is_kept_from_those_without_the_key(owner: Client, shop_server: LocalServer) -> None:
    with Client(shop_server.grpc_target) as stranger, pytest.raises(PermissionDenied, match="catalogue's key"):
        stranger.catalogue.count()


def test_copies_match_and_other_photos_do_not(owner: Client, photos: list[Path]) -> None:
    assert owner.match(photos[3]).method == "digest"
    copy = Image.open(photos[3]).resize((200, 200))
    found = owner.match(copy)
    assert found.verdict == "match"
    assert found.match is not None
    assert found.match.product_id == photos[3].stem
    assert owner.match(photos[15]).verdict == "no_match"


def test_catalogue_is_exported_grouped_and_rebuilt(owner: Client, photos: list[Path]) -> None:
    owner.catalogue.upsert("again", photos[5])
    rows = list(owner.catalogue.export(embeddings=True, page_size=4))
    assert len(rows) == 11
    embedding = rows[0].embedding
    assert embedding is not None
    assert float(embedding @ owner.embed(photos[0]).vector) == pytest.approx(1, abs=TOLERANCE)
    assert owner.catalogue.duplicates(0.99) == (("again", photos[5].stem),)
    assert owner.catalogue.rebuild() == 11


def test_import_loses_and_repeats_nothing_when_killed_and_resumed(
    shop_server: LocalServer, photos: list[Path], tmp_path: Path
) -> None:
    key = shop_server.catalogue_key_file.read_text().strip()
    with open(tmp_path / "products.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["product_id", "photo", "batch"])
        for number in range(240):
            # What follows the end of a JPEG is ignored; the server's answer cache does not know the file.
            content = photos[number % len(photos)].read_bytes() + os.urandom(16)
            (tmp_path / f"{number}.jpg").write_bytes(content)
            rows.writerow([f"killed-{number}", f"{number}.jpg", "killed"])
    command = [*TRIPTYCH, "catalogue", "import", "products.csv", "--target", shop_server.grpc_target]
    environment = {**os.environ, "TRIPTYCH_CATALOGUE_KEY": key}
    journal = tmp_path / "products.csv.import.jsonl"
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as process:
        deadline_s = time.monotonic() + 60
        while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
            assert process.poll() is None, "ended before it could be killed"
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    noted = journal.read_bytes().count(b"\n") - 1
    with Client(shop_server.grpc_target, catalogue_key=key) as client:
        assert noted <= client.catalogue.count({"batch": "killed"}).photos < 240
        second = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert (second.returncode, second.stderr.splitlines()[-1]) == (0, "  240 rows read, 0 refused")
        assert second.stdout == (f"{240 - noted} photos added to the catalogue, {noted} added by an earlier run\n")
        assert client.catalogue.count({"batch": "killed"}).photos == 240
        assert client.catalogue.delete([f"killed-{number}" for number in range(240)]) == 240


def test_sheet_is_written_when_a_photo_is_searched_by_command(
    owner: Client, shop_server: LocalServer, photos: list[Path], tmp_path: Path
) -> None:
    command = [
        *TRIPTYCH,
        "search",
        str(photos[12]),
        "--k",
        "4",
        "--sheet",
        "out.png",
        "--photos",
        str(photos[0].parent),
    ]
    done = subprocess.run(
        [*command, "--target", shop_server.grpc_target], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 5
    assert np.asarray(Image.open(tmp_path / "out.png")).std() > 20
