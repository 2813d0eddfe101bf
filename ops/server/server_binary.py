"""Finds the `tritonserver` to run: named by a variable, installed, or in the wheel. Must not start a process."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ops.errors import OpsError

VARIABLE = "TRITONSERVER"
IMAGE = "nvcr.io/nvidia/tritonserver:<release>-py3"


@dataclass(frozen=True)
class SystemServer:
    """An installed server, with its own backends and Python."""

    executable: Path


@dataclass(frozen=True)
class WheelServer:
    """The server in the wheel `nvidia-pytriton`; its Python backend must be prepared first."""

    executable: Path
    libraries: Path

    @property
    def root(self) -> Path:
        return self.executable.parent.parent

    @property
    def backend_files(self) -> Path:
        return self.root / "backends" / "python"

    @property
    def stubs(self) -> Path:
        return self.root / "python_backend_stubs"


def find_server(repository: Path) -> SystemServer | WheelServer:
    """Returns the server of $TRITONSERVER, else of PATH, else of the wheel.

    Raises:
        OpsError: there is none, or this machine cannot run the wheel's server.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise OpsError(f"${VARIABLE} is {named}, which is not a program. Point it at tritonserver, or unset it.")
        return SystemServer(Path(named).absolute())
    installed = shutil.which("tritonserver")
    if installed:
        return SystemServer(Path(installed).absolute())
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise OpsError(_elsewhere(repository))
    return _find_in_wheel()


def _find_in_wheel() -> WheelServer:
    found = find_spec("pytriton")  # finds the package without the import, which is slow and installs a log handler
    if found is None or found.origin is None:
        raise OpsError(
            f"There is no tritonserver in ${VARIABLE}, on PATH or in this Python ({sys.executable}). "
            "Run `make setup`, which installs the wheel nvidia-pytriton."
        )
    package = Path(found.origin).parent
    executable = package / "tritonserver" / "bin" / "tritonserver"
    if not executable.is_file():
        raise OpsError(f"The package pytriton has no {executable}. Reinstall it from its wheel with `make setup`.")
    return WheelServer(executable, libraries=package.parent / "nvidia_pytriton.libs")


def _elsewhere(repository: Path) -> str:
    return (
        f"The wheel's tritonserver needs Linux on x86-64; this is {platform.system()} on {platform.machine()}. "
        "Serve from NVIDIA's image, after adding ops/packaging/image/requirements.txt to its Python "
        f"(`pip install` in an image built FROM it):\n"
        f'  docker run --rm -p8000:8000 -p8001:8001 -p8002:8002 --shm-size=1g -v "{repository}:/models:ro" '
        f"-w /models -e PYTHONPATH=/models {IMAGE} tritonserver --model-repository=/models/models"
    )
