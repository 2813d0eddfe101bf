"""`triptych check` against the real repository and real servers."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from ops import check
from ops.cli.main import main
from ops.server import launch
from ops.server.local_server import LocalServer
from ops.server.state import StateFolder
from ops.settings import REPOSITORY, Settings
from tests.e2e.bare_server import BareServer, started

FREE_PORTS = ["--http-port=0", "--grpc-port=0", "--metrics-port=0"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareServer]:
    """A server that somebody started with everything open."""
    options = [f"--model-repository={REPOSITORY}/models", "--model-config-name=cpu", "--model-control-mode=explicit"]
    with started(tmp_path_factory.mktemp("bare"), [*options, "--load-model=classifier"]) as server:
        assert server.becomes_ready()
        yield server


@pytest.mark.parametrize("profile", ["cpu", ""])
def test_placed_repository_passes(server: LocalServer, capsys: pytest.CaptureFixture[str], profile: str) -> None:
    assert main(["check", *FREE_PORTS, f"--profile={profile}"]) == 0
    said = capsys.readouterr().out
    assert (
        "9 models: activation_map, catalogue, classifier, embedder, explainer, index, preprocess, recognizer, searcher."
        in said
    )
    assert "error" not in said


def test_taken_port_is_told_and_exits_1(server: LocalServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"--http-port={server.ports.http}", "--grpc-port=0", "--metrics-port=0"]) == 1
    assert f"Port {server.ports.http} (http) is taken by pid " in capsys.readouterr().out


def test_own_healthy_server_is_named_and_exits_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, state_dir=tmp_path / "state")
    with LocalServer(settings) as own:
        ports = [f"--{name}-port={port}" for name, port in dataclasses.asdict(own.ports).items()]
        assert main(["check", f"--state-dir={settings.state_dir}", *ports]) == 0
        said = capsys.readouterr().out
        assert f"is ready: pid {os.getpid()}, gRPC {own.grpc_target}" in said
        assert "error" not in said


def test_open_server_is_fine_on_this_machine_alone(bare: BareServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"--url={bare.ports.http_url}"]) == 0
    assert (
        "can use model-repository, shared-memory, trace, logging without a key. Only this machine reaches it."
        in capsys.readouterr().out
    )


def test_open_server_that_others_reach_is_an_error(
    bare: BareServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "is_loopback", lambda host: False)  # no server is bound to other addresses here
    assert main(["check", f"--url={bare.ports.http_url}"]) == 1
    said = capsys.readouterr().out
    assert "--http-restricted-api=model-repository,shared-memory,trace,logging:KEY=VALUE" in said


def test_server_of_serve_is_fine_for_others_too(
    server: LocalServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "is_loopback", lambda host: False)
    assert main(["check", f"--url={server.http_url}"]) == 0
    assert "Restricted: model-repository, shared-memory, trace, logging." in capsys.readouterr().out


@pytest.mark.parametrize("url", ["localhost:8000", "https://localhost:8000", "http://localhost", "http://x:port"])
def test_address_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert main(["check", f"--url={url}"]) == 2
    assert f"--url is {url}; expected http://HOST:PORT" in capsys.readouterr().err


def test_dead_address_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--url=http://127.0.0.1:1"]) == 1
    assert "http://127.0.0.1:1 does not answer" in capsys.readouterr().out


@pytest.mark.parametrize(("host", "is_loopback"), [("127.0.0.1", True), ("localhost", True), ("192.0.2.1", False)])
def test_loopback_is_told_from_other_addresses(host: str, is_loopback: bool) -> None:
    assert launch.is_loopback(host) == is_loopback


DEAD_PROXY = "http://127.0.0.1:9"
PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
# A shell, a search path, a URL, an ini file or an encoding would take one of these letters for something else.
HOSTILE = 'it\'s a "shöp" $HOME `id` %d #(x) & ;y:z*?<>|\\ \n-'


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment whose proxies answer nothing."""
    for name in PROXIES:
        monkeypatch.setenv(name, DEAD_PROXY)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def write_and_search(target: str, key: str, photo: Path) -> str:
    """Writes one product and returns the product that a search for its photo finds."""
    image = triton.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([photo.read_bytes()], object))
    asked = triton.InferInput("request", [1], "BYTES")
    asked.set_data_from_numpy(np.array([json.dumps({"call": "upsert", "items": [{"product_id": "ö"}]})], object))
    with triton.InferenceServerClient(target, channel_args=[("grpc.enable_http_proxy", 0)]) as channel:
        channel.infer("catalogue", [asked, image], parameters={"catalogue_key": key})
        image.set_shape([1, 1])
        image.set_data_from_numpy(np.array([[photo.read_bytes()]], object))
        answer = channel.infer("searcher", [image]).as_numpy("product_id")
    return str(answer[0][0].decode())


def test_every_command_works_in_folders_of_any_name_and_beside_proxies(
    releases: tuple[Path, Path],
    photos: list[Path],
    tmp_path: Path,
    proxied: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / HOSTILE
    first, second = (Path(shutil.copytree(release, home / release.name)) for release in releases)
    state = home / "-state"
    link = home / "l ï n k"
    link.symlink_to(first)
    own = [f"--state-dir={state}"]
    assert main(["check", *own, *FREE_PORTS, f"--repository={link}"]) == 0
    assert "warning  proxies        http_proxy and HTTP_PROXY and" in capsys.readouterr().out
    assert main(["serve", "--detach", "--quiet", *own, *FREE_PORTS, f"--repository={link}"]) == 0
    try:
        running = StateFolder(state).read()
        assert running is not None
        assert write_and_search(running.ports.grpc_target, (state / "catalogue.key").read_text(), photos[0]) == "ö"
        assert main(["status", *own]) == 0
        assert main(["check", *own, *FREE_PORTS, f"--repository={link}"]) == 0
        assert main(["reload", str(second), *own]) == 0
        assert main(["logs", *own]) == 0
    finally:
        assert main(["stop", *own]) == 0
    assert "error" not in capsys.readouterr().out
