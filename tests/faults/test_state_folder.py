"""The state folder of a real server: each process killed in turn, reloads killed half-way, other users shut out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tritonclient.utils import InferenceServerException

from ops.server import probe
from ops.server.reports.status import read_status
from ops.settings import ROOT
from tests.e2e.test_serve import CHAIN_CONFIG, STEP_CONFIG, call, write_model
from tests.faults.served import FREE_PORTS, PATIENCE_S, Served, serving, wait_for
from triptych._transport.shared_region import Region

SEED = 21
# Of killing during reloads, beyond one reload for each victim.
REPEATED_S = 5.0
VICTIMS = ("reload", "server", "old stub", "new stub", "front")
NOBODY = 65534
ADDING = """
import os
import sqlite3
from pathlib import Path

import lmdb
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        folder = Path(os.environ["TRIPTYCH_CATALOGUE_DIR"])
        folder.mkdir(parents=True, exist_ok=True)
        sqlite3.connect(folder / (args["model_name"] + ".sqlite3")).execute("create table if not exists t (a)")
        lmdb.open(os.environ["TMPDIR"] + "/" + args["model_instance_name"], map_size=2**20).close()

    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", one + AMOUNT)]) for one in inputs]
"""


def make_release(folder: Path, amount: int) -> Path:
    """A release of two steps that add `amount` each, and of their ensemble: an answer that mixes two releases shows."""
    source = ADDING.replace("AMOUNT", str(amount))
    for name in ("one", "two"):
        write_model(folder, name, STEP_CONFIG, source)
    write_model(folder, "chain", CHAIN_CONFIG, None)
    (folder / "models/chain/1/.keep").write_text("")
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    golden = {"model": "chain", "requests": []}
    manifest = {"release": {"format": 2, "name": folder.name}, "files": files, "golden": golden}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def releases(tmp_path: Path) -> dict[float, Path]:
    """What `chain` adds -> the release that does."""
    return {2.0: make_release(tmp_path / "small", 1), 20.0: make_release(tmp_path / "large", 10)}


def ops(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops", *words], cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
    )


def answer(served: Served) -> float | None:
    try:
        return call(served.target, "chain", 0.0)
    except InferenceServerException:
        return None


def victims(served: Served, reload: subprocess.Popen[bytes]) -> dict[str, int]:
    """Whom to kill -> pid. An old and a new process of a model: old ones linger up to 20 s after a reload."""
    stubs = served.stubs("one")
    front = served.state.front
    assert front is not None
    found = {"reload": reload.pid, "server": served.server_pid, "front": front.pid}
    return found | ({"old stub": stubs[0], "new stub": stubs[-1]} if stubs else {})


def kill_during_a_reload(served: Served, target: Path, victim: str, chance: random.Random) -> None:
    """Kills a process once the exchange of the models has begun, or a moment later."""
    reload = subprocess.Popen(
        [sys.executable, "-m", "ops", "reload", str(target), f"--state-dir={served.folder.folder}"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert wait_for(lambda: served.state.reloading is not None or reload.poll() is not None)
    time.sleep(chance.uniform(0.0, 0.4))
    pid = victims(served, reload).get(victim)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):  # a stub of the old models has just ended
            os.kill(pid, signal.SIGKILL)
    reload.wait(PATIENCE_S)


def serves_what_the_state_names(served: Served, releases: dict[float, Path]) -> bool:
    state = served.folder.read()
    if state is None or state.phase != "ready" or state.reloading is not None or state.folder is None:
        return False
    expected = {str(folder): amount for amount, folder in releases.items()}[state.folder]
    names = sorted(model.name for model in probe.read_models(state.ports, served.folder.read_key()))
    return answer(served) == expected and names == ["chain", "one", "two"]


def test_a_release_is_served_whoever_is_killed_during_a_reload(tmp_path: Path, releases: dict[float, Path]) -> None:
    chance, targets = random.Random(SEED), list(releases.values())
    with serving(tmp_path / "state", f"--repository={targets[0]}", "--profile=") as served:
        turn, deadline_s, names = (
            0,
            time.monotonic() + REPEATED_S,
            ["reload", "server", "old stub", "new stub", "front"],
        )
        while turn < len(names) or time.monotonic() < deadline_s:
            victim = names[turn] if turn < len(names) else chance.choice(names)
            kill_during_a_reload(served, targets[(turn + 1) % 2], victim, chance)
            assert wait_for(lambda: serves_what_the_state_names(served, releases)), (victim, served.said())
            assert served.supervisor.poll() is None, served.said()
            assert "Traceback" not in served.said()
            turn += 1
        state = served.state
    assert not list(Path("/dev/shm").glob(f"{state.segment_prefix}*"))
    assert not list(served.folder.folder.glob("serving*"))


def test_killed_supervisor_is_a_crash_and_the_next_start_removes_what_it_left(
    tmp_path: Path, releases: dict[float, Path]
) -> None:
    folder, repository = tmp_path / "state", f"--repository={releases[2.0]}"
    with serving(folder, repository, "--profile=") as served:
        second = ops("serve", f"--state-dir={folder}", repository, *FREE_PORTS)
        assert (second.returncode, "already runs" in second.stderr) == (1, True)
        assert answer(served) == 2.0
        first = served.state
        served.supervisor.kill()
        served.supervisor.wait(PATIENCE_S)
        status = ops("status", f"--state-dir={folder}")
        assert status.returncode == 3, status.stdout
        assert "ended without a clean stop" in status.stdout
        assert "supervisor.log: " in status.stdout
    with serving(folder, repository, "--profile=") as served:
        assert answer(served) == 2.0
        assert not list(Path("/dev/shm").glob(f"{first.segment_prefix}*"))
        assert first.server is not None
        assert not first.server.is_running()
        shown = read_status(folder)
        assert (shown.phase, shown.restarts) == ("ready", 0)
        assert [one.model for one in shown.traffic] == ["chain", "one", "two"]
    assert read_status(folder).phase == "stopped"


def test_restart_serves_the_same_with_the_same_options(tmp_path: Path, releases: dict[float, Path]) -> None:
    folder = tmp_path / "state"
    with serving(folder, f"--repository={releases[2.0]}", "--profile=") as served:
        before = served.state
        restarted = ops("restart", f"--state-dir={folder}")
        assert restarted.returncode == 0, restarted.stderr
        after = served.state
        assert (after.supervisor, after.ports) == (before.supervisor, before.ports)
        assert after.server != before.server
        assert answer(served) == 2.0
        (releases[2.0] / "models/three").mkdir()
        refused = ops("restart", f"--state-dir={folder}")
        assert (refused.returncode, "models/three is an empty folder" in refused.stderr) == (1, True)
        assert answer(served) == 2.0


def test_reload_and_serve_refuse_what_verify_refuses(tmp_path: Path, releases: dict[float, Path]) -> None:
    folder = tmp_path / "state"
    bad = releases[20.0]
    shutil.copytree(bad / "models/one", bad / "models/backdoor")
    verified = subprocess.run(
        [sys.executable, "-m", "export", "verify", str(bad)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert verified.returncode == 1
    said = "models/backdoor/1/model.py is not in the manifest."
    assert said in verified.stdout
    with serving(folder, f"--repository={releases[2.0]}", "--profile=") as served:
        refused = ops("reload", str(bad), f"--state-dir={folder}")
        assert refused.returncode == 1
        assert said in refused.stderr
        assert answer(served) == 2.0
    refused = ops("serve", f"--repository={bad}", f"--state-dir={folder}", *FREE_PORTS)
    assert refused.returncode == 1
    assert said in refused.stderr


def test_supervisor_whose_output_nobody_reads_serves_on(tmp_path: Path, releases: dict[float, Path]) -> None:
    words = ["serve", f"--state-dir={tmp_path / 'state'}", f"--repository={releases[2.0]}", "--profile=", *FREE_PORTS]
    with subprocess.Popen(
        [sys.executable, "-m", "ops", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as supervisor:
        served = Served(tmp_path / "state", supervisor, tmp_path / "state/supervisor.log")
        try:
            assert wait_for(lambda: served.is_ready() or supervisor.poll() is not None)
            assert supervisor.stdout is not None
            supervisor.stdout.close()
            for restarts in (1, 2):
                os.kill(served.server_pid, signal.SIGKILL)
                assert wait_for(lambda count=restarts: served.is_ready() and served.state.restarts == count)  # type: ignore[misc]
            assert answer(served) == 2.0
            assert "it ended 2 times in a row" in served.said()
        finally:
            supervisor.send_signal(signal.SIGTERM)
            assert supervisor.wait(PATIENCE_S) == 0


@contextmanager
def folder_that_others_reach() -> Iterator[Path]:
    """Outside pytest's folder, which others cannot enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


