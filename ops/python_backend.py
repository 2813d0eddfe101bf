"""Puts together the Python backend for the running interpreter: the wheel's files, the matching stub, libpython."""

from __future__ import annotations

import contextlib
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from ops.errors import OpsError
from ops.server_binary import WheelServer

STUB = "triton_python_backend_stub"
NEWEST_FOR_NUMPY_1 = "3.12"
DISTRIBUTION_LIBRARIES = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"), Path("/usr/lib"))


@dataclass(frozen=True)
class PythonBackend:
    """A folder for `--backend-directory`, and what its stub needs to find Python and the packages."""

    backends: Path
    library_dirs: tuple[Path, ...]
    programs: Path


def prepare(server: WheelServer, run_dir: Path) -> PythonBackend:
    """Copies the backend into `run_dir`.

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
        f"This is Python {version}; the server's Python backend exists for {', '.join(having) or 'none'}. "
        f"Use one of them up to {NEWEST_FOR_NUMPY_1} (the wheel wants numpy 1, which ends there) and run `make setup`."
    )


def library_folders() -> list[Path]:
    """Where this interpreter's shared library may lie, its own first: distribution, pyenv, conda, standalone."""
    base = Path(sys.base_prefix)
    configured = sysconfig.get_config_var("LIBDIR")
    folders = [Path(configured)] if configured else []
    return [*folders, base / "lib", base / "lib64", *DISTRIBUTION_LIBRARIES]


def find_libpython(folders: list[Path], version: str) -> Path:
    """The file the stub links to. Its real folder goes on the library path: a link elsewhere would make Python look
    for its standard library around the link.
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
    """Removes what Triton 2.51 makes in /tmp at its start, whatever TMPDIR says, and leaves when it is killed.

    Another server's, should it have started in the same moment, is as empty and as unused: no model here brings an
    environment of its own (`EXECUTION_ENV_PATH`), and a folder in use is not empty.

    Args:
        made_after_s: seconds since the epoch, when this server was started.
        made_before_s: seconds since the epoch, when it had surely made its folder.
    """
    for folder in Path("/tmp").glob("python_env_??????"):
        with contextlib.suppress(OSError):
            if made_after_s <= folder.stat().st_mtime <= made_before_s:
                folder.rmdir()


def _programs(run_dir: Path) -> Path:
    """The folder that must come first on PATH: the stub becomes the Python whose `python3` it finds there."""
    beside = Path(sys.executable).parent
    if (beside / "python3").exists() and (beside / "python3").samefile(sys.executable):
        return beside
    folder = run_dir / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "python3").unlink(missing_ok=True)
    (folder / "python3").symlink_to(sys.executable)
    return folder
