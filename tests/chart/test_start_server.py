"""start_server.py hands the server a key that no other process is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chart.rendering import CHART

SCRIPT = CHART / "files/start_server.py"
# In the server's place: it reports what it was started with.
STAND_IN = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ), os.getpid()]))"


def started(*options: str, words: tuple[str, ...] = ("--api=logging:triptych-key=@KEY@",)) -> tuple[int, Any, str]:
    """Exit code, (arguments, environment, whether it is the script's own process) of the stand-in, and stderr."""
    command = [sys.executable, "-I", str(SCRIPT), *options, sys.executable, "-c", STAND_IN, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate(timeout=60)
    if not out:
        return process.returncode, None, err
    arguments, environment, pid = json.loads(out)
    return process.returncode, (arguments, environment, pid == process.pid), err


def test_key_is_random_at_each_start_and_only_in_the_arguments() -> None:
    keys = set()
    for _ in range(2):
        code, (arguments, environment, is_same_process), err = started()
        (word,) = arguments
        key = word.removeprefix("--api=logging:triptych-key=")
        assert (code, err, is_same_process) == (0, "", True)
        assert len(bytes.fromhex(key)) == 32
        assert key not in json.dumps(environment)
        keys.add(key)
    assert len(keys) == 2


def test_all_arguments_get_the_same_key_and_others_stay_as_they_are() -> None:
    _, (arguments, *_), _ = started(words=("--http=@KEY@", "--grpc=@KEY@", "--log=$(HOME) x"))
    http, grpc, log = arguments
    assert http.removeprefix("--http=") == grpc.removeprefix("--grpc=") != "@KEY@"
    assert log == "--log=$(HOME) x"


def test_key_of_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("of-the-secret\n")
    _, (arguments, environment, is_same_process), _ = started("--key-file", str(tmp_path / "key"))
    assert arguments == ["--api=logging:triptych-key=of-the-secret"]
    assert "of-the-secret" not in json.dumps(environment)
    assert is_same_process


@pytest.mark.parametrize("content", [None, b"", b"\n", b"two words", b"a\nb", b"\xc3\xa9", b"a\x00b"])
def test_key_that_no_header_can_carry_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    code, arguments, err = started("--key-file", str(tmp_path / "key"))
    assert (code, arguments) == (1, None)
    assert str(tmp_path / "key") in err
    assert "Change the Secret" in err
