"""What the README shows is run as it stands there, against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ops.local_server import LocalServer
from ops.serve_view import describe_requests

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = [
    (document, language, code)
    for document in ("README.md", "ops/README.md", "ops/SERVING.md")  # client/README.md: test_client_readme.py
    for language, code in re.findall(r"^```(python|bash)\n(.*?)^```$", (ROOT / document).read_text(), re.M | re.S)
]


def run(language: str, code: str, server: LocalServer, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a block in a folder that has the sample photos, with the server's real ports."""
    (folder / ".cache").symlink_to(ROOT / ".cache")
    for name in ("photo.jpg", "shoe.jpg"):
        (folder / name).symlink_to(ROOT / ".cache/photos/imagenet_11_630.jpg")
    # `python -m ops` and what imports it run from the root.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} if "ops.local_server" in code else None
    code = code.replace("127.0.0.1:8001", server.grpc_target).replace("http://127.0.0.1:8000", server.http_url)
    program = [sys.executable, "-W", "error", "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
    return subprocess.run(
        [*program, code], cwd=folder, capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def test_readmes_have_examples() -> None:
    assert len(BLOCKS) >= 5


@pytest.mark.parametrize(
    ("document", "language", "code"), BLOCKS, ids=[f"{document} {n}" for n, (document, _, _) in enumerate(BLOCKS)]
)
def test_readme_example_runs_as_shown(
    document: str, language: str, code: str, server: LocalServer, photos: list[Path], tmp_path: Path
) -> None:
    result = run(language, code, server, tmp_path)
    assert result.returncode == 0, result.stderr
    if "embedding" in code or "classification" in code:
        assert "Loafer" in result.stdout
    if "answer.bin" in code:
        assert b"retail_score" in (tmp_path / "answer.bin").read_bytes()


def test_readme_shows_the_answer_the_command_gives(server: LocalServer, photos: list[Path]) -> None:
    readme = (ROOT / "README.md").read_text()
    shown = re.search(r"^\$ \.venv/bin/(triptych recognize [^\n]*)\n(.*?)^```$", readme, re.M | re.S)
    assert shown is not None
    command = [str(Path(sys.executable).with_name("triptych")), *shown[1].split()[1:], "--target", server.grpc_target]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)

    def rows(table: str) -> list[tuple[float, str]]:
        return [(float(score), label) for score, label in re.findall(r"(\d\.\d{3})  (\S.*)$", table, re.M)]

    got, written = rows(result.stdout), rows(shown[2])
    assert len(written) == 3
    assert [label for _, label in got] == [label for _, label in written]
    # Other processors sum float32 in another order; the table shows three digits.
    assert [score for score, _ in got] == pytest.approx([score for score, _ in written], abs=0.002)


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


def test_nothing_is_suggested_when_there_is_no_recognizer(server: LocalServer) -> None:
    assert describe_requests(server.ports, ["one"]) == []
