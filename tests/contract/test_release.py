"""A release of the placed model repository: the same again and again, whole, and telling what was measured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from export.cli.main import main
from export.errors import RepositoryError
from export.release.assembly import find_files, make_release
from export.release.folder import Release, find_faults, remove_tree

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = ROOT / "model_repository"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    release = make_release(REPOSITORY, tmp_path_factory.mktemp("releases"))
    yield release
    remove_tree(release.folder)


def test_same_inputs_make_the_same_release(release: Release, tmp_path: Path) -> None:
    words = ["release", f"--repository={REPOSITORY}", f"--output={tmp_path}", "--json"]
    result = subprocess.run(
        [sys.executable, "-m", "export", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert json.loads(result.stdout)["digest"] == release.digest
    assert make_release(REPOSITORY, tmp_path).folder == tmp_path / release.name
    assert [path.name for path in tmp_path.iterdir()] == [release.name]


def test_release_holds_every_file_of_models_and_package_and_no_link(release: Release) -> None:
    assert find_faults(release) == []
    models = dict(find_files(REPOSITORY))
    assert {
        "models/classifier/1/model.py",
        "models/embedder/1/model.onnx",
        "models/recognizer/configs/cpu.pbtxt",
    } <= set(models)
    package = REPOSITORY / "triptych_models"
    sources = {path.relative_to(REPOSITORY).as_posix() for path in package.rglob("*.py")}
    assert sources | {"triptych_models/py.typed"} == {name for name in models if name.startswith("triptych_models/")}
    for name, source in models.items():
        assert (release.folder / name).read_bytes() == source.read_bytes()
    extra = set(release.files) - set(models)
    assert extra == {"MODEL_CARD.md", "golden-clock.jpg", "golden-crossword.png", "golden-honeycomb.jpg"}


def test_release_is_read_only(release: Release) -> None:
    assert not [path for path in (release.folder, *release.folder.rglob("*")) if path.stat().st_mode & 0o222]


def test_golden_answers_are_what_the_drawings_show(release: Release) -> None:
    tops = {
        one["photo"]: one["labels"][0]["label"].rpartition(" / ")[2] for one in release.manifest["golden"]["requests"]
    }
    assert tops == {
        "golden-clock.jpg": "analog clock",
        "golden-crossword.png": "crossword puzzle",
        "golden-honeycomb.jpg": "honeycomb",
    }


def test_model_card_tells_what_the_manifest_says(release: Release) -> None:
    card = (release.folder / "MODEL_CARD.md").read_text()
    manifest = release.manifest
    assert manifest["backbone"]["licence"] in card
    assert manifest["backbone"]["source"] in card
    assert f"| fp32.embedding_min_cosine | {manifest['parity']['fp32']['embedding_min_cosine']:.6g} |" in card
    assert "1000, of which 401 are retail products in 31 retail categories" in card
    for topic in ("parity", "accuracy", "speed"):
        section = card.partition(f"## {topic.capitalize()}\n")[2].partition("\n## ")[0]
        assert ("Not measured." in section) == (topic not in manifest)


def test_changed_repository_is_not_released(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    shutil.copytree(REPOSITORY, repository)
    with (repository / "models/embedder/1/model.onnx").open("ab") as weights:
        weights.write(b"x")
    with pytest.raises(RepositoryError, match=r"was changed.*triptych build"):
        make_release(repository, tmp_path / "releases")
    assert not (tmp_path / "releases").exists()


def test_repository_with_other_code_is_not_released(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(REPOSITORY, repository, ignore=shutil.ignore_patterns("__pycache__"))
    (repository / "triptych_models/errors.py").unlink()
    with pytest.raises(RepositoryError, match=rf"errors.py is missing.*build --repository {repository}` again"):
        make_release(repository, tmp_path / "releases")
    assert not (tmp_path / "releases").exists()


def release_with_code(tmp_path: Path, version: str) -> Path:
    """Of a checkout whose package differs in one line, as its own `triptych release` makes it."""
    checkout = tmp_path / version
    shutil.copytree(REPOSITORY, checkout, ignore=shutil.ignore_patterns("__pycache__"))
    with (checkout / "triptych_models/__init__.py").open("a") as code:
        code.write(f"VERSION = {version!r}\n")
    words = ["release", f"--repository={checkout}", f"--output={tmp_path / 'releases'}", "--json"]
    result = subprocess.run(
        [sys.executable, "-m", "export", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return Path(json.loads(result.stdout)["folder"])


def test_rollback_brings_back_the_code(tmp_path: Path) -> None:
    old, new = (release_with_code(tmp_path, version) for version in ("old", "new"))
    assert old.name != new.name
    target = tmp_path / "target"
    for release in (old, new):
        assert main(["publish", str(release), str(target)]) == 0
    code = target / "current/triptych_models/__init__.py"
    assert "VERSION = 'new'" in code.read_text()
    assert main(["rollback", str(target)]) == 0
    assert "VERSION = 'old'" in code.read_text()
    assert (target / "current/models/embedder/1/model.onnx").is_file()
    for folder in (*tmp_path.glob("releases/*"), *target.glob("releases/*")):
        remove_tree(folder)


FULL = """
import resource, sys
from export.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))  # a longer file ends as on a full disk: in an OSError
sys.exit(main(sys.argv[1:]))
"""


def test_full_disk_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    words = ["release", f"--repository={REPOSITORY}", f"--output={tmp_path}"]
    result = subprocess.run(
        [sys.executable, "-c", FULL, *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 1
    assert f"Cannot write a release to {tmp_path} (File too large). Nothing was left there." in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_inspect_shows_models_tensors_figures_and_digest(release: Release, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--json", str(release.folder)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["digest"] == release.digest
    assert shown["models"]["recognizer"]["inputs"] == {"image": "STRING[1]"}
    assert shown["models"]["embedder"]["outputs"] == {"features": "FP32[1280]", "embedding": "FP32[1280]"}
    assert shown["models"]["recognizer"]["profiles"] >= ["cpu"]
    assert shown["facts"]["parity"] == release.manifest["parity"]
    assert shown["golden_requests"] == 3
    assert main(["inspect", str(REPOSITORY)]) == 0
    table = capsys.readouterr().out
    assert "category_scores FP32[1000]" in table
    assert "parity.fp32.embedding_min_cosine" in table
    assert "not a release" in table


def test_inspect_and_diff_refuse_a_folder_without_models(
    release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tmp_path)]) == 2
    assert main(["diff", str(release.folder), str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("contains no model") == 2


def test_diff_names_files_fields_labels_and_figures(
    release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(release.folder), str(REPOSITORY)]) == 0
    assert capsys.readouterr().out == "No differences.\n"
    other = tmp_path / "models"
    shutil.copytree(REPOSITORY, other, ignore=shutil.ignore_patterns("__pycache__"))
    config = other / "models/preprocess/config.pbtxt"
    config.write_text(config.read_text().replace("count: 1", "count: 3"))
    labels = other / "models/classifier/labels.txt"
    labels.write_text(labels.read_text().replace("tench\n", "carp\n"))
    (other / "models/recognizer/warmup/photo").unlink()
    (other / "models/recognizer/1/new.py").write_text("")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["parity"]["fp32"]["photos"] += 1
    (other / "manifest.json").write_text(json.dumps(manifest))
    assert main(["diff", str(release.folder), str(other)]) == 1
    photos = manifest["parity"]["fp32"]["photos"]
    assert capsys.readouterr().out.splitlines() == [
        "changed  models/classifier/labels.txt",
        "changed  models/preprocess/config.pbtxt",
        "added    models/recognizer/1/new.py",
        "removed  models/recognizer/warmup/photo",
        "models/preprocess/config.pbtxt: instance_group.0.count 1 -> 3",
        "models/classifier/labels.txt: removed tench",
        "models/classifier/labels.txt: added carp",
        f"parity.fp32.photos {photos - 1} -> {photos}",
    ]
