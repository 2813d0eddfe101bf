"""What the supervisor of a real server mends and says: a hung front, a lost state, a full disk, changed code."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ops.release import find_release
from ops.server.reports.status import read_status
from tests.faults.served import Served, serving, wait_for
from tests.faults.test_pressure import full, needs_mounts
from tests.faults.test_state_folder import ADDING, answer, make_release, ops
from tests.unit.export.release.test_folder import write_keys

HUNG_S = 12.0


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Its `chain` adds 2."""
    return make_release(tmp_path / "small", 1)


def sign(release: Path, folder: Path) -> Path:
    """Returns the public key."""
    from export.release.folder import read_release
    from export.release.signing import sign

    private, public = write_keys(folder, "mine")
    sign(read_release(release), private)
    release.chmod(0o755)
    return public


def test_hung_front_is_replaced(tmp_path: Path, release: Path) -> None:
    with serving(tmp_path / "state", f"--repository={release}", "--profile=") as served:
        before = served.state
        assert before.front is not None
        os.kill(before.front.pid, signal.SIGSTOP)
        assert wait_for(lambda: served.state.front_restarts == 1, HUNG_S)
        assert answer(served) == 2.0
        assert served.state.server == before.server
        assert "warning: the front did not answer for 5 s; it was started again." in served.said()
        shown = ops("status", f"--state-dir={served.folder.folder}").stdout
        assert "front    restarted 1 times; the last time: the front did not answer for 5 s" in shown


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"folder"])
def test_lost_state_is_written_again_and_a_killed_server_is_restarted(
    tmp_path: Path, release: Path, content: bytes | None
) -> None:
    with serving(tmp_path / "state", f"--repository={release}", "--profile=") as served:
        state, file = served.state, served.folder.file
        file.unlink()
        if content == b"folder":
            file.mkdir()
        elif content is not None:
            file.write_bytes(content)
        assert ops("status", f"--state-dir={served.folder.folder}").returncode == 0
        assert served.state == state
        file.unlink()
        if content == b"folder":
            file.mkdir()
        os.kill(served_pid(state.server), signal.SIGKILL)
        assert wait_for(lambda: (now := served.folder.read()) is not None and now.restarts == 1 and served.is_ready())
        assert answer(served) == 2.0
        stopped = ops("stop", f"--state-dir={served.folder.folder}")
        assert stopped.stdout == f"Stopped (was pid {state.supervisor.pid}).\n"


def served_pid(server: object) -> int:
    pid = getattr(server, "pid", None)
    assert isinstance(pid, int)
    return pid


@needs_mounts
def test_server_that_is_killed_while_the_disk_is_full_is_restarted(tmp_path: Path, release: Path) -> None:
    state = tmp_path / "state"
    options = (f"--repository={release}", "--profile=", "--cache-mb=0")
    with serving(state, *options, disks={state: "64m"}) as served, full(served.folder.folder):
        os.kill(served.server_pid, signal.SIGKILL)
        assert wait_for(lambda: served.state.restarts > 0), served.said()
        assert wait_for(lambda: answer(served) == 2.0), served.said()
        status = read_status(served.folder.folder)
        assert status.disk is not None
        assert "Free space" in status.disk
        assert "killed by SIGKILL" in served.said()


def test_each_end_of_the_server_names_its_own_log(tmp_path: Path, release: Path) -> None:
    with serving(tmp_path / "state", f"--repository={release}", "--profile=") as served:
        for number in (1, 2):
            os.kill(served.server_pid, signal.SIGKILL)
            assert wait_for(lambda count=number: served.is_ready() and served.state.restarts == count)  # type: ignore[misc]
            log = served.folder.folder / f"server-{number}.log"
            assert f"Full log: {log}" in (served.state.last_death or "")
            assert "successfully loaded 'chain'" in log.read_text()
        assert served.folder.log_file.samefile(served.folder.folder / "server-3.log")


def test_every_reload_leaves_an_entry_in_the_log(tmp_path: Path, release: Path) -> None:
    other = make_release(tmp_path / "large", 10)
    found = find_release(other)
    assert found is not None
    with serving(tmp_path / "state", f"--repository={release}", "--profile=") as served:
        log, words = served.folder.supervisor_log_file, ("reload", str(other), f"--state-dir={served.folder.folder}")
        (other / "models/three").mkdir()
        assert ops(*words).returncode == 1
        entry = f"reload of {other} (sha256:{found.digest})"
        assert (
            f"warning: {entry} failed, signatures are not checked: {other} is damaged: models/three" in log.read_text()
        )
        (other / "models/three").rmdir()
        assert ops(*words).returncode == 0
        assert f"{entry}, signatures are not checked: Serving {found.name} in place of" in log.read_text()
        assert answer(served) == 20.0


def test_code_that_is_changed_after_a_verified_start_is_not_loaded(tmp_path: Path, release: Path) -> None:
    public = sign(release, tmp_path)
    options = (f"--repository={release}", f"--key={public}", "--profile=")
    with serving(tmp_path / "state", *options) as served:
        assert answer(served) == 2.0
        (release / "models/one/1/model.py").write_text(ADDING.replace("AMOUNT", "100"))
        kill_stub(served, "one")
        assert answer(served) == 2.0
        os.kill(served.server_pid, signal.SIGKILL)
        assert wait_for(lambda: "models/one/1/model.py was changed" in (served.state.last_death or ""))
        (release / "models/one/1/model.py").write_text(ADDING.replace("AMOUNT", "1"))
        assert wait_for(lambda: served.is_ready() and answer(served) == 2.0)


def kill_stub(served: Served, model: str) -> None:
    """Kills a model's process; returns once the supervisor has loaded the model again."""
    os.kill(served.stubs(model)[-1], signal.SIGKILL)  # after a reload the first is that of the release before
    assert wait_for(lambda: f"a process of {model} died; the model was loaded again" in served.said())
    time.sleep(0.2)


def test_reload_serves_a_copy_of_the_next_signed_release(tmp_path: Path, release: Path) -> None:
    other = make_release(tmp_path / "large", 10)
    public = sign(release, tmp_path)
    from export.release.folder import read_release
    from export.release.signing import sign as sign_release

    sign_release(read_release(other), tmp_path / "mine.pem")
    other.chmod(0o755)
    options = (f"--repository={release}", f"--key={public}", "--profile=")
    with serving(tmp_path / "state", *options) as served:
        assert ops("reload", str(other), f"--state-dir={served.folder.folder}").returncode == 0
        (other / "models/one/1/model.py").write_text(ADDING.replace("AMOUNT", "100"))
        kill_stub(served, "one")
        assert answer(served) == 20.0
        assert f"signature checked with {public}" in served.folder.supervisor_log_file.read_text()
