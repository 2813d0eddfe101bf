"""Assembles the Python backend for the running interpreter: the wheel's files, the matching stub, libpython."""

from __future__ import annotations

import contextlib
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from ops.errors import OpsError
from ops.server.server_binary import WheelServer

STUB = "triton_python_backend_stub"
NEWEST_FOR_NUMPY_1 = "3.12"
DISTRIBUTION_LIBRARIES = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"), Path("/usr/lib"))


@dataclass(frozen=True)
class PythonBackend:
    """A folder for `--backend-directory`, and the paths with which its stub finds Python and the packages."""

    backends: Path
    library_dirs: tuple[Path, ...]
    programs: Path


def prepare(server: WheelServer, run_dir: Path) -> PythonBackend:
    """Copies the Python backend into `run_dir`.

    Raises:
        OpsError: the wheel has no stub for this Python, or this Python has no shared library.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = find_stub(server.stubs, version)
    libpython = find_libpython(library_folders(), version)
    folder = run_dir / "backends" / "python"
    shutil.copytree(server.backend_files, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(stub, folder / STUB)
    (folder / STUB).chmod(0o755)
    return PythonBackend(folder.parent, (server.libraries, libpython.parent), _programs(run_dir))


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


def remove_environment_folder(made_after_s: float, made_before_s: float) -> None:
    """Removes the folder that Triton 2.51 creates in /tmp at its start, ignoring TMPDIR, and leaves when it is killed.

    The folder of another server that started in the same moment may be removed too. It is just as unused: no model
    here has its own environment (`EXECUTION_ENV_PATH`), and a folder in use is not empty.

    Args:
        made_after_s: start of this server, in seconds since the epoch.
        made_before_s: time by which the folder existed, in seconds since the epoch.
    """
    for folder in Path("/tmp").glob("python_env_??????"):
        with contextlib.suppress(OSError):
            if made_after_s <= folder.stat().st_mtime <= made_before_s:
                folder.rmdir()


def _programs(run_dir: Path) -> Path:
    """Returns the first folder for PATH: the stub runs as the Python whose `python3` it finds there."""
    beside = Path(sys.executable).parent
    if (beside / "python3").exists() and (beside / "python3").samefile(sys.executable):
        return beside
    folder = run_dir / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "python3").unlink(missing_ok=True)
    (folder / "python3").symlink_to(sys.executable)
    return folder
