"""Publishing is the old release or the new one, whole, whatever happens and whenever."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from export.cli.main import main
from export.release.folder import Release, find_faults, read_release
from tests.unit.export.release.test_folder import write_keys

ROOT = Path(__file__).resolve().parents[4]
MakeRelease = Callable[..., Release]


@pytest.fixture(params=["folder", "store"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder, and an object store through fsspec."""
    if request.param == "folder":
        yield str(tmp_path / "target")
    else:
        yield f"memory://{tmp_path.name}/models"


def current(target: str) -> str:
    if "://" in target:
        content: bytes = fsspec.filesystem("memory").cat_file(f"{target}/current")
        return content.decode().strip()
    return (Path(target) / "current").resolve().name


def published(target: str) -> set[str]:
    if "://" in target:
        return {Path(path).name for path in fsspec.filesystem("memory").ls(f"{target}/releases", detail=False)}
    return {path.name for path in (Path(target) / "releases").iterdir()}


def publish(release: Release, target: str) -> None:
    assert main(["publish", str(release.folder), target]) == 0
    assert current(target) == release.name


def test_published_release_is_current_and_whole(make_release: MakeRelease, tmp_path: Path) -> None:
    release = make_release("old")
    publish(release, str(tmp_path / "target"))
    there = read_release((tmp_path / "target/current").resolve())
    assert find_faults(there) == []
    assert there.digest == release.digest
    assert not [path for path in there.folder.rglob("*") if path.stat().st_mode & 0o222]


