"""`triptych check`: what it finds in a repository and on a machine, and what it exits with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import socket
from pathlib import Path

import pytest
from loky import cpu_count

from ops.check import (
    check_access,
    check_hardware,
    check_models,
    check_ports,
    check_shared_memory,
    check_weights,
)
from ops.check_machine import check_disk, check_memory, check_state_folder, find_own_server
from ops.finding import Finding
from ops.server.processes import ProcessIdentity
from ops.server.state import StateFolder
from ops.settings import Settings
from tests.unit.ops.server.test_state import STATE

ONE = """name: "one"
backend: "python"
max_batch_size: 8
instance_group [ { kind: KIND_CPU count: 2 } ]
parameters { key: "max_image_bytes" value { string_value: "20000000" } }
"""
CHAIN = 'platform: "ensemble"\nensemble_scheduling { step [ { model_name: "one" } , { model_name: "two" } ] }'


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One Python model, whole."""
    (tmp_path / "models/one/1").mkdir(parents=True)
    (tmp_path / "models/one/config.pbtxt").write_text(ONE)
    (tmp_path / "models/one/1/model.py").touch()
    return tmp_path


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_whole_repository_is_fine(repository: Path) -> None:
    assert only(check_models(repository, None)) == Finding("ok", "repository", "1 models: one.")


def test_config_that_does_not_parse_is_named_with_its_line(repository: Path) -> None:
    (repository / "models/one/configs").mkdir()
    (repository / "models/one/configs/gpu.pbtxt").write_text('backend: "python"\nmax_batch: 8')
    finding = only(check_models(repository, None))
    assert finding.level == "error"
    assert finding.sentence.startswith("configs/gpu.pbtxt cannot be parsed: 2:1")


def test_model_without_code_and_ensemble_without_step_are_errors(repository: Path) -> None:
    (repository / "models/one/1/model.py").unlink()
    (repository / "models/chain").mkdir()
    (repository / "models/chain/config.pbtxt").write_text(CHAIN)
    sentences = [finding.sentence for finding in check_models(repository, None)]
    assert sentences == [
        "chain has the step two, which the repository lacks.",
        "one/1 has no model.py, which the Python backend runs.",
    ]


def test_repository_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert "No model repository at" in only(check_models(tmp_path / "none", None)).sentence


@pytest.mark.parametrize(
    ("content", "level", "words"),
    [
        (b"weights", "ok", "1 files are unchanged since the verification"),
        (b"other", "error", "Since the verification, models/one/w.onnx was changed."),
        (None, "error", "models/one/w.onnx is missing."),
    ],
)
def test_weights_are_compared_with_what_was_verified(
    repository: Path, content: bytes | None, level: str, words: str
) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    (repository / "manifest.json").write_text(json.dumps({"files": {"models/one/w.onnx": digest}}))
    if content is not None:
        (repository / "models/one/w.onnx").write_bytes(content)
    finding = only(check_weights(repository))
    assert finding.level == level
    assert words in finding.sentence


def test_model_with_more_threads_than_cores_is_a_warning(repository: Path) -> None:
    threads = 'parameters { key: "intra_op_threads" value { string_value: "%d" } }'
    (repository / "models/one/config.pbtxt").write_text(ONE + threads % cpu_count())
    finding = only(check_hardware(repository, None))
    assert finding.level == "warning"
    assert f"one runs {2 * cpu_count()} threads on {cpu_count()} cores" in finding.sentence


# 2 processes of 1 MiB and a largest request of 8 photos of 20 MB for each: 307 MiB; with one such request 155 MiB.
@pytest.mark.parametrize(("free_mib", "level"), [(64, "error"), (154, "error"), (156, "warning"), (308, "ok")])
def test_shared_memory_must_hold_the_largest_requests(repository: Path, free_mib: int, level: str) -> None:
    finding = only(check_shared_memory(repository, None, free_bytes=free_mib * 2**20))
    assert finding.level == level
    assert "2 processes with the largest requests at once need 307 MiB" in finding.sentence


def test_taken_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        finding = only(check_ports(Settings(http_port=port, grpc_port=0, metrics_port=0)))
    assert finding.level == "error"
    assert f"Port {port} (http) is taken" in finding.sentence


OPEN = ("--http-address=0.0.0.0", "--grpc-address=::")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "listens only on 127.0.0.1"),
        (OPEN[:1], "Other machines reach http; model-repository, shared-memory, trace, logging need a key"),
        (OPEN, "Other machines reach http and grpc;"),
    ],
)
def test_access_says_who_reaches_the_server(options: tuple[str, ...], words: str) -> None:
    finding = check_access(Settings(server_options=options))
    assert finding.level == "ok"
    assert words in finding.sentence


# 120 MiB for the server and 100 MiB for each of two processes, without a network.
@pytest.mark.parametrize(("free_mib", "level"), [(100, "error"), (200, "warning"), (400, "ok")])
def test_memory_must_hold_the_models(repository: Path, free_mib: int, level: str) -> None:
    finding = check_memory(repository, None, free_bytes=free_mib << 20)
    assert (finding.level, "needs some 320 MiB" in finding.sentence) == (level, True)


@pytest.mark.parametrize(("free_mib", "level"), [(263, "error"), (264, "ok")])
def test_disk_must_hold_the_cache_of_a_folder_that_is_not_there_yet(tmp_path: Path, free_mib: int, level: str) -> None:
    assert check_disk(tmp_path / "a/b", cache_mb=64, free_bytes=free_mib << 20).level == level
    assert not (tmp_path / "a").exists()


def test_state_folder_below_a_file_is_an_error_and_one_of_ones_own_is_fine(tmp_path: Path) -> None:
    assert check_state_folder(tmp_path / "new/state").level == "ok"
    (tmp_path / "file").touch()
    finding = check_state_folder(tmp_path / "file")
    assert (finding.level, finding.subject) == ("error", "permissions")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_server_that_does_not_answer_and_a_crash_are_told(tmp_path: Path) -> None:
    assert find_own_server(tmp_path) is None
    StateFolder(tmp_path).write(dataclasses.replace(STATE, server=STATE.supervisor))
    finding = find_own_server(tmp_path)
    assert finding is not None
    assert (finding.level, "not answering" in finding.sentence) == ("error", True)
    StateFolder(tmp_path).write(dataclasses.replace(STATE, supervisor=ProcessIdentity(STATE.supervisor.pid, 1)))
    finding = find_own_server(tmp_path)
    assert finding is not None
    assert (finding.level, "ended without a clean stop" in finding.sentence) == ("warning", True)
