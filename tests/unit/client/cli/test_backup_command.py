"""`triptych catalogue backup` and `restore` refuse what is no file before they ask the server, which is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from triptych.cli import main

NOWHERE = ["--target", "127.0.0.1:1", "--timeout", "1"]


def run(*words: str) -> int:
    try:
        return int(main(["catalogue", *words, *NOWHERE]) or 0)
    except SystemExit as end:
        return int(end.code or 0)


def test_backup_refuses_what_is_no_place_for_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, sentence in (
        ("-", "it cannot go to standard output. Name a file"),
        (f"{tmp_path}/none/b.jsonl", f"The folder '{tmp_path}/none' of the backup does not exist. Create it"),
        (f"{tmp_path}/folder", "is a folder, a device or a pipe; expected a file"),
        (f"{tmp_path}/pipe", "is a folder, a device or a pipe; expected a file"),
        ("/dev/null", "is a folder, a device or a pipe; expected a file"),
    ):
        assert run("backup", "--force", name) == 2
        assert sentence in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_restore_refuses_what_never_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("/dev/zero", f"{tmp_path}/pipe", str(tmp_path)):
        assert run("restore", name) == 1
        said = capsys.readouterr().err
        assert "is a folder, a device or a pipe; expected a file" in said
        assert "The catalogue is unchanged." in said
