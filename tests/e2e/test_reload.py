"""`triptych reload` on the real server: under load nothing is lost or mixed; a bad release changes nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from export.release.folder import read_release
from ops.errors import OpsError, WrongUsage
from ops.server.local_server import LocalServer
from ops.server.reports.status import read_status
from ops.server.serving_folder import ServingFolder
from ops.server.state import StateFolder
from ops.settings import ROOT, Settings
from ops.supervision.reload import reload
from triptych import Client

MODELS = [
    "activation_map",
    "catalogue",
    "classifier",
    "embedder",
    "explainer",
    "index",
    "preprocess",
    "recognizer",
    "searcher",
]
PHOTOS = 4
GRPC_CALLERS = 8
HTTP_CALLERS = 2
RELOADS = 2
LOAD_TIMEOUT_S = 120.0
# The two releases differ by 0.5 and more in each photo's top score; the same release on one machine by 1e-6.
ATOL = 1e-3

Answer = dict[str, npt.NDArray[np.float32]]


@pytest.fixture(params=["cpu", None], ids=["fused", "ensemble"])
def running(request: pytest.FixtureRequest, releases: tuple[Path, Path], tmp_path: Path) -> Iterator[LocalServer]:
    """A server of the first release, without a cache: every answer is computed."""
    settings = Settings(
        releases[0],
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        profile=request.param,
        cache_mb=0,
        state_dir=tmp_path / "state",
    )
    with LocalServer(settings) as server:
        yield server


def state_dir(server: LocalServer) -> Path:
    assert server.settings.state_dir is not None
    return server.settings.state_dir


class Caller:
    """tritonclient over one protocol, one connection for all calls."""

    def __init__(self, server: LocalServer, protocol: str) -> None:
        self.triton = {"grpc": tritonclient.grpc, "http": tritonclient.http}[protocol]
        address = server.grpc_target if protocol == "grpc" else server.http_url.removeprefix("http://")
        self.client = self.triton.InferenceServerClient(address)

    def infer(self, photo: bytes, model: str = "recognizer") -> Answer:
        image = self.triton.InferInput("image", [1, 1], "BYTES")
        image.set_data_from_numpy(np.array([[photo]], dtype=object))
        names = ["category_scores", "embedding"]
        answer = self.client.infer(model, [image], outputs=[self.triton.InferRequestedOutput(name) for name in names])
        return {name: answer.as_numpy(name)[0] for name in names}


def is_same(got: Answer, expected: Answer) -> bool:
    return all(np.allclose(got[name], expected[name], atol=ATOL) for name in expected)


def test_reload_under_load_loses_and_mixes_nothing(
    running: LocalServer, releases: tuple[Path, Path], photos: list[Path]
) -> None:
    contents = [photo.read_bytes() for photo in photos[:PHOTOS]]
    first = Caller(running, "grpc")
    old = [first.infer(content) for content in contents]
    reload(state_dir(running), releases[1], LOAD_TIMEOUT_S)
    new = [first.infer(content) for content in contents]
    assert not any(is_same(one, other) for one, other in zip(old, new, strict=True))

    seen: Counter[str] = Counter()
    is_over = threading.Event()

    def call(number: int) -> None:
        caller = Caller(running, "grpc" if number < GRPC_CALLERS else "http")
        mine: Counter[str] = Counter()
        while not is_over.is_set():
            n = (number + mine.total()) % PHOTOS
            answer = caller.infer(contents[n])  # a lost request ends the caller, and the test
            is_old, is_new = is_same(answer, old[n]), is_same(answer, new[n])
            mine["old" if is_old else "new" if is_new else "neither"] += 1
        seen.update(mine)

    with ThreadPoolExecutor(GRPC_CALLERS + HTTP_CALLERS) as pool:
        callers = [pool.submit(call, number) for number in range(GRPC_CALLERS + HTTP_CALLERS)]
        try:
            for turn in range(RELOADS):
                reload(state_dir(running), releases[turn % 2], LOAD_TIMEOUT_S)
        finally:
            is_over.set()
        for caller in callers:
            caller.result()
    print(f"\n{RELOADS} reloads, answers: {dict(seen)}")
    assert seen["neither"] == 0
    assert min(seen["old"], seen["new"]) > 0
    assert seen.total() > 200
    assert models_of(running) == MODELS


ADVICE, OTHER_ADVICE = b"expected a complete JPEG", b"expected a whole JPEG"


@pytest.fixture
def other_code(releases: tuple[Path, Path], tmp_path: Path) -> Path:
    """The first release with another sentence in its serving package."""
    folder = copy_writable(releases[0], tmp_path / "other-code")
    content = (folder / "triptych_models/errors.py").read_bytes()
    assert content.count(ADVICE) == 1
    rewrite(folder, "triptych_models/errors.py", content.replace(ADVICE, OTHER_ADVICE))
    return folder


def test_code_comes_and_goes_with_its_release(
    running: LocalServer, releases: tuple[Path, Path], other_code: Path
) -> None:
    caller = Caller(running, "grpc")

    def advice() -> bytes:
        with pytest.raises(InferenceServerException, match="unreadable image") as refused:
            caller.infer(b"no photo")
        return next(one for one in (ADVICE, OTHER_ADVICE) if one.decode() in str(refused.value))

    assert advice() == ADVICE
    for release, expected in ((other_code, OTHER_ADVICE), (releases[0], ADVICE)):
        reload(state_dir(running), release, LOAD_TIMEOUT_S)
        assert advice() == expected
    assert models_of(running) == MODELS
    assert not [path for release in (releases[0], other_code) for path in release.rglob("__pycache__")]


def models_of(server: LocalServer) -> list[str]:
    return sorted(model.name for model in read_status(state_dir(server)).models)


@pytest.fixture(scope="module")
def served(releases: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """One server of the first release for all that is refused."""
    folder = tmp_path_factory.mktemp("served") / "state"
    settings = Settings(releases[0], http_port=0, grpc_port=0, metrics_port=0, cache_mb=0, state_dir=folder)
    with LocalServer(settings) as server:
        yield server


@pytest.fixture
def bad_release(releases: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the second release, writable: each test spoils it in its own way."""
    return copy_writable(releases[1], tmp_path / "bad")


