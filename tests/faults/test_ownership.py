"""One state folder, many servers, stops and kills, in any order: its owner serves, and nobody else touches its files.
After a stop nothing is left.

`LocalServer` itself runs, with a process that sleeps in place of Triton and without its front, so that hundreds of
sequences take seconds; `test_state_folder.py` does the same once with the real server.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.errors import OpsError
from ops.server import launch, local_server, probe, remains
from ops.server.front_process import FrontProcess
from ops.server.local_server import LocalServer
from ops.server.processes import ProcessIdentity
from ops.server.server_binary import SystemServer
from ops.server.state import StateFolder
from ops.settings import Settings
from ops.supervision.stopping import _clear
from tests.e2e.test_serve import STEP_CONFIG, STEP_MODEL, write_model

SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
NEVER = ProcessIdentity(os.getpid(), 1)  # this process id of another boot: dead


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long in a start, and what looks through all processes of the machine."""

    def start(command: list[str], variables: dict[str, str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
        assert folder.is_dir()
        log.write_text("of this run\n")
        log.chmod(0o600)
        return subprocess.Popen(SLEEP, stdin=subprocess.DEVNULL)

    monkeypatch.setattr(launch, "start", start)
    monkeypatch.setattr(probe, "is_ready", lambda ports: True)
    monkeypatch.setattr(probe, "read_models", lambda ports, key: [probe.ModelState("one", "1", "READY")])
    monkeypatch.setattr(local_server, "find_server", lambda repository: SystemServer(Path("/none/tritonserver")))
    monkeypatch.setattr(local_server, "kill_remains", lambda *_: None)
    monkeypatch.setattr(local_server, "remove_environment_folders", lambda: None)
    monkeypatch.setattr(local_server, "wait_until_answered", lambda *_: True)
    monkeypatch.setattr(local_server, "shut_down", lambda *_: None)
    monkeypatch.setattr(FrontProcess, "start", lambda self, front: None)
    for name in ("kill_remains", "remove_abandoned", "remove_abandoned_folders", "remove_environment_folders"):
        monkeypatch.setattr(remains, name, lambda *_: None)


class Folder:
    """A state folder and the servers that were started in it.

    Attributes:
        owner: the living server that owns the folder.
        disowned: living servers whose folder somebody removed and another server took.
    """

    def __init__(self, root: Path) -> None:
        self.repository = root / "repository"
        write_model(self.repository, "one", STEP_CONFIG, STEP_MODEL)
        self.state = root / "state"
        self.settings = Settings(
            self.repository, http_port=0, grpc_port=0, metrics_port=0, profile=None, state_dir=self.state
        )
        self.owner: LocalServer | None = None
        self.disowned: list[LocalServer] = []
        self.is_removed = False  # since the last start

    def serve(self) -> None:
        self._try(LocalServer(self.settings))

    def serve_without_a_profile(self) -> None:
        self._try(LocalServer(dataclasses.replace(self.settings, profile="none-such")))

    def serve_on_one_port(self) -> None:
        self._try(LocalServer(dataclasses.replace(self.settings, http_port=9, grpc_port=9)))

    def _try(self, server: LocalServer) -> None:
        is_free = self.owner is None or self.is_removed
        try:
            server.start()
            server.wait_ready()
        except OpsError:
            server.stop(drain=False)  # as `serve` does
            return
        assert is_free, "a second server took the folder"
        if self.owner is not None:
            self.disowned.append(self.owner)
        self.owner, self.is_removed = server, False
        segment(server).touch()

    def stop(self) -> None:
        if self.owner is not None:
            self.owner.stop()
            assert not segment(self.owner).exists()
            self.owner = None
            self.check_nothing_left()
            self.is_removed = False

    def stop_the_disowned(self) -> None:
        while self.disowned:
            self.disowned.pop().stop()

    def run_stop(self) -> None:
        """What `triptych stop` does once the supervisor has ended."""
        _clear(StateFolder(self.state))
        if self.owner is None:
            self.check_nothing_left()

    def kill_server(self) -> None:
        if self.owner is not None:
            os.kill(self.owner.pid, 9)
            self.owner.restart()
            self.owner.wait_ready()
            segment(self.owner).touch()
            self.is_removed = False

    def kill_supervisor(self) -> None:
        """The kernel closes its lock and ends its server; its files stay."""
        if self.owner is not None:
            self.owner._kill_remains()
            folder = StateFolder(self.state)
            state = folder.read()
            if state is not None:
                folder.write(dataclasses.replace(state, supervisor=NEVER))
            segment(self.owner).unlink(missing_ok=True)
            self.owner._state_folder.release()
            self.owner._forget_process()
            self.owner = None
            self.is_removed = False

    def reload_of_a_former_server(self) -> None:
        """A reload that ends after its server was replaced."""
        if self.state.is_dir():
            assert not StateFolder(self.state).change(None, of_server=ProcessIdentity(1, 1), release="other")

    def remove_lock(self) -> None:
        (self.state / "lock").unlink(missing_ok=True)

    def remove_folder(self) -> None:
        """`rm -rf .run`, as `make clean` does."""
        shutil.rmtree(self.state, ignore_errors=True)
        self.is_removed = self.owner is not None

    def check(self) -> None:
        """The owner runs, and its files exist."""
        if self.owner is None or self.is_removed:
            return
        assert self.owner.exit_code() is None
        state = StateFolder(self.state).read()
        assert state is not None
        assert state.server == ProcessIdentity.of(self.owner.pid)
        assert state.release is None
        assert state.serving is not None
        assert (Path(state.serving) / "models/one/1/model.py").read_text() == STEP_MODEL
        for name in ("server.log", "control.key", "memory.key", "catalogue.key", "tmp"):
            assert (self.state / name).exists(), name
        assert [path.name for path in self.state.glob("serving*")] == [Path(state.serving).name]
        assert segment(self.owner).exists()
        assert not [path for path in (self.state, *self.state.rglob("*")) if is_open(path)]

    def check_nothing_left(self) -> None:
        kept = {
            "mine.txt",
            "catalogue",
            "server.log",
            "server.previous.log",  # of an earlier version
            *(path.name for path in self.state.glob("server-*.log")),
            "catalogue.key",
            "lock",
            "state.lock",
            "reload.lock",
            "backends",
            "bin",
        }
        assert {path.name for path in self.state.glob("*")} <= kept

    def end(self) -> None:
        self.stop()
        self.stop_the_disowned()


def segment(server: LocalServer) -> Path:
    return Path("/dev/shm") / f"{server.segment_prefix}stand-in"


def is_open(path: Path) -> bool:
    return not path.is_symlink() and bool(path.stat().st_mode & 0o077)


ACTIONS = [
    Folder.serve, Folder.serve, Folder.serve_without_a_profile, Folder.serve_on_one_port, Folder.stop, Folder.run_stop,
    Folder.kill_server, Folder.kill_supervisor, Folder.reload_of_a_former_server, Folder.remove_lock,
    Folder.remove_folder, Folder.stop_the_disowned,
]  # fmt: skip


@contextlib.contextmanager
def folder_of_servers() -> Iterator[Folder]:
    with tempfile.TemporaryDirectory() as root:
        folder = Folder(Path(root))
        try:
            yield folder
        finally:
            folder.end()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(ACTIONS), min_size=2, max_size=10))