READ = """
import os, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
for path in sys.stdin.read().split("\\0"):
    try:
        os.listdir(path) if path.endswith("/") else open(path, "rb").close()
    except OSError:
        continue
    print(path)
"""


def readable_by_nobody(paths: list[Path]) -> list[str]:
    """Those of the paths that another user can list or read."""
    names = [f"{path}/" if path.is_dir() else str(path) for path in paths]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", READ, str(NOBODY)],
        input="\0".join(names), capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_reads_nothing(releases: dict[float, Path]) -> None:
    with folder_that_others_reach() as shared:
        known = shared / "open"
        known.write_text("for everyone")
        known.chmod(0o644)
        assert readable_by_nobody([known]) == [str(known)], "the test itself works"
        with serving(shared / "state", f"--repository={releases[2.0]}", "--profile=") as served:
            assert answer(served) == 2.0
            region = Region(2**20)
            try:
                segments = [*Path("/dev/shm").glob(f"{served.state.segment_prefix}*"), Path("/dev/shm") / region.name]
                files = [path for path in served.folder.folder.rglob("*") if not path.is_symlink()]
                assert len(segments) > 2
                assert {"one.sqlite3", "data.mdb", "server.log", "server.json"} <= {path.name for path in files}
                assert readable_by_nobody([*segments, served.folder.folder, *files]) == []
                assert [path for path in [*segments, *files] if path.exists() and path.stat().st_mode & 0o077] == []
            finally:
                region.unlink()
