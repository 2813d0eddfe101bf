"""Jobs over folders: output files that are whole or torn, and runs that go on with them."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from triptych import Client, ConnectionFailed, ImageTooLarge, Overloaded, Retry
from triptych.cli import main
from triptych.cli.jobs.journal import Journal
from triptych.testing import FakeServer, fake_client

Run = Callable[..., int]
NAMES = [f"photos/{number:02}.jpg" for number in range(12)]


@pytest.fixture
def server() -> FakeServer:
    return FakeServer(embedding_size=16)


@pytest.fixture
def run(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command over a folder of 12 photos, one at a time, and tells the exit code."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in NAMES:
        (tmp_path / name).write_bytes(name.encode())

    def open_client(**arguments: Any) -> Client:
        return fake_client(server, **{**arguments, "retry": Retry(tries=1)})

    def run(command: str, output: str, *options: str) -> int:
        return main([command, "photos", "--in-flight", "1", "--output", output, *options], open_client=open_client)

    return run


def lines_of(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def names_in(output: str) -> list[str]:
    """The photos of a finished output, in its order."""
    if output == "x.parquet":
        names: list[str] = pyarrow.parquet.read_table(output)["photo"].to_pylist()
        return names
    return [line["photo"] for line in lines_of(output if output == "x.jsonl" else f"{output}.jsonl")]


def asked(server: FakeServer) -> list[str]:
    return [photo.decode() for photo in server.photos]


def interrupt_after(server: FakeServer, photos: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the answer after so many is on its way."""
    infer = server.infer

    def interrupted(*arguments: Any) -> Any:
        if len(server.requests) > photos:
            raise KeyboardInterrupt
        return infer(*arguments)

    monkeypatch.setattr(server, "infer", interrupted)


