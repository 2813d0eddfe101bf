"""The rendered arguments start the real server, Triton 2.51.0 (release 24.10) of the wheel."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import trustme

from ops.settings import REPOSITORY
from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import Values, render
from tests.e2e.bare_server import BareServer, started
from triptych import Client

KEY = "not-the-real-one"
OLD = TOGGLES["old-server"]


def arguments(values: Values, replaced: dict[str, str]) -> list[str]:
    """The container's arguments with the variables and paths of this test, without the ports."""
    found = []
    for argument in render(merged(OLD, values)).server()["args"]:
        for text, other in {"=/models/": f"={REPOSITORY}/", "@KEY@": KEY, **replaced}.items():
            argument = argument.replace(text, other)
        # The test uses free ports.
        if not re.match("--(http|grpc|metrics)-(port|address)=", argument):
            found.append(argument)
    return found


def status(server: BareServer, path: str, key: str | None = None) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.ports.http}{path}", json.dumps({}).encode(), {"triptych-key": key} if key else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module", autouse=True)
def _models() -> None:
    if not (REPOSITORY / "manifest.json").exists():
        pytest.skip(f"no models in {REPOSITORY}: run `make build`")


def test_defaults_start_a_server_that_recognises_and_keeps_restricted_apis_closed(
    tmp_path: Path, photos: list[Path]
) -> None:
    with started(tmp_path, arguments({}, {})) as server:
        assert server.becomes_ready(), server.log_file.read_text()[-3000:]
        with Client(f"127.0.0.1:{server.ports.grpc}") as client:
            assert client.recognize(photos[0]).labels[0].score > 0
        assert status(server, "/v2/repository/index") == 403
        assert status(server, "/v2/repository/index", "wrong") == 403
        assert status(server, "/v2/repository/index", KEY) == 200


def test_every_other_argument_of_that_release_is_understood(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    options: Values = {
        "triton": {"logVerbose": 1, "extraArgs": ["--buffer-manager-thread-count=2"], "http": {"threads": 4}}
    }
    values = merged(TOGGLES["mutual-tls"], TOGGLES["tracing"], options)
    with started(tmp_path, arguments(values, {"/etc/triptych/tls": str(tmp_path)})) as server:
        assert server.becomes_ready(), server.log_file.read_text()[-3000:]


def test_unknown_argument_stops_the_server(tmp_path: Path) -> None:
    with started(tmp_path, arguments({"triton": {"extraArgs": ["--no-such-flag=1"]}}, {})) as server:
        assert not server.becomes_ready()
        assert "no-such-flag" in server.log_file.read_text()
