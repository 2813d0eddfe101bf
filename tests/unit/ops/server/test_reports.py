"""What `status` and `logs` show: traffic from Triton's metrics, both logs, a crash told from a stop."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from ops.errors import OpsError
from ops.server import probe
from ops.server.files.log_files import FAILED_START
from ops.server.processes import ProcessIdentity
from ops.server.reports import traffic
from ops.server.reports.log_view import show_logs
from ops.server.reports.status import CRASHED, describe_status, read_status, show_status
from ops.server.state import StateFolder
from ops.supervision.supervisor_log import SupervisorLog
from tests.unit.ops.server.test_state import STATE

METRICS = """
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="one",version="1"} %d
nv_inference_request_success{model="idle",version="1"} 0
nv_inference_request_failure{model="one",reason="REJECTED",version="1"} 2
nv_inference_request_failure{model="one",reason="OTHER",version="1"} 0
nv_inference_pending_request_count{model="one",version="1"} 3
nv_inference_request_summary_us{model="one",version="1",quantile="0.5"} 5400
nv_inference_request_summary_us{model="one",version="1",quantile="0.99"} 1.25e+04
nv_inference_request_summary_us{model="idle",version="1",quantile="0.5"} Nan
nv_inference_request_summary_us_count{model="one",version="1"} 12
"""


def test_traffic_is_the_difference_of_two_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = [METRICS % 10, METRICS % 60]
    monkeypatch.setattr(probe, "ask", lambda *_: (200, readings.pop(0).encode()))
    monkeypatch.setattr(traffic, "WINDOW_S", 0.1)
    (one,) = traffic.measure_traffic(1)
    assert 0 < one.rate_per_s <= 500
    assert (one.p50_ms, one.p99_ms, one.answered, one.failed, one.waiting) == (5.4, 12.5, 60, 2, 3)
    assert one.failed_by_reason == {"REJECTED": 2}
    assert "(REJECTED 2)" in "\n".join(traffic.describe_traffic((one,)))


def test_server_that_does_not_answer_has_no_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "ask", lambda *_: (0, b""))
    monkeypatch.setattr(traffic, "WINDOW_S", 0.0)
    assert traffic.measure_traffic(1) == ()
    assert traffic.describe_traffic(()) == ["  no request since the server started"]


def test_logs_show_both_files_and_follow_over_a_restart(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.log_file.write_text("".join(f"error: {number}\nplain {number}\n" for number in range(5)))
    folder.supervisor_log_file.write_text("first\nsecond\n")
    shown = list(show_logs(folder, 1, "error", previous=False, forever=False))
    assert shown[0] == f"==> {folder.log_file} <=="
    assert shown[1].endswith("error: 4")
    assert shown[2:] == [f"==> {folder.supervisor_log_file} <==", "second"]
    lines = show_logs(folder, 1, "info", previous=False, forever=True)
    assert [next(lines) for _ in range(4)][-1] == "second"
    with folder.supervisor_log_file.open("a") as log:
        log.write("third\nhalf a li")
    assert next(lines) == "third"
    folder.begin_log().write_text("of the next server\n")
    assert next(lines).endswith("of the next server")
    assert list(show_logs(folder, 1, "info", previous=True, forever=False))[1].endswith("plain 4")


def test_logs_of_the_last_five_runs_keep_their_names(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.log_file.write_text("of an earlier version\n")
    for number in range(7):
        begun = folder.begin_log()
        begun.write_text(f"run {number}\n")
        assert folder.log_file.read_text() == f"run {number}\n"
        assert begun.name == f"server-{number + 2}.log"
        assert begun.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in tmp_path.glob("server*")) == [f"server-{n}.log" for n in range(4, 9)] + [
        "server.log"
    ]
    assert folder.previous_log_file.read_text() == "run 5\n"
    folder.log_file.unlink()
    folder.log_file.mkdir()
    assert folder.begin_log().samefile(folder.log_file)


def test_failed_start_is_shown_until_the_next_one(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    log = SupervisorLog(folder.supervisor_log_file)
    log.write(f"{FAILED_START}The port 1 is taken.\nFull log: somewhere")
    log.write("Stopped in 0.1 s.")
    shown = "\n".join(describe_status(read_status(tmp_path), tmp_path))
    assert "last start failed: The port 1 is taken.\nFull log: somewhere" in shown
    assert "Stopped" not in shown
    SupervisorLog(folder.supervisor_log_file).write("Ready after 1 s: one.")
    assert read_status(tmp_path).last_start is None


def test_ends_of_the_front_are_shown(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    how = "the front did not answer for 5 s"
    folder.write(dataclasses.replace(STATE, front_restarts=2, last_front_death=how))
    assert f"  front    restarted 2 times; the last time: {how}" in describe_status(read_status(tmp_path), tmp_path)


def test_full_disk_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=20_000))
    folder = StateFolder(tmp_path)
    said = f"The disk of {tmp_path} has 19 kB free"
    assert said in "\n".join(describe_status(read_status(tmp_path), tmp_path))
    folder.write(STATE)
    assert said in "\n".join(describe_status(read_status(tmp_path), tmp_path))


def test_logs_of_a_folder_without_a_server_are_refused_and_make_nothing(tmp_path: Path) -> None:
    with pytest.raises(OpsError, match="no server was started"):
        list(show_logs(StateFolder(tmp_path / "none"), 5, "info", previous=False, forever=False))
    assert not (tmp_path / "none").exists()


def test_killed_supervisor_is_a_crash_with_the_last_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = StateFolder(tmp_path)
    dead = ProcessIdentity(os.getpid(), 1)
    folder.write(dataclasses.replace(STATE, supervisor=dead, server=dead))
    folder.supervisor_log_file.write_text("the last words\n")
    assert show_status(tmp_path, as_json=False) == CRASHED
    said = capsys.readouterr().out
    assert said.startswith(f"crashed: the supervisor (pid {dead.pid}) ended without a clean stop")
    assert "supervisor.log: the last words" in said


def test_server_that_waits_for_its_restart_is_a_crash_with_the_time(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.write(
        dataclasses.replace(
            STATE, phase="crashed", restarts=3, last_death="It was killed.", next_restart_at="2026-01-01T00:00:04+00:00"
        )
    )
    status = read_status(tmp_path)
    assert (status.phase, status.restarts, status.next_restart_at) == ("crashed", 3, "2026-01-01T00:00:04+00:00")
    assert "is restarted at 2026-01-01T00:00:04+00:00 (restarts: 3)" in describe_status(status, tmp_path)[0]