@pytest.mark.parametrize("output", ["x.jsonl", "x.npy", "x.parquet"])
def test_second_run_loses_and_repeats_nothing_when_the_first_was_interrupted(
    run: Run, server: FakeServer, output: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    command = "recognize" if output == "x.jsonl" else "embed"
    with monkeypatch.context() as patch:
        interrupt_after(server, 5, patch)
        assert run(command, output) == 130
        for thread in threading.enumerate():  # a request that was on its way counts before the second run
            if thread.name.startswith("triptych"):
                thread.join(10)
    assert "--resume continues from there" in capsys.readouterr().err
    assert Path(output).exists() == (command == "recognize")
    before = len(server.requests)
    assert run(command, output, "--resume") == 0
    assert asked(server)[before:] == NAMES[5:]
    assert "12 of 12 photos" in capsys.readouterr().err
    assert names_in(output) == NAMES
    assert not list(Path().glob("*.part")) + list(Path().glob("*.tmp"))


def test_rows_are_the_embeddings_of_their_photos(run: Run, server: FakeServer) -> None:
    server.refuse("photos/03.jpg")
    assert run("embed", "x.npy") == 1
    assert run("embed", "x.parquet") == 1
    array = np.load("x.npy")
    assert (array.shape, array.dtype) == ((11, 16), np.float32)
    table = {row["photo"]: row for row in pyarrow.parquet.read_table("x.parquet").to_pylist()}
    with fake_client(server) as client:
        for line in lines_of("x.npy.jsonl"):
            if line["row"] is None:
                assert (line["photo"], line["error"]["class"]) == ("photos/03.jpg", "UnreadableImage")
                assert line["error"]["code"] == table["photos/03.jpg"]["code"] == "image_unreadable"
                assert table["photos/03.jpg"]["embedding"] is None
                assert table["photos/03.jpg"]["error"].startswith("UnreadableImage: unreadable image: got plain text")
            else:
                expected = client.embed(line["photo"]).vector
                assert np.array_equal(array[line["row"]], expected)
                assert np.array_equal(np.array(table[line["photo"]]["embedding"], np.float32), expected)
                assert table[line["photo"]]["error"] is None
                assert table[line["photo"]]["code"] is None


@pytest.mark.parametrize("output", ["x.jsonl", "x.npy", "x.parquet"])
def test_failures_worth_another_try_get_one_when_resumed(run: Run, server: FakeServer, output: str) -> None:
    command = "recognize" if output == "x.jsonl" else "embed"
    server.refuse("photos/03.jpg", ImageTooLarge)
    server.refuse("photos/04.jpg", Overloaded)
    Path("photos/05.jpg").rename("05.jpg")
    Path("photos/05.jpg").symlink_to("gone")
    assert run(command, output) == 1
    Path("photos/05.jpg").unlink()
    Path("05.jpg").rename("photos/05.jpg")
    Path("photos/12.jpg").write_bytes(b"photos/12.jpg")
    before = len(server.requests)
    assert run(command, output, "--resume") == 1
    assert asked(server)[before:] == ["photos/04.jpg", "photos/05.jpg", "photos/12.jpg"]
    if output == "x.parquet":
        rows = pyarrow.parquet.read_table(output).to_pylist()
        failed = [row["photo"] for row in rows if row["error"] is not None]
    else:
        rows = lines_of(output if output == "x.jsonl" else "x.npy.jsonl")
        failed = [row["photo"] for row in rows if "error" in row]
    assert sorted(row["photo"] for row in rows) == sorted([*NAMES, "photos/12.jpg"])
    assert failed == ["photos/03.jpg", "photos/04.jpg"]


def test_codes_are_kept_when_a_finished_table_is_resumed(run: Run, server: FakeServer) -> None:
    server.refuse("photos/03.jpg", ImageTooLarge)
    assert run("embed", "x.parquet") == 1
    before = len(server.requests)
    assert run("embed", "x.parquet", "--resume") == 1
    assert len(server.requests) == before
    codes = pyarrow.parquet.read_table("x.parquet")["code"].to_pylist()
    assert codes == ["image_too_large" if name == "photos/03.jpg" else None for name in NAMES]


def test_table_of_a_release_without_codes_is_resumed(run: Run, server: FakeServer) -> None:
    server.refuse("photos/03.jpg")
    assert run("embed", "x.parquet") == 1
    pyarrow.parquet.write_table(pyarrow.parquet.read_table("x.parquet").drop_columns(["code"]), "x.parquet")
    before = len(server.requests)
    assert run("embed", "x.parquet", "--resume") == 1
    assert len(server.requests) == before
    row = pyarrow.parquet.read_table("x.parquet").to_pylist()[3]
    assert (row["photo"], row["error"].partition(":")[0], row["code"]) == ("photos/03.jpg", "UnreadableImage", None)


@pytest.mark.parametrize("left", [1, 12, -1, -40])
def test_torn_last_line_is_repaired_when_resumed(run: Run, server: FakeServer, left: int) -> None:
    assert run("recognize", "x.jsonl") == 0
    whole = Path("x.jsonl").read_bytes().splitlines(keepends=True)
    Path("x.jsonl").write_bytes(b"".join(whole[:5]) + whole[5][:left])
    before = len(server.requests)
    assert run("recognize", "x.jsonl", "--resume") == 0
    assert asked(server)[before:] == NAMES[5:]
    assert [line["photo"] for line in lines_of("x.jsonl")] == NAMES
    assert b"".join(whole[:5]) == b"".join(Path("x.jsonl").read_bytes().splitlines(keepends=True)[:5])


def test_zeros_of_a_crashed_machine_are_dropped_when_resumed(run: Run, server: FakeServer) -> None:
    assert run("recognize", "x.jsonl") == 0
    whole = Path("x.jsonl").read_bytes().splitlines(keepends=True)
    Path("x.jsonl").write_bytes(b"".join(whole[:11]) + bytes(4096))
    assert run("recognize", "x.jsonl", "--resume") == 0
    assert [line["photo"] for line in lines_of("x.jsonl")] == NAMES


@pytest.mark.parametrize("content", ["shopping list", "shopping list\n", '{"a": 1}', "[1]\n", '{"photo": 3}\n'])
def test_foreign_file_is_left_alone_when_named_as_output(run: Run, content: str, capsys: Any) -> None:
    Path("x.jsonl").write_text(content)
    for options in ([], ["--resume"]):
        with pytest.raises(SystemExit) as caught:
            run("recognize", "x.jsonl", *options)
        assert caught.value.code == 2
        assert Path("x.jsonl").read_text() == content
    assert "Line 1 of 'x.jsonl' was not written by this command" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["x.jsonl", "x.npy", "x.parquet"])
