"""The command `triptych` as its user runs it, against the real server: killed, interrupted, given wrong things."""

from __future__ import annotations

import contextlib
import json
import os
import pty
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

from ops.server.local_server import LocalServer
from ops.settings import Settings

TRIPTYCH = [sys.executable, "-W", "error", "-c", "import sys; from triptych.cli import main; sys.exit(main())"]
# The terminal becomes the one whose Ctrl-C reaches the process.
IN_TERMINAL = [
    *TRIPTYCH[:-1],
    f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); {TRIPTYCH[-1]}",
]
PHOTOS = 240


@pytest.fixture
def folder(tmp_path: Path, photos: list[Path]) -> Path:
    """A folder of photos that no server has seen, two of them broken."""
    for number in range(PHOTOS):
        path = tmp_path / "photos" / f"shelf {number % 5}" / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        # What follows the end of a JPEG is ignored; the server's answer cache does not know the file.
        path.write_bytes(photos[number % len(photos)].read_bytes() + os.urandom(16))
    (tmp_path / "photos" / "shelf 2" / "text.jpg").write_text("a text that was renamed")
    (tmp_path / "photos" / "empty.png").touch()
    return tmp_path


@pytest.fixture(scope="module")
def own_server() -> Iterator[LocalServer]:
    """A server whose counters only this module moves."""
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0, state_dir=None)) as server:
        yield server


def run(folder: Path, *words: str, target: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TRIPTYCH, *words, "--target", target], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def wait_for_answers(process: subprocess.Popen[Any], journal: Path) -> None:
    """Returns once a part of the answers is there."""
    deadline_s = time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < 40:
        assert process.poll() is None, "ended before it could be disturbed"
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


@pytest.mark.parametrize("output", ["x.jsonl", "x.npy", "x.parquet"])
def test_each_photo_is_answered_once_when_killed_and_resumed(
    folder: Path, own_server: LocalServer, output: str
) -> None:
    command = "recognize" if output == "x.jsonl" else "embed"
    words = [command, "photos", "--output", output]
    journal = folder / (output if command == "recognize" else f"{output}.part")
    with subprocess.Popen([*TRIPTYCH, *words, "--target", own_server.grpc_target], cwd=folder) as process:
        wait_for_answers(process, journal)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    left = journal.read_bytes()
    assert 40 <= left.count(b"\n") < PHOTOS
    assert (folder / output).exists() == (command == "recognize")

    resumed = run(folder, *words, "--resume", target=own_server.grpc_target)
    assert resumed.returncode == 1  # the two broken ones
    assert f"triptych: {PHOTOS} of {PHOTOS + 2} photos" in resumed.stderr
    expected = sorted(str(path.relative_to(folder)) for path in (folder / "photos").rglob("*.*"))
    if output == "x.parquet":
        rows = pyarrow.parquet.read_table(folder / output).to_pylist()
        assert sorted(row["photo"] for row in rows if row["error"]) == ["photos/empty.png", "photos/shelf 2/text.jpg"]
    else:
        names = folder / (output if output == "x.jsonl" else "x.npy.jsonl")
        rows = [json.loads(line) for line in names.read_text().splitlines()]
    assert sorted(row["photo"] for row in rows) == expected
    if output == "x.npy":
        array = np.load(folder / output)
        assert array.shape == (PHOTOS, 1280)
        # float32 sums of 1280 squares.
        assert np.allclose(np.linalg.norm(array, axis=1), 1, atol=1e-5)
    kept = left[: left.rindex(b"\n") + 1]
    if output == "x.jsonl":
        # Of what was there, only the empty file is asked about again.
        kept_lines = [line for line in kept.splitlines() if b"empty.png" not in line]
        assert journal.read_bytes().splitlines()[: len(kept_lines)] == kept_lines