def copy_writable(release: Path, folder: Path) -> Path:
    shutil.copytree(release, folder, copy_function=shutil.copyfile)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    return folder


def rewrite(release: Path, name: str, content: bytes) -> None:
    """Another file in a release, and a manifest that lists it."""
    (release / name).write_bytes(content)
    manifest = json.loads((release / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (release / "manifest.json").write_text(json.dumps(manifest))


def wrong_golden_answers(release: Path, first: Path) -> None:
    manifest = json.loads((release / "manifest.json").read_text())
    manifest["golden"] = read_release(first).manifest["golden"]
    (release / "manifest.json").write_text(json.dumps(manifest))


def wrong_labels(release: Path, first: Path) -> None:
    for model in ("classifier", "recognizer"):
        labels = f"models/{model}/labels.txt"
        rewrite(release, labels, (first / labels).read_bytes())


def model_that_does_not_load(release: Path, first: Path) -> None:
    rewrite(release, "models/preprocess/1/model.py", b"raise RuntimeError('nothing to decode with')")


def damaged_file(release: Path, first: Path) -> None:
    (release / "models/recognizer/labels.txt").write_text("everything\n")


def missing_label_file(release: Path, first: Path) -> None:
    manifest = json.loads((release / "manifest.json").read_text())
    del manifest["files"]["models/recognizer/labels.txt"]
    (release / "manifest.json").write_text(json.dumps(manifest))
    (release / "models/recognizer/labels.txt").unlink()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (wrong_golden_answers, r"(?s)golden requests differ.*golden-clock.jpg.*expected.*keeps serving"),
        (wrong_labels, r"(?s)golden requests differ.*is labelled .*, expected .*keeps serving"),
        (model_that_does_not_load, r"(?s)did not load: .*nothing to decode with.*keeps serving"),
        (damaged_file, r"is damaged: models/recognizer/labels.txt was changed.*keeps serving the old release"),
        (missing_label_file, r"not placed: missing models/recognizer/labels.txt"),
    ],
)
def test_reload_refuses_a_bad_release_and_the_old_one_serves_on(
    spoil: Callable[[Path, Path], None],
    sentence: str,
    served: LocalServer,
    releases: tuple[Path, Path],
    bad_release: Path,
    photos: list[Path],
) -> None:
    photo = photos[0].read_bytes()
    caller = Caller(served, "grpc")
    before = caller.infer(photo)
    spoil(bad_release, releases[0])
    is_over = threading.Event()

    def call() -> int:
        calls, caller = 0, Caller(served, "grpc")
        while not is_over.is_set():
            assert is_same(caller.infer(photo), before)
            calls += 1
        return calls

    with ThreadPoolExecutor(1) as pool:
        calls = pool.submit(call)
        try:
            with pytest.raises(OpsError, match=sentence):
                reload(state_dir(served), bad_release, LOAD_TIMEOUT_S)
        finally:
            is_over.set()
        assert calls.result() > 0
    assert models_of(served) == MODELS
    assert read_status(state_dir(served)).release == releases[0].name


