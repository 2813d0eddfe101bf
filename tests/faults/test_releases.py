"""Another release under load: eight callers who never pause or retry, each answer compared with its golden one."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from export.release.assembly import make_release
from export.release.folder import remove_tree
from ops.settings import REPOSITORY, ROOT
from tests.faults.load import CALLERS, Golden, loaded
from tests.faults.records import keep_load
from tests.faults.served import Served, serving, wait_for
from triptych import Client, Retry

HERE = "tests/faults/test_releases.py"
pytestmark = pytest.mark.alone
CALM_S = 1.0


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = make_release(REPOSITORY, tmp_path_factory.mktemp("releases"))
    yield made.folder
    remove_tree(made.folder)


@pytest.fixture(scope="module")
def served(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of the release; the tests leave it with answers of the same weights."""
    state = tmp_path_factory.mktemp("served") / "state"
    with serving(state, f"--repository={release}", "--cache-mb=0") as served:
        yield served


def rewrite(release: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Another file in a release, and a manifest that lists it."""
    content = change((release / name).read_bytes())
    (release / name).write_bytes(content)
    manifest = json.loads((release / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (release / "manifest.json").write_text(json.dumps(manifest))


def spoil_code(release: Path) -> None:
    rewrite(release, "models/preprocess/1/model.py", lambda _: b"raise RuntimeError('nothing to decode with')")


def spoil_weights(release: Path) -> None:
    rewrite(release, "models/embedder/1/model.onnx", lambda content: content[: len(content) // 2])


def change_a_comment(release: Path) -> None:
    rewrite(release, "models/preprocess/config.pbtxt", lambda content: content + b"# another release\n")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("fault", "change", "says"),
    [
        ("release that does not load: its code", spoil_code, "nothing to decode with"),
        ("release that does not load: its weights", spoil_weights, "did not load"),
        ("reload of a new release", change_a_comment, "in place of"),
    ],
    ids=["code", "weights", "good"],
)
def test_no_call_fails_while_a_release_is_taken_or_refused(
    fault: str,
    change: Callable[[Path], None],
    says: str,
    served: Served,
    release: Path,
    tmp_path: Path,
    contents: list[bytes],
) -> None:
    other = tmp_path / "other"
    shutil.copytree(release, other, copy_function=shutil.copyfile)
    for path in (other, *other.rglob("*")):
        path.chmod(0o755)
    change(other)
    words = [sys.executable, "-m", "ops", "reload", str(other), f"--state-dir={served.folder.folder}"]
    with (
        Client(served.target, retry=Retry(tries=1), timeout_s=60) as client,
        loaded(client, Golden(client, contents)) as load,
    ):
        assert wait_for(lambda: len(load.took_s) > CALLERS)
        since_s = time.monotonic()
        reloaded = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
        ended_s = time.monotonic()
        assert wait_for(lambda: load.answered_after(ended_s + CALM_S) > CALLERS)
    test = "test_no_call_fails_while_a_release_is_taken_or_refused"
    keep_load(fault, 1, load, since_s, f"{HERE}::{test}")
    assert says in reloaded.stdout + reloaded.stderr
    assert reloaded.returncode == (0 if change is change_a_comment else 1)
    assert load.wrong == 0
    assert [str(failure.error) for failure in load.failures] == []