def test_owner_serves_whatever_others_do(actions: list[object]) -> None:
    with folder_of_servers() as folder:
        folder.serve()
        for action in actions:
            action(folder)  # type: ignore[operator]
            folder.check()


def test_second_server_after_a_lost_lock_leaves_the_first_alone() -> None:
    with folder_of_servers() as folder:
        folder.serve()
        folder.remove_lock()
        for serve in (folder.serve, folder.serve_without_a_profile, folder.serve_on_one_port, folder.run_stop):
            serve()
            folder.check()
        folder.kill_server()
        folder.check()


def test_server_whose_folder_another_took_stops_without_touching_it() -> None:
    with folder_of_servers() as folder:
        folder.serve()
        first = folder.owner
        folder.remove_folder()
        folder.serve()
        assert folder.owner is not first
        folder.stop_the_disowned()
        folder.check()


def test_folder_that_the_user_shares_with_others_keeps_its_mode(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.state.mkdir(mode=0o755)
    (folder.state / "mine.txt").write_text("")
    (folder.state / "mine.txt").chmod(0o644)
    folder.serve()
    folder.end()
    assert folder.state.stat().st_mode & 0o777 == 0o755
    assert (folder.state / "mine.txt").stat().st_mode & 0o777 == 0o644


def test_what_an_earlier_version_left_open_is_closed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    (folder.state / "catalogue").mkdir(parents=True, mode=0o755)
    (folder.state / "catalogue/catalogue.sqlite3").write_text("")
    (folder.state / "server.previous.log").write_text("")
    folder.serve()
    folder.check()
    folder.end()


def test_repository_within_the_state_folder_is_refused_before_it_is_removed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.serve()
    folder.kill_supervisor()
    served = folder.state / "serving"
    with pytest.raises(OpsError, match="is made anew at each start"):
        LocalServer(dataclasses.replace(folder.settings, repository=served)).start()
    assert (served / "models/one/1/model.py").exists()
    folder.serve()
    folder.end()


def test_process_of_a_model_that_a_reload_removed_is_not_loaded_again(tmp_path: Path) -> None:
    """Its old process lingers up to 20 s, and may die meanwhile."""
    folder = Folder(tmp_path)
    folder.serve()
    assert folder.owner is not None
    with folder.owner.recovering("removed") as is_served:
        assert not is_served
    with folder.owner.recovering("one") as is_served:
        assert is_served
    folder.end()
