"""tritonserver over the model repository as anybody would start it: what it needs, and what it says without that."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from ops.settings import REPOSITORY
from tests.e2e.bare_server import BareServer, started

SHIMS = sorted(REPOSITORY.glob("models/*/1/*.py"))
ADVICE = "Start tritonserver in the folder that holds triptych_models/ and models/, with PYTHONPATH set to it."


def options(repository: Path) -> list[str]:
    return [f"--model-repository={repository}/models", "--exit-on-error=true", "--disable-auto-complete-config"]


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(REPOSITORY, folder, ignore=shutil.ignore_patterns("__pycache__")))


def test_models_load_and_answer_when_the_server_starts_in_the_repository(tmp_path: Path, photos: list[Path]) -> None:
    repository = copied(tmp_path / "repository")
    with started(tmp_path / "server", options(repository), repository=repository) as server:
        assert server.becomes_ready(), server.log_file.read_text()[-2000:]
        image = triton.InferInput("image", [1, 1], "BYTES")
        image.set_data_from_numpy(np.array([[photos[11].read_bytes()]], object))
        answer = triton.InferenceServerClient(server.ports.grpc_target).infer("recognizer", [image])
        assert answer.as_numpy("category_scores").argmax() == 630  # a loafer


def failure_of(server: BareServer) -> str:
    assert not server.becomes_ready()
    return server.log_file.read_text()


def test_server_says_where_to_start_it_when_it_is_started_elsewhere(tmp_path: Path) -> None:
    """Elsewhere the workspace's own copy of the package is found: another than the repository's."""
    repository = copied(tmp_path / "repository")
    (tmp_path / "elsewhere").mkdir()
    with started(tmp_path / "server", options(repository), repository=tmp_path / "elsewhere") as server:
        log = failure_of(server)
    assert f"Start tritonserver with {repository} as its working directory and as PYTHONPATH." in log


@pytest.mark.parametrize("shim", SHIMS, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_shim_says_in_one_sentence_where_to_start_the_server_when_no_package_is_found(shim: Path) -> None:
    """An interpreter that is isolated as the stub's is, without the workspace's packages."""
    result = subprocess.run([sys.executable, "-I", "-S", str(shim)], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"ImportError: {ADVICE}"


def test_shims_differ_in_the_class_they_serve_alone() -> None:
    assert len(SHIMS) >= 7
    guards = {
        shim.read_text().partition("except ModuleNotFoundError")[2].partition("TritonPythonModel")[0] for shim in SHIMS
    }
    assert len(guards) == 1
