"""What the serving image would hold, started as the image would start it: that folder alone serves photos."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops import probe
from ops.image.context import HERE, lay_out
from ops.settings import REPOSITORY
from tests.e2e.bare_server import BareServer, started
from triptych import Client

DOCKERFILE = (HERE / "Dockerfile").read_text(encoding="utf-8")
PACKAGES = Path("opt/triptych/packages")
# What model.py of the profile cpu cannot do without; the rest of requirements.txt is theirs.
IMPORTED = ("blake3", "lmdb", "numpy", "onnxruntime", "pillow")


def instruction(name: str) -> str:
    """What follows the last such word of the Dockerfile, its lines joined."""
    found: list[str] = re.findall(rf"^{name} (.+)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)
    return found[-1]


def make_release(folder: Path) -> Path:
    """A release of what is placed, as `verify` and the image need it: files, and a manifest that lists them."""
    for config in REPOSITORY.glob("*/config.pbtxt"):
        for source in config.parent.rglob("*"):
            if source.is_file() and "__pycache__" not in source.parts:
                target = folder / source.relative_to(REPOSITORY)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = {"release": {"format": 1, "name": "efficientnet-lite0"}, "files": files}
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
    """The image's file system, as far as this project makes it."""
    folder = tmp_path_factory.mktemp("image")
    lay_out(make_release(folder / "release"), folder / "context")
    assert instruction("COPY").split() == ["release", "/models"]
    shutil.copytree(folder / "context/release", folder / "root/models")
    install(folder / "context/requirements.txt", folder / "root" / PACKAGES)
    return folder


@pytest.fixture(scope="module")
def packages(root: Path) -> Path:
    return root / "root" / PACKAGES


def make_python(folder: Path, packages: Path) -> Path:
    """The folder of a Python without packages of its own, but with the image's triptych.pth; stands for the image's."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", folder], check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    line = (HERE / "triptych.pth").read_text(encoding="utf-8")
    assert f'"/{PACKAGES}"' in line
    (site / "triptych.pth").write_text(line.replace(f"/{PACKAGES}", str(packages)))
    return folder / "bin"


@contextmanager
def started_as_image(folder: Path, packages: Path) -> Iterator[BareServer]:
    """The server by the image's ENTRYPOINT and CMD, with a Python that finds packages as the image's does."""
    program, *options = json.loads(instruction("ENTRYPOINT")) + json.loads(instruction("CMD"))
    assert program == "tritonserver"
    options = [option.replace("/models", str(folder / "root/models")) for option in options]
    with started(folder, options, make_python(folder / "python", packages)) as server:
        yield server


def files_of(folder: Path) -> dict[Path, int]:
    """Bytecode left out: here the test may be root, who can write it; in the image nobody can."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if "__pycache__" not in path.parts}


def test_image_serves_from_its_own_files_and_changes_none(root: Path, packages: Path, photos: list[Path]) -> None:
    before = files_of(root / "root")
    with started_as_image(root, packages) as server:
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
    assert files_of(root / "root") == before


@pytest.mark.parametrize("package", IMPORTED)
def test_image_does_not_start_when_a_package_is_missing(
    root: Path, packages: Path, tmp_path: Path, package: str
) -> None:
    """So the packages it was started with above are the folder's, and none of them is there for nothing."""
    missing = {
        file.parts[0] for file in importlib.metadata.files(package) or [] if ".." not in file.parts and file.suffix
    }
    shutil.copytree(packages, tmp_path / "packages", ignore=lambda folder, names: missing & set(names))
    with started_as_image(root, tmp_path / "packages") as server:
        assert not server.becomes_ready()
    assert "No module named" in server.log_file.read_text()
