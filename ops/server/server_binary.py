"""Finds the `tritonserver` to run: named by a variable, installed, or in the wheel; assembles the Python backend of the
wheel's server for the running interpreter. Must not start a process.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

from ops.errors import OpsError

VARIABLE = "TRITONSERVER"
IMAGE = "nvcr.io/nvidia/tritonserver:<release>-py3"
PROGRAM = "tritonserver"
STUB = "triton_python_backend_stub"
# What ends a name in a search path. Source: environ(7), ld.so(8).
SEPARATORS = {"PATH": ":", "LD_LIBRARY_PATH": ":;"}
# Triton loads the Python backend before anything else, on a busy machine too within this time.
BACKEND_LOADED_S = 30.0
# The start of a process is known to a clock tick of 10 ms.
MARGIN_S = 0.1
NEWEST_FOR_NUMPY_1 = "3.12"
DISTRIBUTION_LIBRARIES = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"), Path("/usr/lib"))


@dataclass(frozen=True)
class SystemServer:
    """An installed server, with its own backends and Python."""

    executable: Path


@dataclass(frozen=True)
class WheelServer:
    """The server in the wheel `nvidia-pytriton`; its Python backend must be prepared first."""

    executable: Path
    libraries: Path


@dataclass(frozen=True)
class PythonBackend:
    """A folder for `--backend-directory`, and the paths with which its stub finds Python and the packages."""

    backends: Path
    library_dirs: tuple[Path, ...]
    programs: Path


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
    installed = shutil.which(PROGRAM)
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


def prepare(server: WheelServer, run_dir: Path) -> PythonBackend:
    """Copies the Python backend into `run_dir`.

    Raises:
        OpsError: the wheel has no stub for this Python, or this Python has no shared library.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    root = server.executable.parent.parent
    stub = find_stub(root / "python_backend_stubs", version)
    libpython = find_libpython(library_folders(), version)
    folder = run_dir / "backends" / "python"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.rmtree(folder, ignore_errors=True)  # a process of the former server may still run from these files
    shutil.copytree(root / "backends" / "python", folder, ignore=ignored)
    shutil.copyfile(stub, folder / STUB)
    (folder / STUB).chmod(0o755)
    return PythonBackend(folder.parent, (server.libraries, libpython.parent), _programs(run_dir))


def refuse_separators(server: WheelServer, run_dir: Path) -> None:
    """Raises:
    OpsError: a folder that must stand in a search path has a name that search paths cannot hold.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    searched = {
        "LD_LIBRARY_PATH": [server.libraries, find_libpython(library_folders(), version).parent],
        "PATH": [run_dir if _needs_environment() else Path(sys.executable).parent],
    }
    for variable, folders in searched.items():
        for folder in folders:
            separators = [sign for sign in SEPARATORS[variable] if sign in str(folder)]
            if separators:
                raise OpsError(
                    f"The folder {folder} has a {separators[0]!r} in its name, which ends a name in {variable}: Triton "
                    "would not find what is there. Move or rename the folder, or use another --state-dir."
                )


def find_stub(stubs: Path, version: str) -> Path:
    stub = stubs / version / STUB
    if stub.is_file():
        return stub
    having = sorted((folder.name for folder in stubs.glob("*.*")), key=lambda name: int(name.split(".")[1]))
    raise OpsError(
        f"This is Python {version}; the server's Python backend exists for {', '.join(having) or 'no version'}. "
        f"Use one of them up to {NEWEST_FOR_NUMPY_1}, the newest for numpy 1, and run `make setup`."
    )


def library_folders() -> list[Path]:
    """Returns the folders that may hold this interpreter's shared library: its own, then those of distributions."""
    base = Path(sys.base_prefix)
    configured = sysconfig.get_config_var("LIBDIR")
    folders = [Path(configured)] if configured else []
    return [*folders, base / "lib", base / "lib64", *DISTRIBUTION_LIBRARIES]


def find_libpython(folders: list[Path], version: str) -> Path:
    """Returns the library that the stub links to.

    The library path needs its real folder: through a link in another folder, Python would search for its standard
    library beside the link.
    """
    name = f"libpython{version}.so.1.0"
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise OpsError(
        f"Python {platform.python_version()} ({sys.base_prefix}) has no shared library {name}, which the server's "
        f"Python backend loads. Debian and Ubuntu: `apt install libpython{version}`. pyenv: "
        f"`PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force {platform.python_version()}`. "
        "Then run `make setup`."
    )


def remove_environment_folders(folder: Path = Path("/tmp")) -> None:
    """Removes the empty folders that Triton 2.51 creates in /tmp at its start, ignoring TMPDIR, and leaves when killed.

    One that a living server may have made is left, and one of another user.
    """
    found = list(folder.glob("python_env_??????"))  # before the processes: whoever made one of these is among them
    started_s = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == PROGRAM:
                started_s.append(process.create_time())
    for left in found:
        with contextlib.suppress(OSError):
            made = left.stat()
            is_used = any(start_s - MARGIN_S <= made.st_mtime <= start_s + BACKEND_LOADED_S for start_s in started_s)
            if made.st_uid == os.geteuid() and not is_used:
                left.rmdir()  # fails where there is something in it


def _programs(run_dir: Path) -> Path:
    """Returns the first folder for PATH: the stub runs as the Python whose `python3` it finds there."""
    if _needs_environment():
        return make_environment(run_dir / "python", Path(sysconfig.get_path("purelib")))
    beside = Path(sys.executable).parent
    if (beside / "python3").exists() and (beside / "python3").samefile(sys.executable):
        return beside
    folder = run_dir / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "python3").unlink(missing_ok=True)
    (folder / "python3").symlink_to(sys.executable)
    return folder


def make_environment(folder: Path, packages: Path) -> Path:
    """Makes a virtual environment with the installed packages and without the .pth files that end the stub.

    The stub reads .pth files as ASCII, whatever the locale, and ends at any other letter; those of a checkout have the
    name of its folder.

    Returns:
        Its folder of programs.
    """
    shutil.rmtree(folder, ignore_errors=True)
    programs = folder / "bin"
    programs.mkdir(parents=True)
    (programs / "python3").symlink_to(sys.executable)
    home = Path(sys.base_prefix) / "bin"
    (folder / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n", encoding="utf-8")
    own = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    own.mkdir(parents=True)
    (own / "installed").symlink_to(packages)
    (own / "installed.pth").write_text("installed\n")
    for file in filter(_is_ascii, packages.glob("*.pth")):
        (own / file.name).symlink_to(file)
    return programs


def _needs_environment() -> bool:
    return not all(map(_is_ascii, Path(sysconfig.get_path("purelib")).glob("*.pth")))


def _is_ascii(file: Path) -> bool:
    return file.read_bytes().isascii()
