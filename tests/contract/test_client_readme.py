"""The client's README and guides: every example is run against a real server and prints what stands below it."""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from ops.server.local_server import LocalServer
from ops.settings import Settings
from tests.contract.client_pages import CLIENT, docstring_examples, program, runnable

README = (CLIENT / "README.md").read_text()
SHOE, RUG = "imagenet_11_630.jpg", "imagenet_12_741.jpg"

# Code and what it prints ("" where nothing is shown).
EXAMPLES = [(str(block), block.code, block.output) for block in runnable("python")]
EXAMPLES += [(str(block), *program(block)) for block in docstring_examples()]
# Other processors sum float32 in another order; the pages show two digits, of which the last may turn.
SCORE_TOLERANCE = 0.011


@pytest.fixture
def folder(tmp_path: Path, photos: list[Path]) -> Path:
    """Where the examples run: with the photos they name, one of them cut short."""
    named = {photo.name: photo for photo in photos}
    for name in ("shoe.jpg", "photo.jpg"):
        (tmp_path / name).symlink_to(named[SHOE])
    (tmp_path / "photos").mkdir()
    for name in (SHOE, RUG):
        (tmp_path / "photos" / name).symlink_to(named[name])
    (tmp_path / "shop").mkdir()
    # Copies: an import does not follow links out of the catalogue's folder.
    for name, photo in (("loafer.jpg", SHOE), ("rug.jpg", RUG)):
        (tmp_path / "shop" / name).write_bytes(named[photo].read_bytes())
    rows = "loafer,loafer.jpg,59\nrug,rug.jpg,20\ngone,gone.jpg,1\n"
    (tmp_path / "shop/products.csv").write_text(f"product_id,photo,price\n{rows}")
    (tmp_path / "photos/truncated.jpg").write_bytes(named[SHOE].read_bytes()[:5000])
    return tmp_path


@pytest.fixture
def photo_host(folder: Path) -> Iterator[str]:
    """A web server on this machine that has the photos."""
    handler = functools.partial(_QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as host:
        thread = threading.Thread(target=host.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{host.server_port}"
        host.shutdown()
        thread.join()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


def settings(*options: str) -> Settings:
    return Settings(http_port=0, grpc_port=0, metrics_port=0, server_options=options)


@pytest.fixture
def guarded_server(folder: Path) -> Iterator[LocalServer]:
    """A server that wants mutual TLS and a key; the client's files lie in the folder."""
    authority = trustme.CA()
    served, client = authority.issue_cert("triptych.shop.example", "127.0.0.1"), authority.issue_cert("client")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, identity in (("server", served), ("client", client)):
        identity.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        identity.private_key_pem.write_to_path(folder / f"{name}.key")
    options = (
        "--grpc-use-ssl-mutual=true",
        f"--grpc-server-cert={folder}/server.pem",
        f"--grpc-server-key={folder}/server.key",
        f"--grpc-root-cert={folder}/ca.pem",
        "--grpc-restricted-protocol=inference,model-config:shop-key=secret",
    )
    with LocalServer(settings(*options)) as server:
        yield server


@pytest.fixture
def empty_server(server: LocalServer, remove_products: Callable[[LocalServer], None]) -> LocalServer:
    """The shared server without the products that other tests have written."""
    remove_products(server)
    return server


# What stands for an address in the pages -> the fixture whose address it becomes.
ADDRESSES = {
    "http://127.0.0.1:8000": "empty_server",
    "127.0.0.1:8001": "empty_server",
    "10.0.0.7:8001": "empty_server",
    "10.0.0.8:8001": "ensemble_server",
    "triptych.shop.example:443": "guarded_server",
    "http://photos.shop.internal": "photo_host",
}


CONTROL_KEY = "triptych-control-key=..."
CATALOGUE_KEY = 'catalogue_key="..."'


def placed(code: str, request: pytest.FixtureRequest) -> str:
    """The code with real addresses; fixtures start only the servers it names."""
    for address, fixture in ADDRESSES.items():
        if address in code:
            found = request.getfixturevalue(fixture)
            if not isinstance(found, LocalServer):
                code = code.replace(address, found)
            else:
                code = code.replace(address, found.http_url if address.startswith("http:") else found.grpc_target)
                code = code.replace(CONTROL_KEY, found.api_key)
                code = code.replace(CATALOGUE_KEY, f'catalogue_key="{found.catalogue_key_file.read_text().strip()}"')
    return code


def numbers_apart(text: str) -> tuple[list[str], list[float]]:
    number = r"-?\d+\.\d+"
    return re.split(number, text), [float(found) for found in re.findall(number, text)]


@pytest.mark.parametrize(("heading", "code", "output"), EXAMPLES, ids=[heading for heading, *_ in EXAMPLES])
def test_example_prints_what_is_shown_when_run(
    heading: str, code: str, output: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    program = [sys.executable, "-W", "error", "-c", placed(code, request)]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("TRIPTYCH_")}
    result = subprocess.run(
        program, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    words, numbers = numbers_apart(result.stdout)
    shown_words, shown_numbers = numbers_apart(output)
    assert words == shown_words
    assert numbers == pytest.approx(shown_numbers, abs=SCORE_TOLERANCE)


def test_pages_have_an_example_for_each_side_of_the_client() -> None:
    assert len(EXAMPLES) >= 10
    assert [heading for heading, code, _ in EXAMPLES if len(code.splitlines()) >= 30] == []


def test_extras_are_all_listed_when_compared_with_the_distribution() -> None:
    declared = re.search(
        r"^\[project\.optional-dependencies\]\n(.*?)^\[", (CLIENT / "pyproject.toml").read_text(), re.M | re.S
    )
    assert declared is not None
    extras = re.findall(r"^([\w-]+) =", declared[1], re.M)
    listed = re.search(r"^Extras: (.*?)\.$", README, re.M | re.S)
    assert listed is not None
    assert set(re.findall(r"`(\w+)`\s+for", listed[1])) == set(extras)
