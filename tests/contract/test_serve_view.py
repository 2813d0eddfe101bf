"""The requests that `serve` prints once it is ready work as they are pasted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import trustme

from ops.server.local_server import LocalServer
from ops.settings import Settings
from ops.supervision.serve_view import describe_requests


def test_requests_that_serve_prints_work_as_pasted(
    server: LocalServer, photos: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # elsewhere than the root: paths must still lead somewhere
    lines = describe_requests(server.ports, ["recognizer"])
    commands = [line.strip() for line in lines if line.startswith("  ")]
    assert len(commands) == 3
    outputs = [
        subprocess.run(["bash", "-euc", command], capture_output=True, text=True, check=True, timeout=60).stdout
        for command in commands
    ]
    assert "bull mastiff" in outputs[0]
    assert outputs[1].strip() == "bull mastiff"
    assert b"retail_score" in (tmp_path / "answer.bin").read_bytes()


@pytest.mark.parametrize("option", ["--grpc-use-ssl", "--grpc-use-ssl-mutual"])
def test_request_over_tls_works_with_the_files_that_it_names(option: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "CA.pem")
    for name, identity in (("server", authority.issue_cert("127.0.0.1")), ("CLIENT", authority.issue_cert("client"))):
        identity.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        identity.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    options = (
        f"{option}=true",
        f"--grpc-server-cert={tmp_path / 'server.pem'}",
        f"--grpc-server-key={tmp_path / 'server.key'}",
        f"--grpc-root-cert={tmp_path / 'CA.pem'}",
    )
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, server_options=options)
    with LocalServer(settings) as server:
        _, command, files, *_ = describe_requests(server.ports, ["recognizer"], options)
        for name in ("CA.pem", "CLIENT.pem", "CLIENT.key"):
            command = command.replace(f" {name}", f" {tmp_path / name}")
        said = subprocess.run(
            ["bash", "-euc", command.strip()], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    assert "bull mastiff" in said
    assert f"the authority of {tmp_path / 'server.pem'}" in files


def test_nothing_is_suggested_when_there_is_no_recognizer(server: LocalServer) -> None:
    assert describe_requests(server.ports, ["one"]) == []
