"""The command `triptych`: what it prints where, and how it exits. The server is played in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych import (
    Client,
    ConnectionFailed,
    ContractMismatch,
    DeadlineExceeded,
    NotReady,
    Overloaded,
    PermissionDenied,
    Retry,
    TriptychError,
)
from triptych.cli import main
from triptych.testing import FakeServer, fake_client

Run = Callable[..., int]

_PROGRAM = "import sys; from triptych.cli import main; sys.exit(main())"
APPLE = [("Grocery: Fresh Produce / Granny Smith", 0.93), ("tabby cat", 0.04), ("Shoes / running shoe", 0.03)]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TARGET", "TRANSPORT", "API_KEY", "TIMEOUT_S", "TOKEN", "TLS", "TLS_CA"):
        monkeypatch.delenv(f"TRIPTYCH_{name}", raising=False)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def opened() -> list[dict[str, Any]]:
    """The arguments of each client that the command made."""
    return []


@pytest.fixture
def run(server: FakeServer, opened: list[dict[str, Any]]) -> Run:
    def open_client(**arguments: Any) -> Client:
        opened.append(arguments)
        return fake_client(server, **{"retry": Retry(tries=1), **arguments})

    return lambda *argv: main([*map(str, argv)], open_client=open_client)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FakeServer) -> list[str]:
    monkeypatch.chdir(tmp_path)
    names = ["apple.jpg", "a-longer-name.jpg", "c.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    server.answer("apple.jpg", labels=APPLE, retail_score=0.97)
    return names


def test_table_is_aligned_when_photos_are_recognized(run: Run, photos: list[str], capsys: Any) -> None:
    assert run("recognize", *photos[:2]) == 0
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


def test_table_says_so_when_no_label_reaches_the_score(run: Run, photos: list[str], capsys: Any) -> None:
    assert run("recognize", photos[0], "--min-score", "0.99") == 0
    assert "no label reaches --min-score" in capsys.readouterr().out


def test_options_reach_the_client_when_given(
    run: Run, photos: list[str], server: FakeServer, opened: list[dict[str, Any]], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("shop-key=secret\n")
    words = ["--target", "gpu:8001", "--timeout", "2.5", "--in-flight", "3", "--top-k", "9", "--api-key-file", key]
    assert run("recognize", photos[0], *words) == 0
    assert opened == [{"target": "gpu:8001", "timeout_s": 2.5, "max_in_flight": 3, "api_key": "shop-key=secret"}]
    assert [output.class_count for output in server.requests[0].outputs] == [None, 9, None]
    assert server.closed == 1


def test_target_is_that_of_the_environment_when_none_is_given(
    run: Run, photos: list[str], opened: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("recognize", photos[0])
    run("recognize", photos[0], "--transport", "http")
    monkeypatch.setenv("TRIPTYCH_TARGET", "gpu:8001")
    run("recognize", photos[0])
    assert [arguments["target"] for arguments in opened] == ["127.0.0.1:8001", "127.0.0.1:8000", "gpu:8001"]


def test_photos_are_taken_behind_options_too(run: Run, photos: list[str], capsys: Any) -> None:
    assert run("recognize", photos[0], "--top-k", "1", photos[1]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_json_is_one_object_a_line_when_asked_for(run: Run, photos: list[str], capsys: Any, server: FakeServer) -> None:
    server.refuse(photos[1])
    assert run("recognize", *photos, "--json") == 1
    good, bad, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert good["photo"] == "apple.jpg"
    assert good["labels"][0] == {
        "name": "Granny Smith",
        "category": "Grocery: Fresh Produce",
        "score": pytest.approx(0.93, abs=1e-6),  # float32
        "index": 6,
    }
    assert np.float32(good["retail_score"]) == np.float32(0.97)
    assert good["attributes"] == {}
    assert good["abstained"] is False
    assert good["model"] == "recognizer"
    assert good["request_id"] in {request.request_id for request in server.requests}
    assert good["latency_ms"] >= 0
    assert bad["photo"] == photos[1]
    assert {name: bad["error"][name] for name in ("class", "code", "retryable")} == {
        "class": "UnreadableImage",
        "code": "image_unreadable",
        "retryable": False,
    }
    assert bad["error"]["message"].startswith("unreadable image: got plain text")
    assert last["photo"] == "c.jpg"


def test_embedding_survives_json_when_read_back_as_float32(run: Run, photos: list[str], capsys: Any) -> None:
    run("recognize", photos[0], "--json")
    line = json.loads(capsys.readouterr().out)
    with fake_client(FakeServer()) as client:
        sent = client.embed(photos[0]).vector
    assert np.array_equal(np.array(line["embedding"], dtype=np.float32), sent)


def test_other_photos_go_on_when_one_is_bad(run: Run, photos: list[str], capsys: Any, server: FakeServer) -> None:
    server.refuse(photos[0])
    assert run("recognize", photos[0], "missing.jpg", photos[1]) == 1
    out, err = capsys.readouterr()
    assert "a-longer-name.jpg" in out
    first, second, last = err.splitlines()
    assert first.startswith("apple.jpg: unreadable image: got plain text")
    assert second.startswith("missing.jpg: There is no file 'missing.jpg'")
    assert last == "triptych: 1 of 3 photos recognised"


def test_failures_are_counted_when_they_are_many(run: Run, photos: list[str], capsys: Any) -> None:
    assert run("recognize", photos[0], *(f"missing{number}.jpg" for number in range(25))) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 22
    assert lines[20] == "... and 5 more failed"
    assert lines[21] == "triptych: 1 of 26 photos recognised"


@pytest.mark.parametrize("error", [ConnectionFailed, NotReady, PermissionDenied, ContractMismatch, DeadlineExceeded])
def test_command_says_so_once_and_stops_when_no_server_answers(
    run: Run, photos: list[str], capsys: Any, server: FakeServer, error: type[TriptychError]
) -> None:
    server.fail_next(error, times=1000)
    assert run("recognize", *photos, *photos, *photos) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 2
    assert err.splitlines()[-1] == "triptych: 0 of 3 photos recognised"


@pytest.mark.parametrize("error", [DeadlineExceeded, Overloaded])
def test_other_photos_go_on_when_one_is_late_after_an_answer(
    run: Run, photos: list[str], server: FakeServer, error: type[TriptychError]
) -> None:
    server.refuse(photos[1], error)
    assert run("recognize", *photos, "--in-flight", "1") == 1
    assert {photo.decode() for photo in server.photos} == set(photos)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["recognise", "a.jpg"], "there is no command 'recognise'; did you mean `triptych recognize`?"),
        (["recognize"], "PHOTO"),
        (["recognize", "a.jpg", "--top-k", "0"], "top_k is 0"),
        (["recognize", "a.jpg", "--top-k", "many"], "--top-k"),
        (["recognize", "a.jpg", "--min-score", "2"], "min_score is 2"),
        (["recognize", "a.jpg", "--timeout", "-1"], "timeout_s is -1.0"),
        (["recognize", "a.jpg", "--in-flight", "0"], "max_in_flight is 0"),
        (["recognize", "a.jpg", "--nonsense"], "--nonsense"),
        (["recognize", "a.jpg", "--resume"], "Add --output FILE"),
        (["recognize", "a.jpg", "--output", "no/folder/x.jsonl"], "'no/folder/x.jsonl' cannot be written"),
        (["recognize", "a.jpg", "--api-key-file", "no-key"], "'no-key' (No such file"),
        (["recognize", "a.jpg", "--tls-cert", "no-cert"], "expected both"),
        (["recognize", "a.jpg", "--target", "ftp://localhost:8000"], "has the scheme 'ftp'"),
        (["recognize", "a.jpg", "--target", "http://localhost:8000", "--tls"], "is not encrypted (http://)"),
        (["recognize", "a.jpg", "--target", "http://localhost:8000", "--transport", "grpc"], "transport is 'grpc'"),
        (["embed", "a.jpg"], "--output"),
        (["embed", "a.jpg", "--output", "x.csv"], "ends in .npy or .parquet"),
        (["models", "extra"], "extra"),
        (["health", "--wait", "-1"], "--wait"),
    ],
)
def test_command_exits_2_when_usage_is_wrong(run: Run, argv: list[str], said: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*argv)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err.splitlines()[0]
    assert err.splitlines()[1].startswith("More: triptych")


def test_command_exits_130_quietly_when_interrupted(
    run: Run, photos: list[str], capsys: Any, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "infer", interrupt)
    assert run("recognize", *photos) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("command", ["recognize", "embed", "models", "health"])
def test_help_teaches_with_an_example(command: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert f"  triptych {command}" in out
    assert "exit codes: 0 " in out


def test_names_cannot_steer_the_terminal_when_shown(run: Run, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a\x1b[31m\nb.jpg").write_bytes(b"photo")
    assert run("recognize", tmp_path / "a\x1b[31m\nb.jpg", "\x1b[2Jgone.jpg") == 1
    out, err = capsys.readouterr()
    assert r"a\x1b[31m\nb.jpg" in out
    assert r"\x1b[2Jgone.jpg: No file" in err
    assert "\x1b" not in out + err


def test_models_are_a_table_or_json(run: Run, capsys: Any) -> None:
    assert run("models") == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["MODEL", "VERSION", "STATE", "BATCH", "IN", "OUT"]
    assert rows[0].split() == ["recognizer", "1", "READY", "8", "image", "STRING[1]", "category_scores", "FP32[10]"]
    assert {row.index("FP32") for row in rows[1:]} == {header.index("OUT") + 13, header.index("OUT") + 10}
    assert run("models", "--json") == 0
    model = json.loads(capsys.readouterr().out)
    assert model["ready"] is True
    assert model["outputs"][-1] == {"name": "embedding", "datatype": "FP32", "shape": [1280]}


def test_models_say_why_one_is_not_ready(run: Run, capsys: Any, server: FakeServer) -> None:
    entry = {"name": "recognizer", "version": "1", "state": "UNAVAILABLE", "reason": "no such\nfile"}
    server.replies["RepositoryIndex"] = {"models": [entry]}
    assert run("models") == 0
    assert capsys.readouterr().out.splitlines()[1].split("  ")[-1] == r"no such\nfile"


def test_health_exits_0_only_when_the_recognizer_is_ready(run: Run, capsys: Any, server: FakeServer) -> None:
    assert run("health") == 0
    assert capsys.readouterr().out == "recognizer is ready at 127.0.0.1:8001 (triton 2.51.0)\n"
    server.ready = False
    assert run("health") == 1
    assert capsys.readouterr().out.startswith("recognizer is not ready at 127.0.0.1:8001")
    assert run("health", "--json") == 1
    assert json.loads(capsys.readouterr().out)["recognizer_ready"] is False


def test_health_waits_when_asked_to(run: Run, capsys: Any, server: FakeServer) -> None:
    server.fail_next(ConnectionFailed, times=2, rpc="ModelReady")
    assert run("health", "--wait", "30") == 0
    server.ready = False
    assert run("health", "--wait", "0.01") == 1
    assert "was not ready within 0.01 s" in capsys.readouterr().err


def test_health_is_json_too_when_no_server_answers(run: Run, capsys: Any, server: FakeServer) -> None:
    server.fail_next(ConnectionFailed, rpc=None)
    assert run("health", "--json") == 1
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert (error["class"], error["code"]) == ("ConnectionFailed", "connection_failed")
    assert err.startswith("triptych: No Triptych server answers at 127.0.0.1:8001")


def test_process_is_quiet_when_the_pipe_is_closed(tmp_path: Path) -> None:
    photo = tmp_path / "missing.jpg"
    # The reader is gone before the first line: every write fails.
    program = "import sys, triptych.cli; sys.stdin.read(); sys.exit(triptych.cli.main())"
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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_process_says_so_when_stdout_is_full(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        finished = subprocess.run(
            [sys.executable, "-c", _PROGRAM, "recognize", tmp_path / "missing.jpg", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert finished.returncode == 1
    assert finished.stderr == "triptych: The output cannot be written (No space left on device).\n"


def test_photo_comes_from_standard_input_when_named_so(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", _PROGRAM, "recognize", "-"],
        input=b"",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith(b"-: The photo is empty")


def test_version_is_the_distributions_when_asked_for() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", "from triptych.cli import main; main()", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert finished.stdout.startswith("triptych 0.")


@pytest.mark.parametrize("target", ["http://gpu:8000", "https://shop.example", "grpc://gpu:8001", "grpcs://gpu:8001"])
def test_target_may_be_a_url_in_option_and_environment(
    run: Run, target: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("health", "--target", target) == 0
    monkeypatch.setenv("TRIPTYCH_TARGET", target)
    assert run("health") == 0
    assert capsys.readouterr().out.count(f"is ready at {target} ") == 2
