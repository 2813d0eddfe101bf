"""The bill of materials of the wheel's server has every compiled file that the server and its stubs load."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sys
import urllib.request
from pathlib import Path

import psutil

from ops.packaging.sbom import REQUIREMENTS
from ops.packaging.vulnerabilities import read_table
from ops.packaging.wheel_sbom import is_elf, listed_digests, make_wheel_sbom
from ops.settings import REPOSITORY
from tests.e2e.bare_server import started
from triptych import Client

ARGUMENTS = [f"--model-repository={REPOSITORY}/models", "--model-control-mode=none", "--disable-auto-complete-config"]


def mapped_files(process: psutil.Process) -> set[Path]:
    """Every ELF file that the process or one of its children has mapped."""
    found = {
        Path(region.path).resolve()
        for each in (process, *process.children(recursive=True))
        for region in each.memory_maps()
        if region.path.startswith("/") and Path(region.path).is_file()
    }
    return {path for path in found if is_elf(path)}


def of_packages(names: set[str]) -> set[Path]:
    return {Path(str(entry.locate())).resolve() for name in names for entry in importlib.metadata.files(name) or ()}


def is_of_the_machine(path: Path) -> bool:
    """The C library and Python: they are there before the server is installed."""
    folders = (Path("/usr"), Path("/lib"), Path("/lib64"), Path(sys.base_prefix).resolve())
    return any(path.is_relative_to(folder) for folder in folders)


def test_every_file_that_is_loaded_is_listed(tmp_path: Path, photos: list[Path]) -> None:
    sbom = make_wheel_sbom(REQUIREMENTS)
    names = {each["name"] for each in json.loads(sbom)["components"] if each["type"] == "library"}
    with started(tmp_path, [*ARGUMENTS, "--model-config-name=cpu"]) as server:
        assert server.becomes_ready(), server.log_file.read_text()[-3000:]
        with Client(f"127.0.0.1:{server.ports.grpc}") as client:
            client.recognize(photos[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{server.ports.http}/v2", timeout=30) as answer:
            assert json.load(answer)["version"] == read_table().wheel_version
        loaded = mapped_files(psutil.Process(server.process.pid))
        packaged, digests = of_packages(names), listed_digests(sbom)
        rest = {path for path in loaded - packaged if not is_of_the_machine(path)}
        # The Python backend is a copy with the stub of this Python.
        foreign = {path for path in rest if hashlib.sha256(path.read_bytes()).hexdigest() not in digests}
    assert {"tritonserver", "triton_python_backend_stub", "libtriton_python.so"} <= {path.name for path in loaded}
    assert foreign == set()
    assert rest, "the digests of the list decided nothing"
    assert len(loaded & packaged) > 20