def test_rollback_goes_one_release_back_and_to_a_named_one(
    make_release: MakeRelease, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old, middle, new = (make_release(word) for word in ("old", "middle", "new"))
    for release in (old, middle, new):
        publish(release, target)
    assert main(["rollback", target]) == 0
    assert current(target) == middle.name
    assert main(["rollback", target, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "target": target,
        "before": middle.name,
        "current": old.name,
    }
    assert main(["rollback", target]) == 1
    assert f"Nothing was published before {old.name}" in capsys.readouterr().err
    for wanted in (new.digest, f"sha256:{new.digest}", new.digest[:12], new.name):
        assert main(["rollback", target, "--to", wanted]) == 0
        assert current(target) == new.name
    assert main(["rollback", target, "--to", "ffffffffffff"]) == 2
    assert "names 0 releases, expected one" in capsys.readouterr().err
    assert current(target) == new.name


def test_release_published_again_is_the_newest(make_release: MakeRelease, target: str) -> None:
    old, new = make_release("old"), make_release("new")
    for release in (old, new, old):
        publish(release, target)
    assert main(["rollback", target]) == 0
    assert current(target) == new.name


def test_prune_keeps_the_newest_and_the_current_one(make_release: MakeRelease, target: str) -> None:
    releases = [make_release(str(number)) for number in range(5)]
    for release in releases:
        publish(release, target)
    assert main(["rollback", target, "--to", releases[1].name]) == 0
    assert main(["prune", target, "--keep", "2"]) == 0
    assert published(target) == {releases[n].name for n in (1, 3, 4)}
    assert main(["prune", target, "--keep", "2"]) == 0
    assert current(target) == releases[1].name


def test_prune_wants_to_keep_something(target: str) -> None:
    with pytest.raises(SystemExit) as usage:
        main(["prune", target, "--keep", "0"])
    assert usage.value.code == 2


def damage(release: Release) -> None:
    weights = release.folder / "models/one/1/weights"
    weights.chmod(0o644)
    weights.write_bytes(b"something else")


def test_damaged_release_is_not_published(
    make_release: MakeRelease, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = make_release("old"), make_release("new")
    publish(old, target)
    damage(new)
    assert main(["publish", str(new.folder), target]) == 1
    assert "models/one/1/weights was changed" in capsys.readouterr().err
    assert (current(target), published(target)) == (old.name, {old.name})


def test_rollback_to_a_damaged_release_is_refused(
    make_release: MakeRelease, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = make_release("old"), make_release("new")
    publish(old, target)
    publish(new, target)
    if "://" in target:
        fsspec.filesystem("memory").rm_file(f"{target}/releases/{old.name}/models/one/1/weights")
    else:
        damage(read_release(Path(target) / "releases" / old.name))
    assert main(["rollback", target]) == 1
    assert "models/one/1/weights" in capsys.readouterr().err
    assert current(target) == new.name


def test_damaged_copy_is_replaced_unless_it_is_served(
    make_release: MakeRelease, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "target"
    old, new = make_release("old"), make_release("new")
    publish(old, str(target))
    publish(new, str(target))
    damage(read_release(target / "current"))
    assert main(["publish", str(new.folder), str(target)]) == 1
    assert "is the current release and is damaged" in capsys.readouterr().err
    assert main(["rollback", str(target)]) == 0
    publish(new, str(target))
    assert find_faults(read_release((target / "current").resolve())) == []


def test_release_that_was_published_unsigned_gets_its_signature(
    make_release: MakeRelease, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from export.release.signing import sign

    release = make_release("old")
    publish(release, target)
    for name in ("mine", "next"):
        private, public = write_keys(tmp_path, name)
        sign(release, private)
        publish(release, target)
        assert main(["rollback", target, f"--to={release.name}", f"--key={public}"]) == 0
    if "://" not in target:
        there = Path(target) / "releases"
        assert [path.name for path in there.iterdir()] == [release.name]
        assert not [path for path in there.rglob("*") if path.stat().st_mode & 0o222]
    assert main(["rollback", target, f"--to={release.name}", f"--key={tmp_path / 'mine.pub'}"]) == 1
    said = capsys.readouterr().err
    assert "is signed with another key" in said
    assert "damaged" not in said


def test_copy_without_a_readable_manifest_is_replaced(make_release: MakeRelease, tmp_path: Path) -> None:
    target = tmp_path / "target"
    old, new = make_release("old"), make_release("new")
    for release in (old, new):
        publish(release, str(target))
    manifest = target / "releases" / old.name / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text("[" * 100_000)
    publish(old, str(target))
    assert find_faults(read_release((target / "current").resolve())) == []


def test_second_publisher_is_turned_away(
    make_release: MakeRelease, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import fcntl

    publish(make_release("old"), str(tmp_path / "target"))
    with (tmp_path / "target/.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["publish", str(make_release("new").folder), str(tmp_path / "target")]) == 1
    assert "Another publisher is active" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["nowhere://bucket", "file:///models"])
def test_unknown_store_is_wrong_usage(make_release: MakeRelease, address: str) -> None:
    assert main(["publish", str(make_release("old").folder), address]) == 2


KILLED = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
from export.release.publishing import publish
from export.release.folder import find_faults, read_release

base, target, releases, tries = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:5], int(sys.argv[5])
old, new = (read_release(Path(release)) for release in releases)
WATCHED = ("open", "os.mkdir", "os.rename", "os.symlink", "os.chmod", "os.utime", "os.remove", "os.rmdir")

def publish_new(kill_at):
    steps = 0
    def count(event, arguments):
        nonlocal steps
        if event in WATCHED and str(arguments[0]).startswith(str(target)):
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            steps += 1
    sys.addaudithook(count)
    publish(new.folder, str(target))
    os._exit(0)

def start(kill_at):
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(base, target, symlinks=True)
    child = os.fork()
    if child == 0:
        publish_new(kill_at)
    return child

def look(child):
    _, status = os.waitpid(child, 0)
    current = (target / "current").resolve().name
    assert current in (old.name, new.name), current
    names = {old.name, current}
    assert names <= {path.name for path in (target / "releases").iterdir()}
    for path in (target / "releases").iterdir():
        if not path.name.startswith("."):
            assert find_faults(read_release(path)) == [], path
    is_killed = os.WIFSIGNALED(status)
    assert is_killed or os.WEXITSTATUS(status) == 0
    child = os.fork()  # the next publisher goes on, and tidies up
    if child == 0:
        publish_new(None)
    assert os.waitpid(child, 0)[1] == 0
    left = sorted(path.name for path in [*target.iterdir(), *(target / "releases").iterdir()])
    assert left == sorted([".lock", "current", "releases", old.name, new.name]), left
    assert (target / "current").resolve().name == new.name
    return is_killed, current

seen = []
if tries == 0:  # at each step in turn, until it ends by itself
    while not seen or seen[-1][0]:
        seen.append(look(start(len(seen))))
else:
    child, started = start(None), time.monotonic()
    os.waitpid(child, 0)
    whole_s = time.monotonic() - started
    for _ in range(tries):
        child = start(None)
        time.sleep(random.uniform(0, whole_s))
        os.kill(child, signal.SIGKILL)
        seen.append(look(child))
print(json.dumps([current == new.name for is_killed, current in seen if is_killed]))
"""


def kill_publishers(make_release: MakeRelease, tmp_path: Path, size_bytes: int, tries: int) -> list[bool]:
    """Whether the new release was current, for each publisher that was killed. The script checks the rest."""
    old, new = make_release("old"), make_release("new", size_bytes)
    publish(old, str(tmp_path / "base"))
    words = [tmp_path / "base", tmp_path / "target", old.folder, new.folder, tries]
    result = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    killed: list[bool] = json.loads(result.stdout)
    return killed


def test_target_is_whole_when_publish_is_killed_at_any_step(make_release: MakeRelease, tmp_path: Path) -> None:
    is_new = kill_publishers(make_release, tmp_path, size_bytes=0, tries=0)
    assert len(is_new) > 30
    # The pointer moves once, near the end.
    assert is_new == sorted(is_new)
    assert {False, True} >= set(is_new)


def test_target_is_whole_when_publish_is_killed_at_any_moment(make_release: MakeRelease, tmp_path: Path) -> None:
    assert kill_publishers(make_release, tmp_path, size_bytes=30_000_000, tries=25)


FULL = """
import resource, sys
from export.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # a longer file ends as on a full disk: in an OSError
sys.exit(main(sys.argv[1:]))
"""


def fingerprint(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Content or link, mode and time of everything in it."""
    return {
        str(path.relative_to(folder)): (
            os.readlink(path)
            if path.is_symlink()
            else hashlib.sha256(path.read_bytes()).hexdigest()
            if path.is_file()
            else "",
            path.lstat().st_mode,
            path.lstat().st_mtime_ns if path.is_file() else 0,
        )
        for path in folder.rglob("*")
    }


def test_full_disk_is_refused_and_the_target_stays_as_it_was(make_release: MakeRelease, tmp_path: Path) -> None:
    target = tmp_path / "target"
    publish(make_release("old"), str(target))
    before = fingerprint(target)
    words = ["publish", str(make_release("new", 1_000_000).folder), str(target)]
    result = subprocess.run(
        [sys.executable, "-c", FULL, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert f"Cannot write to {target} (File too large). The current release is unchanged." in result.stderr
    assert fingerprint(target) == before


def test_publish_asks_for_the_space_it_needs_first(
    make_release: MakeRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "target"
    publish(make_release("old"), str(target))
    before = fingerprint(target)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 500_000))
    assert main(["publish", str(make_release("new", 1_000_000).folder), str(target)]) == 1
    assert "has 0.5 MB free, small-" in capsys.readouterr().err
    assert fingerprint(target) == before


@pytest.mark.parametrize("words", [["rollback"], ["prune", "--keep=1"]])
def test_target_that_is_not_there_is_wrong_usage_and_is_not_made(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typo = tmp_path / "srv/modles"
    assert main([*words, str(typo)]) == 2
    assert f"{typo} is not a target of releases" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_rollback_with_a_key_refuses_an_unsigned_release(
    make_release: MakeRelease, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = make_release("old"), make_release("new")
    for release in (old, new):
        publish(release, target)
    _, key = write_keys(tmp_path, "mine")
    assert main(["rollback", target, f"--key={key}"]) == 1
    assert "The release is not signed" in capsys.readouterr().err
    assert main(["rollback", target, "--require-signature"]) == 2
    assert current(target) == new.name
