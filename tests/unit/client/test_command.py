"""The command `triptych`: what it prints where, and how it exits. The server is played in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from triptych import Client
from triptych.command import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UNREADABLE = InferenceServerException(
    "in ensemble 'recognizer', unreadable image: got 5 bytes", status="StatusCode.INVALID_ARGUMENT"
)
REFUSED = InferenceServerException(
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused",
    status="StatusCode.UNAVAILABLE",
)
LATE = InferenceServerException("Deadline Exceeded", status="StatusCode.DEADLINE_EXCEEDED")


@pytest.fixture
def run(transport: Any) -> Callable[..., int]:
    """Runs `triptych recognize` against the transport; returns the exit code."""

    def open_client(target: str, *, timeout_s: float) -> Client:
        transport.opened = (target, timeout_s)
        return Client(target, timeout_s=timeout_s, _transport=transport)

    return lambda *argv: main(["recognize", *map(str, argv)], open_client=open_client)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    names = ["apple.jpg", "a-longer-name.jpg", "c.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(b"photo")
    return names


def test_table_is_aligned_when_photos_are_recognized(run: Any, photos: list[str], capsys: Any) -> None:
    assert run(*photos[:2]) == 0
    out, err = capsys.readouterr()
    header, *rows = out.splitlines()
    assert header.split() == ["PHOTO", "MS", "RETAIL", "SCORE", "LABEL"]
    assert len(rows) == 6
    assert rows[0].split()[0] == "apple.jpg"
    assert rows[0].endswith("0.970   0.930  Grocery: Fresh Produce / Granny Smith")
    assert rows[2].split() == ["0.030", "Shoes", "/", "running", "shoe"]
    assert rows[3].split()[0] == "a-longer-name.jpg"
    starts = {row.index(label) for row, label in zip(rows[:3], ["Grocery:", "tabby", "Shoes"], strict=True)}
    assert starts == {header.index("LABEL")}
    assert err == ""


def test_options_reach_the_client_when_given(run: Any, photos: list[str], transport: Any) -> None:
    assert run(photos[0], "--target", "gpu:8001", "--timeout", "2.5", "--top-k", "9") == 0
    assert transport.opened == ("gpu:8001", 2.5)
    assert transport.requests[0]["outputs"][0]._get_tensor().parameters["classification"].int64_param == 9
    assert transport.closed == 1


def test_json_is_one_object_a_line_when_asked_for(run: Any, photos: list[str], capsys: Any, transport: Any) -> None:
    transport.errors = [None, UNREADABLE]
    assert run(*photos, "--json") == 1
    good, bad, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert good["photo"] == "apple.jpg"
    assert good["labels"][0] == {
        "name": "Granny Smith",
        "category": "Grocery: Fresh Produce",
        "score": 0.93,
        "index": 454,
    }
    assert np.float32(good["retail_score"]) == np.float32(0.97)
    assert len(good["embedding"]) == 1280
    assert good["model"] == "recognizer"
    assert good["request_id"] == transport.requests[0]["request_id"]
    assert good["latency_ms"] >= 0
    assert bad == {
        "photo": "a-longer-name.jpg",
        "error": {
            "class": "UnreadableImage",
            "message": "unreadable image: got 5 bytes.",
            "retryable": False,
            "request_id": transport.requests[1]["request_id"],
        },
    }
    assert last["photo"] == "c.jpg"


def test_embedding_survives_json_when_read_back_as_float32(
    run: Any, photos: list[str], capsys: Any, transport: Any
) -> None:
    run(photos[0], "--json")
    line = json.loads(capsys.readouterr().out)
    sent = transport.answer.as_numpy("embedding")[0]
    assert np.array_equal(np.array(line["embedding"], dtype=np.float32), sent)


def test_other_photos_go_on_when_one_is_bad(run: Any, photos: list[str], capsys: Any, transport: Any) -> None:
    transport.errors = [UNREADABLE]
    assert run(photos[0], "missing.jpg", photos[1]) == 1
    out, err = capsys.readouterr()
    assert "a-longer-name.jpg" in out
    assert err.splitlines()[0] == "apple.jpg: unreadable image: got 5 bytes."
    assert err.splitlines()[1].startswith("missing.jpg: There is no file 'missing.jpg'")
    assert err.splitlines()[2] == "triptych: 1 of 3 photos recognised"


@pytest.mark.parametrize("error", [REFUSED, LATE], ids=["refused", "silent"])
def test_command_says_so_once_and_stops_when_no_server_answers(
    run: Any, photos: list[str], capsys: Any, transport: Any, error: InferenceServerException
) -> None:
    transport.metadata_error = error
    assert run(*photos) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(transport.metadata_timeouts_s) == 1
    assert err.count("127.0.0.1:8001") == 1
    assert err.splitlines()[-1] == "triptych: 0 of 3 photos recognised"


def test_other_photos_go_on_when_one_is_late_after_an_answer(run: Any, photos: list[str], transport: Any) -> None:
    transport.errors = [None, LATE]
    assert run(*photos) == 1
    assert len(transport.requests) == 3


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "PHOTO"),
        (["a.jpg", "--top-k", "0"], "top_k is 0"),
        (["a.jpg", "--top-k", "many"], "--top-k"),
        (["a.jpg", "--timeout", "-1"], "timeout_s is -1.0"),
        (["a.jpg", "--nonsense"], "--nonsense"),
    ],
)
def test_command_exits_2_when_usage_is_wrong(run: Any, argv: list[str], said: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*argv)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_command_exits_2_when_the_target_is_no_grpc_address(capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["recognize", "a.jpg", "--target", "http://localhost:8000"])
    assert caught.value.code == 2
    assert "without a scheme" in capsys.readouterr().err


def test_command_exits_130_quietly_when_interrupted(run: Any, photos: list[str], capsys: Any, transport: Any) -> None:
    transport.errors = [KeyboardInterrupt()]
    assert run(*photos) == 130
    assert capsys.readouterr() == ("", "")


def test_help_teaches_with_an_example(capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["recognize", "--help"])
    assert caught.value.code == 0
    assert "triptych recognize shoe.jpg" in capsys.readouterr().out


def test_names_cannot_steer_the_terminal_when_shown(run: Any, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "a\x1b[31m\nb.jpg"
    path.write_bytes(b"photo")
    assert run(path) == 0
    assert r"a\x1b[31m\nb.jpg" in capsys.readouterr().out


def test_process_is_quiet_when_the_pipe_is_closed(tmp_path: Path) -> None:
    photo = tmp_path / "missing.jpg"
    # The reader is gone before the first line: every write fails.
    program = "import sys, triptych.command; sys.stdin.read(); sys.exit(triptych.command.main())"
    with subprocess.Popen(
        [sys.executable, "-c", program, "recognize", photo, "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def test_version_is_the_distributions_when_asked_for() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", "from triptych.command import main; main()", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert finished.stdout.startswith("triptych 0.")