def test_finished_output_is_not_written_over_without_resume(run: Run, output: str, capsys: Any) -> None:
    command = "recognize" if output == "x.jsonl" else "embed"
    assert run(command, output) == 0
    content = Path(output).read_bytes()
    with pytest.raises(SystemExit) as caught:
        run(command, output)
    assert caught.value.code == 2
    assert "Add --resume" in capsys.readouterr().err
    assert Path(output).read_bytes() == content


@pytest.mark.parametrize(("command", "output"), [("recognize", "x.jsonl"), ("embed", "x.npy")])
def test_no_file_is_left_when_no_server_answers(run: Run, server: FakeServer, command: str, output: str) -> None:
    server.fail_next(ConnectionFailed, rpc=None, times=1000)
    assert run(command, output) == 1
    assert [path.name for path in Path().iterdir()] == ["photos"]


def test_stop_is_no_line_of_the_file_when_the_server_goes_away(run: Run, server: FakeServer, capsys: Any) -> None:
    server.refuse("photos/04.jpg", ConnectionFailed)
    assert run("recognize", "x.jsonl") == 1
    assert [line["photo"] for line in lines_of("x.jsonl")] == NAMES[:4]
    stopped, count, hint = capsys.readouterr().err.splitlines()
    assert stopped.startswith("No Triptych server answers")
    assert count == "triptych: 4 of 12 photos recognised"
    assert hint == "triptych: x.jsonl has the answers so far, --resume continues from there"


def test_output_is_not_written_when_no_photo_could_be_embedded(run: Run, server: FakeServer, capsys: Any) -> None:
    for name in NAMES:
        server.refuse(name)
    assert run("embed", "x.npy") == 1
    assert capsys.readouterr().err.splitlines()[-1] == "triptych: x.npy is not written"
    assert [path.name for path in Path().iterdir()] == ["photos"]


def test_embeddings_of_two_sizes_are_not_mixed(run: Run, server: FakeServer, capsys: Any) -> None:
    vector = base64.b64encode(np.zeros(8, "<f4").tobytes()).decode()
    Path("x.npy.part").write_text(json.dumps({"photo": "photos/00.jpg", "embedding": vector}) + "\n")
    with pytest.raises(SystemExit) as caught:
        run("embed", "x.npy", "--resume")
    assert caught.value.code == 2
    assert "embedding of 16 numbers, the earlier ones have 8" in capsys.readouterr().err
    assert not Path("x.npy").exists()


@pytest.mark.parametrize("output", ["x.npy", "x.parquet"])
def test_foreign_output_is_refused_when_resumed(run: Run, output: str, capsys: Any) -> None:
    Path(output).write_bytes(b"something else")
    with pytest.raises(SystemExit) as caught:
        run("embed", output, "--resume")
    assert caught.value.code == 2
    assert "of an earlier run" in capsys.readouterr().err
    assert Path(output).read_bytes() == b"something else"
    assert not Path(f"{output}.part").exists()


def test_file_has_one_writer_when_two_runs_want_it(run: Run, capsys: Any) -> None:
    with Journal("x.jsonl", resume=False) as journal:
        journal.add('{"photo": "photos/00.jpg"}')
        with pytest.raises(SystemExit):
            run("recognize", "x.jsonl", "--resume")
    assert "'x.jsonl' is being written by another run" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_one_sentence(run: Run, capsys: Any) -> None:
    assert run("recognize", "/dev/full") == 1
    assert capsys.readouterr().err.startswith("triptych: '/dev/full' cannot be written (No space left on device)")


def test_name_that_is_no_utf8_is_found_again_when_resumed(run: Run, server: FakeServer) -> None:
    Path("photos/\udcff.jpg").write_bytes(b"odd")
    assert run("recognize", "x.jsonl") == 0
    assert run("embed", "x.npy") == 0
    before = len(server.requests)
    assert run("recognize", "x.jsonl", "--resume") == 0
    assert run("embed", "x.npy", "--resume") == 0
    assert len(server.requests) == before
