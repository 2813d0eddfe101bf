import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops.errors import OpsError
from ops.server.processes import ProcessIdentity, new_prefix, remove_abandoned, remove_segments
from ops.server.remains import remove_abandoned_folders
from ops.server.reports.status import Status, describe_status, read_status
from ops.server.state import Disowned, ServerState, StateFolder
from ops.settings import STATE_DIR, Ports
from ops.supervision.stopping import stop

THIS = ProcessIdentity.of(os.getpid())
STATE = ServerState(
    phase="ready",
    supervisor=THIS,
    server=None,
    ports=Ports(1, 2, 3),
    repository="/models",
    profile=None,
    cache_mb=64,
    segment_prefix="triptych_0_0_0_00000000_",
    started_at="2026-01-01T00:00:00+00:00",
    log_file="/run/server.log",
    stop_timeout_s=1.0,
)


def test_state_survives_being_written_and_read(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.write(dataclasses.replace(STATE, server=THIS))
    assert folder.read() == dataclasses.replace(STATE, server=THIS)


def test_commands_name_the_state_folder_when_it_is_not_the_default(tmp_path: Path) -> None:
    assert StateFolder(STATE_DIR).command("stop") == "triptych stop"
    assert StateFolder(tmp_path / "a b").command("stop") == f"triptych stop --state-dir '{tmp_path}/a b'"


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"supervisor": 3}'])
def test_state_of_another_make_is_no_state(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)
    assert StateFolder(tmp_path).read() is None


def test_pid_used_again_is_not_the_same_process(tmp_path: Path) -> None:
    stale = ProcessIdentity(THIS.pid, THIS.start_ticks - 1)
    assert THIS.is_running()
    assert not stale.is_running()
    folder = StateFolder(tmp_path)
    folder.write(dataclasses.replace(STATE, supervisor=stale, server=stale))
    assert read_status(tmp_path).phase == "crashed"
    stop(tmp_path)  # must not signal this very process
    assert THIS.is_running()


def test_ended_process_is_not_running_while_its_zombie_stays() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = ProcessIdentity.of(child.pid)
        assert identity.is_running()
        child.communicate()
    assert identity.wait(timeout_s=5)


def test_folder_is_one_servers_at_a_time(tmp_path: Path) -> None:
    first, second = StateFolder(tmp_path), StateFolder(tmp_path)
    first.claim()
    first.write(STATE)
    with pytest.raises(OpsError, match=rf"already runs \(pid {THIS.pid}\): gRPC 127\.0\.0\.1:2"):
        second.claim()
    first.clear()
    first.release()
    second.claim()
    second.release()


def test_lock_that_was_removed_does_not_give_the_folder_away(tmp_path: Path) -> None:
    first, second = StateFolder(tmp_path), StateFolder(tmp_path)
    first.claim()
    first.write(STATE)
    (tmp_path / "lock").unlink()
    with pytest.raises(OpsError, match="already runs"):
        second.claim()
    first.require_claimed(STATE.segment_prefix)
    assert first.is_claimed
    first.release()


def test_folder_that_another_process_took_after_its_removal_is_not_ours(tmp_path: Path) -> None:
    first, second = StateFolder(tmp_path / "state"), StateFolder(tmp_path / "state")
    first.claim()
    shutil.rmtree(first.folder)
    second.claim()
    assert (first.is_claimed, second.is_claimed) == (False, True)
    with pytest.raises(Disowned, match="was removed while the server ran"):
        first.require_claimed("of-the-first_")
    second.release()


def test_change_for_a_server_that_was_replaced_changes_nothing(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    former = ProcessIdentity(1, 1)
    folder.write(dataclasses.replace(STATE, server=THIS, release="old"))
    assert not folder.change(None, of_server=former, release="new")
    assert folder.change(None, of_server=THIS, release="newer")
    state = folder.read()
    assert state is not None
    assert state.release == "newer"


def test_stopped_status_says_how_to_start(tmp_path: Path) -> None:
    assert "triptych serve" in describe_status(Status("stopped"), tmp_path)[0]


def test_temporary_folder_of_a_killed_run_goes_and_others_stay(tmp_path: Path) -> None:
    dead = ProcessIdentity(THIS.pid, 1)
    for name, state in (("dead1234", dataclasses.replace(STATE, supervisor=dead)), ("alive123", STATE)):
        (tmp_path / f"triptych_{name}").mkdir()
        StateFolder(tmp_path / f"triptych_{name}").write(state)
    (tmp_path / "triptych_failed12").mkdir()
    (tmp_path / "triptych_failed12/server.log").write_text("")
    remove_abandoned_folders(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["triptych_alive123", "triptych_failed12"]


def test_segments_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    own = new_prefix()
    dead = own.replace(f"_{THIS.start_ticks}_", f"_{THIS.start_ticks - 1}_")
    elsewhere = "triptych_1_2_3_00000000_"
    for name in (f"{own}a", f"{dead}b", f"{elsewhere}c", "other"):
        (tmp_path / name).write_text("")
    remove_abandoned(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([f"{own}a", f"{elsewhere}c", "other"])
    remove_segments(own, tmp_path)
    assert not (tmp_path / f"{own}a").exists()