def test_interrupted_run_says_how_to_go_on_and_does(folder: Path, own_server: LocalServer) -> None:
    """In a terminal, Ctrl-C typed."""
    master, terminal = pty.openpty()
    with subprocess.Popen(
        [*IN_TERMINAL, "recognize", "photos", "--output", "x.jsonl", "--target", own_server.grpc_target],
        cwd=folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        wait_for_answers(process, folder / "x.jsonl")
        os.write(master, b"\x03")
        shown = b""
        with contextlib.suppress(OSError):  # the other side of the terminal is closed
            while True:
                shown += os.read(master, 65536)
        os.close(master)
        assert process.wait(timeout=60) == 130, shown
    assert b"--resume continues from there" in shown
    assert b"Traceback" not in shown
    done = len((folder / "x.jsonl").read_bytes().splitlines())
    assert 0 < done < PHOTOS
    resumed = run(folder, "recognize", "photos", "--output", "x.jsonl", "--resume", target=own_server.grpc_target)
    assert f"triptych: {PHOTOS} of {PHOTOS + 2} photos recognised" in resumed.stderr
    names = [json.loads(line)["photo"] for line in (folder / "x.jsonl").read_text().splitlines()]
    assert len(names) == len(set(names)) == PHOTOS + 2


def test_server_that_is_stopped_is_one_sentence_and_the_run_goes_on_at_another(
    folder: Path, own_server: LocalServer
) -> None:
    words = ["embed", "photos", "--output", "x.npy"]
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0, state_dir=None)) as server:
        target = server.grpc_target
        with subprocess.Popen(
            [*TRIPTYCH, *words, "--target", target], cwd=folder, stderr=subprocess.PIPE, text=True
        ) as process:
            wait_for_answers(process, folder / "x.npy.part")
            os.kill(server.pid, signal.SIGKILL)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in said
    assert said.count(target) == 1
    assert "x.npy is not written; x.npy.part has the answers so far, --resume continues from there" in said
    assert run(folder, *words, "--resume", target=own_server.grpc_target).returncode == 1
    assert len(np.load(folder / "x.npy")) == PHOTOS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recognize", "shoe.jpg"], "shoe.jpg: There is no file 'shoe.jpg'"),
        (["recognize", "photos/shelf 2/text.jpg"], "photos/shelf 2/text.jpg: unreadable image: got plain text"),
        (["recognize", "photos", "--target", "127.0.0.1:1"], "No Triptych server answers at 127.0.0.1:1"),
        (["health", "--target", "127.0.0.1:1"], "triptych: No Triptych server answers at 127.0.0.1:1"),
        (["models", "--target", "127.0.0.1:1"], "triptych: No Triptych server answers at 127.0.0.1:1"),
    ],
)
def test_wrong_input_is_one_sentence(folder: Path, own_server: LocalServer, words: list[str], said: str) -> None:
    finished = subprocess.run(
        [*TRIPTYCH, *words],
        cwd=folder,
        env={**os.environ, "TRIPTYCH_TARGET": own_server.grpc_target},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert finished.returncode == 1
    assert finished.stdout == ""
    sentences = [
        line for line in finished.stderr.splitlines() if not line.startswith(("triptych: 0 of", "photos/empty"))
    ]
    assert len(sentences) == 1
    assert sentences[0].startswith(said)


def test_models_and_health_of_the_real_server(folder: Path, own_server: LocalServer) -> None:
    health = run(folder, "health", "--wait", "30", target=own_server.grpc_target)
    assert health.stdout.startswith(f"recognizer is ready at {own_server.grpc_target} (triton 2.")
    models = run(folder, "models", "--json", target=own_server.grpc_target)
    found = {model["name"]: model for model in map(json.loads, models.stdout.splitlines())}
    assert found["recognizer"]["ready"]
    assert {"name": "embedding", "datatype": "FP32", "shape": [1280]} in found["recognizer"]["outputs"]


def test_photo_on_standard_input_is_recognized(own_server: LocalServer, photos: list[Path]) -> None:
    with photos[11].open("rb") as photo:
        finished = subprocess.run(
            [*TRIPTYCH, "recognize", "-", "--top-k", "1", "--target", own_server.grpc_target],
            stdin=photo,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert finished.stdout.splitlines()[1].endswith("Shoes / Loafer")