def test_reload_refuses_a_release_of_an_earlier_version(served: LocalServer, bad_release: Path) -> None:
    """Its models were in the release's folder itself."""
    manifest = json.loads((bad_release / "manifest.json").read_text())
    manifest["files"] = {name.removeprefix("models/"): digest for name, digest in manifest["files"].items()}
    (bad_release / "manifest.json").write_text(json.dumps(manifest))
    for model in list((bad_release / "models").iterdir()):
        model.rename(bad_release / model.name)
    (bad_release / "models").rmdir()
    with pytest.raises(OpsError, match=r"layout of an earlier version.*Make the release again with `triptych release"):
        reload(state_dir(served), bad_release, LOAD_TIMEOUT_S)


def test_reload_refuses_a_server_that_an_earlier_version_started(
    served: LocalServer, releases: tuple[Path, Path]
) -> None:
    folder = StateFolder(state_dir(served))
    state = folder.read()
    assert state is not None
    folder.write(dataclasses.replace(state, folder=None))
    try:
        with pytest.raises(OpsError, match=r"earlier version, with another layout, started the server.*start it again"):
            reload(state_dir(served), releases[1], LOAD_TIMEOUT_S)
    finally:
        folder.write(state)


def test_server_that_dies_after_a_killed_reload_serves_the_old_release_whole(
    served: LocalServer, releases: tuple[Path, Path], photos: list[Path]
) -> None:
    before = Caller(served, "grpc").infer(photos[0].read_bytes())
    serving = ServingFolder(StateFolder(state_dir(served)).serving)
    serving.put_package(releases[1])
    serving.put(releases[1], "embedder")
    serving.put(releases[1], "classifier", "classifier-0123456789ab")
    served.kill()
    served.restart()
    assert served.wait_ready()
    assert is_same(Caller(served, "grpc").infer(photos[0].read_bytes()), before)
    assert models_of(served) == MODELS


def test_reload_refuses_a_repository_that_is_no_release(served: LocalServer, tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="is not a release: it has no manifest with digests and golden requests"):
        reload(state_dir(served), tmp_path, LOAD_TIMEOUT_S)


def test_reload_refuses_when_nothing_runs(releases: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(OpsError, match="No server is ready"):
        reload(tmp_path, releases[1], LOAD_TIMEOUT_S)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_server_loads_nothing_for_callers_without_its_key(served: LocalServer, protocol: str) -> None:
    client = Caller(served, protocol).client
    for call in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="restricted"):
            call("recognizer")
    with pytest.raises(InferenceServerException, match="restricted"):
        client.get_model_repository_index()


def test_control_key_is_read_by_the_owner_alone(served: LocalServer) -> None:
    key_file = state_dir(served) / "control.key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert served.is_key_hidden
    command = Path(f"/proc/{served.pid}/cmdline").read_bytes()
    assert b"model-repository,logging,trace:triptych-control-key=" in command
    assert key_file.read_bytes() not in command


def run(room: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", room, *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_published_release_is_taken_by_the_server_of_its_target(
    releases: tuple[Path, Path], photos: list[Path], tmp_path: Path
) -> None:
    target, where = tmp_path / "target", f"--state-dir={tmp_path / 'state'}"
    assert run("export", "publish", str(releases[0]), str(target)).returncode == 0
    ports = ["--http-port=0", "--grpc-port=0", "--metrics-port=0"]
    started = run("ops", "serve", "--detach", f"--repository={target}/current", where, *ports)
    assert started.returncode == 0, started.stderr
    try:
        again = run("ops", "reload", where)
        assert again.stdout == f"Already serving {releases[0].name}.\n"
        state = StateFolder(tmp_path / "state").read()
        assert state is not None
        with Client(state.ports.grpc_target) as client:
            before = client.recognize(photos[11])
            assert run("export", "publish", str(releases[1]), str(target)).returncode == 0
            reloaded = run("ops", "reload", where)
            assert reloaded.returncode == 0, reloaded.stderr
            assert f"Serving {releases[1].name} in place of {releases[0].name}" in reloaded.stdout
            after = client.recognize(photos[11])  # the same photo: not the answer that was kept before
        assert before.labels[0].index != after.labels[0].index
        assert str(before.top) == str(after.top) == "Shoes / Loafer"
        assert releases[1].name in run("ops", "status", where).stdout
    finally:
        run("ops", "stop", where)
