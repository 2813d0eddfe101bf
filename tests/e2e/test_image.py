"""What the serving image would hold, started as the image would start it: that folder alone serves photos."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.packaging.image.build import HERE, fill_context
from ops.server import probe
from ops.settings import REPOSITORY
from tests.e2e.bare_server import BareServer, started
from triptych import Client

DOCKERFILE = (HERE / "Dockerfile").read_text(encoding="utf-8")
# What model.py of the profile cpu cannot do without; the rest of requirements.txt is theirs.
IMPORTED = ("blake3", "lmdb", "numpy", "onnxruntime", "pillow")


def instruction(name: str) -> str:
    """What follows the last line of the Dockerfile that begins so, its lines joined."""
    found: list[str] = re.findall(rf"^{name} ?(.+)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)
    return found[-1]


def make_release(folder: Path) -> Path:
    """A release of what is placed, as `verify` and the image need it: files, and a manifest that lists them."""
    for part in ("models", "triptych_models"):
        shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = {"release": {"format": 1, "name": "efficientnet-lite0"}, "files": files, "golden": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def install(requirements: Path, target: Path) -> None:
    """The distributions of requirements.txt, copied from this environment, at the versions it pins."""
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", requirements.read_text(), re.MULTILINE):
        distribution = importlib.metadata.distribution(name)
        assert distribution.version == version, f"{name}: run `make generate` and `make setup`"
        for file in distribution.files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(distribution.locate_file(file), target / file)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's files, as far as this project makes them: `models` is the image's /models, `packages` its own."""
    folder = tmp_path_factory.mktemp("image")
    fill_context(make_release(folder / "release"), folder / "context")
    assert instruction("COPY").split() == ["release", "/models"]
    shutil.copytree(folder / "context/release", folder / "root/models")
    install(folder / "context/requirements.txt", folder / "root/packages")
    return folder / "root"


def make_python(folder: Path, packages: Path, without: Collection[str] = ()) -> Path:
    """The folder of a Python with nothing but these packages among its own; stands for the image's."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", folder], check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    for package in packages.iterdir():
        if package.name not in without:
            (site / package.name).symlink_to(package)
    return folder / "bin"


@contextmanager
def started_as_image(
    root: Path, folder: Path, *, without: Collection[str] = (), directory: Path | None = None
) -> Iterator[BareServer]:
    """The server by the image's ENTRYPOINT and CMD, with a Python that has the image's packages.

    Args:
        root: the image's files.
        folder: for what the server writes.
        without: packages that the Python lacks.
        directory: working directory and PYTHONPATH; None is the image's.
    """
    assert json.loads(instruction("ENTRYPOINT"))[-1] == "tritonserver"
    options = json.loads(instruction("CMD"))
    assert (instruction("WORKDIR"), instruction("ENV PYTHONPATH=")) == ("/models", "/models")
    options = [option.replace("=/models/", f"={root}/models/") for option in options]
    python = make_python(folder / "python", root / "packages", without)
    with started(folder, options, python, directory or root / "models") as server:
        yield server


def files_of(folder: Path) -> dict[Path, int]:
    """Bytecode left out: here the test may be root, who can write it; in the image nobody can."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if "__pycache__" not in path.parts}


def test_image_serves_from_its_own_files_and_changes_none(root: Path, tmp_path: Path, photos: list[Path]) -> None:
    before = files_of(root)
    with started_as_image(root, tmp_path) as server:
        assert server.becomes_ready(), server.log_file.read_text()[-3000:]
        assert {model.name for model in probe.read_models(server.ports, control_key="")} >= {
            "recognizer",
            "preprocess",
            "embedder",
        }
        with Client(server.ports.grpc_target) as client:
            right = [client.recognize(photo).labels[0].index == int(photo.stem.rpartition("_")[2]) for photo in photos]
    # The same bar as through any other server.
    assert sum(right) >= 18
    assert files_of(root) == before


def test_server_in_another_directory_does_not_start_and_says_what_to_set(root: Path, tmp_path: Path) -> None:
    """As of a plain `tritonserver --model-repository=.../models`."""
    with started_as_image(root, tmp_path, directory=tmp_path) as server:
        assert not server.becomes_ready()
    said = "Start tritonserver in the folder that holds triptych_models/ and models/, with PYTHONPATH set to it."
    assert said in server.log_file.read_text()


@pytest.mark.parametrize("package", IMPORTED)
def test_image_does_not_start_when_a_package_is_missing(root: Path, tmp_path: Path, package: str) -> None:
    """So the packages it was started with above are the folder's, and none of them is there for nothing."""
    missing = {
        file.parts[0] for file in importlib.metadata.files(package) or [] if ".." not in file.parts and file.suffix
    }
    for attempt in range(3):
        with started_as_image(root, tmp_path / str(attempt), without=missing) as server:
            assert not server.becomes_ready()
        # Seen once: Triton 2.51.0 aborts when a model's process ends during its start, before it logs why.
        if "lock_exception" not in server.log_file.read_text():
            break
    assert "No module named" in server.log_file.read_text()
