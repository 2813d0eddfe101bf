"""The chart's two scripts as its pods run them: an interpreter without packages, the real server, real damage."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ops.server import probe
from ops.server.local_server import LocalServer
from ops.settings import ROOT, Settings

SCRIPTS = ROOT / "helm/triptych/files"


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(SCRIPTS / script), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_photos_are_answered_by_a_sound_server(either_server: LocalServer) -> None:
    sent = run("send_photos.py", either_server.http_url, "20", "8")
    assert (sent.returncode, sent.stderr) == (0, "")


def test_one_dead_instance_is_found_though_the_server_says_ready() -> None:
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0)) as server:
        stubs = [
            child
            for child in psutil.Process(server.pid).children(recursive=True)
            if any(word.startswith("recognizer_0") for word in child.cmdline())
        ]
        stubs[0].send_signal(signal.SIGKILL)
        assert probe.is_ready(server.ports)
        sent = run("send_photos.py", server.http_url, "20", str(4 * len(stubs)))
    assert sent.returncode == 1
    assert "is not healthy" in sent.stderr


@contextmanager
def answering(status_line: str) -> Iterator[str]:
    """A server that gives every request the same answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(f"HTTP/1.1 {status_line}\r\nContent-Length: 2\r\n\r\n{{}}".encode())

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("status", "exit_code"), [("503 Service Unavailable", 0), ("429 Too Many Requests", 0), ("400 Bad Request", 1)]
)
def test_photos_tell_a_busy_server_from_a_broken_one(status: str, exit_code: int) -> None:
    """A restart under load would make the load worse."""
    with answering(status) as url:
        sent = run("send_photos.py", url, "5", "1")
    assert sent.returncode == exit_code
    assert status[:3] in sent.stderr


def test_photos_fail_when_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    sent = run("send_photos.py", f"http://127.0.0.1:{port}", "5", "1")
    assert sent.returncode == 1
    assert "gave no answer within 5 s" in sent.stderr


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    (folder / "models/one/1").mkdir(parents=True)
    (folder / "models/one/1/model.py").write_text("pass\n")
    (folder / "models/one/config.pbtxt").write_text('name: "one"\n')
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    (folder / "manifest.json").write_text(json.dumps({"release": {"format": 1, "name": "one"}, "files": files}))
    return folder


def digest_of(release: Path) -> str:
    return f"sha256:{hashlib.sha256((release / 'manifest.json').read_bytes()).hexdigest()}"


def test_whole_release_is_accepted(release: Path) -> None:
    (release / "model.sig").write_text("signed")
    checked = run("verify_release.py", str(release), digest_of(release))
    assert (checked.returncode, checked.stderr) == (0, "")


def test_damaged_release_is_refused_with_its_faults(release: Path) -> None:
    (release / "models/one/config.pbtxt").write_text("changed")
    (release / "models/one/1/model.py").unlink()
    (release / "models/one/1/other.py").write_text("pass\n")
    checked = run("verify_release.py", str(release), digest_of(release))
    assert checked.returncode == 1
    for fault in (
        "models/one/1/model.py is missing.",
        "models/one/1/other.py is not of the release.",
        "models/one/config.pbtxt was changed.",
    ):
        assert fault in checked.stderr


def test_other_release_is_refused(release: Path) -> None:
    wanted = "sha256:" + "0" * 64
    checked = run("verify_release.py", str(release), wanted)
    assert checked.returncode == 1
    assert f"it is the release {digest_of(release)}, expected {wanted}" in checked.stderr


def test_release_of_an_earlier_version_is_refused_with_what_to_do(release: Path) -> None:
    manifest = json.loads((release / "manifest.json").read_text())
    manifest["files"] = {name.removeprefix("models/"): digest for name, digest in manifest["files"].items()}
    (release / "manifest.json").write_text(json.dumps(manifest))
    checked = run("verify_release.py", str(release), digest_of(release))
    assert checked.returncode == 1
    assert "layout of an earlier version, without models/. Make it with `triptych release`." in checked.stderr


def test_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    checked = run("verify_release.py", str(tmp_path), "sha256:" + "0" * 64)
    assert checked.returncode == 1
    assert "cannot read manifest.json" in checked.stderr
