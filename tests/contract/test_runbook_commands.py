"""What a runbook tells the one who is paged to type is there: commands, and every option."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = sorted((ROOT / "docs/runbooks").glob("*.md"))
COMMAND = re.compile(
    r"(?:python -m (?P<module>ops|export|loadtest)|(?P<program>triptych)) (?P<name>[a-z]+)(?P<rest>[^`\n]*)"
)
OPTION = re.compile(r"--[a-z][a-z-]+")
# Of Docker, Triton and kubectl; the rest are ours.
OTHERS = {"--shm-size", "--ipc", "--grpc-max-connection-age", "--previous", "--tail", "--containers"}


@cache
def help_of(program: str, name: str) -> str:
    """What `--help` of a command prints; the command is not there when it fails."""
    start = (
        [str(Path(sys.executable).with_name("triptych"))] if program == "triptych" else [sys.executable, "-m", program]
    )
    done = subprocess.run([*start, name, "--help"], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, f"{program} {name}: {done.stderr}"
    return done.stdout


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda file: file.stem)
def test_commands_of_a_runbook_are_there_with_their_options(runbook: Path) -> None:
    text = runbook.read_text()
    known = set()
    for found in COMMAND.finditer(text):
        options = set(OPTION.findall(help_of(found["module"] or found["program"], found["name"])))
        assert set(OPTION.findall(found["rest"])) <= options, found[0]
        known |= options
    # Options named alone belong to some command of ours.
    alone = set(OPTION.findall(text)) - OTHERS - known
    assert alone <= set(OPTION.findall(help_of("ops", "serve") + help_of("triptych", "recognize"))), alone


def test_no_command_breaks_across_lines() -> None:
    """It could not be copied, and nothing above would see it."""
    for runbook in RUNBOOKS:
        assert not re.search(r"python -m(?: \w+)?\n|`triptych\n", runbook.read_text()), runbook.name
