import dataclasses
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ops.check_machine import check_damage
from ops.cli.main import main
from ops.errors import OpsError
from ops.server import state as state_module
from ops.server.files.private_files import overwrite
from ops.server.processes import ProcessIdentity, new_prefix, remove_abandoned, remove_segments
from ops.server.record import StateRecord
from ops.server.remains import remove_abandoned_folders
from ops.server.reports.status import Status, describe_status, read_status
from ops.server.state import Disowned, ServerState, StateFolder
from ops.settings import ROOT, STATE_DIR, Ports
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


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"{}", "holds 2 bytes that are no server's state"),
        (b"[1]", "holds 3 bytes"),
        (b'{"supervisor": 3}', "holds 17 bytes"),
        (b"\x00\xff" * 50, "holds 100 bytes"),
    ],
)
def test_state_of_another_make_is_no_state_and_is_explained(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "server.json").write_bytes(content)
    folder = StateFolder(tmp_path)
    assert folder.read() is None
    told = f"{tmp_path}/server.json {found}"
    assert told in (folder.find_damage() or "")
    assert told in describe_status(read_status(tmp_path), tmp_path)[1]
    assert told in stop(tmp_path)
    assert told in check_damage(tmp_path)[0].sentence


def test_sound_or_missing_state_is_no_damage(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    assert folder.find_damage() is None
    folder.write(STATE)
    assert folder.find_damage() is None


@pytest.mark.parametrize("content", [b"", b"0123", b"\xff\x00" * 40])
def test_control_key_of_another_make_is_explained(tmp_path: Path, content: bytes) -> None:
    folder = StateFolder(tmp_path)
    assert folder.read_key() == ""
    (tmp_path / "control.key").write_bytes(content)
    with pytest.raises(OpsError, match=f"control.key holds {len(content)} bytes that are no key; expected 64 hex"):
        folder.read_key()


def test_empty_catalogue_key_is_made_anew_and_another_stays(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.catalogue_key_file.write_text(" \n")
    folder.keep_catalogue_key()
    made = folder.catalogue_key_file.read_text()
    assert len(made) == 64
    folder.keep_catalogue_key()
    assert folder.catalogue_key_file.read_text() == made


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_owner_restores_a_damaged_state(tmp_path: Path, content: bytes | None) -> None:
    folder = StateFolder(tmp_path)
    folder.claim()
    record = StateRecord(folder)
    record.state = STATE
    if content is not None:
        folder.file.write_bytes(content)
    record.restore()
    assert folder.read() == STATE
    folder.release()


def test_folder_in_place_of_the_state_is_moved_aside(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.claim()
    record = StateRecord(folder)
    record.state = STATE
    folder.file.mkdir()
    (folder.file / "mine").write_text("kept")
    record.change(phase="crashed")
    assert folder.read() == dataclasses.replace(STATE, phase="crashed")
    (moved,) = tmp_path.glob("server.json.moved-*")
    assert (moved / "mine").read_text() == "kept"
    folder.file.unlink()
    folder.file.mkdir()
    folder.clear()
    assert not folder.file.exists()
    folder.release()


FULL = """
import resource, signal, sys
from pathlib import Path
from ops.server.record import StateRecord
from ops.server.state import StateFolder
folder = StateFolder(Path(sys.argv[1]))
folder.claim()
record = StateRecord(folder)
record.state = folder.read()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))  # ends as on a full disk
record.note_death("It was killed.", 4.0)
print(record.state.phase)
try:
    record.restore()
except OSError as error:
    print(error.filename)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
record.restore()
"""


def test_state_that_a_full_disk_does_not_take_is_written_later(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.write(dataclasses.replace(STATE, supervisor=ProcessIdentity(THIS.pid, 1)))
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), "0"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["crashed", str(folder.file)]
    state = folder.read()
    assert state is not None
    assert (state.phase, state.restarts, state.last_death) == ("crashed", 1, "It was killed.")


def test_state_is_written_into_the_room_of_the_former_one(tmp_path: Path) -> None:
    file = tmp_path / "server.json"
    file.write_text("x" * 3000)
    before = file.stat()
    overwrite(file, STATE.to_json())
    assert StateFolder(tmp_path).read() == STATE
    assert (file.stat().st_ino, file.stat().st_size) == (before.st_ino, before.st_size)
    with pytest.raises(OSError, match="nothing"):
        overwrite(tmp_path / "nothing", "")


OWNER = """
import sys, time
from pathlib import Path
from ops.server.state import StateFolder
StateFolder(Path(sys.argv[1])).claim()
print("owned", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("content", [None, "", "[1]", "{", "[" * 100_000, "folder"])
def test_running_server_without_a_state_is_found_and_stopped(
    tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "RESTORE_S", 0.1)
    folder = StateFolder(tmp_path)
    if content == "folder":
        folder.file.mkdir()
    elif content is not None:
        folder.file.write_text(content)
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "owned\n"
        assert folder.find_holder() == ProcessIdentity.of(owner.pid)
        status = read_status(tmp_path)
        assert (status.phase, status.pid) == ("not described", owner.pid)
        assert f"(pid {owner.pid})" in describe_status(status, tmp_path)[0]
        with pytest.raises(OpsError, match=rf"\(pid {owner.pid}\)"):
            folder.claim()
        assert stop(tmp_path).startswith(f"Stopped (was pid {owner.pid}, which server.json did not name)")
        assert owner.wait(5) != 0
    assert folder.find_holder() is None


def test_state_that_the_owner_writes_again_is_waited_for(tmp_path: Path) -> None:
    owner, folder = StateFolder(tmp_path), StateFolder(tmp_path)
    owner.claim()
    writing = threading.Timer(0.2, owner.write, [STATE])
    writing.start()
    assert folder.read_restored() == STATE
    writing.join()
    owner.release()
    folder.file.unlink()
    began_s = time.monotonic()
    assert folder.read_restored() is None
    assert time.monotonic() - began_s < state_module.RESTORE_S / 2, "without an owner nobody waits"


@pytest.mark.parametrize("name", ["lock", "state.lock"])
def test_folder_in_place_of_a_lock_is_named(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).mkdir()
    assert (
        main(["serve", "--state-dir", str(tmp_path), *(f"--{kind}-port=0" for kind in ("http", "grpc", "metrics"))])
        == 1
    )
    assert f"{tmp_path}/{name}" in capsys.readouterr().err


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
