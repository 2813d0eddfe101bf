"""Removes what a killed supervisor left in its state folder and on the machine. The caller owns the folder."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from ops.errors import OpsError, WrongUsage
from ops.server.processes import kill_remains, remove_abandoned
from ops.server.server_binary import remove_environment_folders
from ops.server.state import StateFolder

# Of the names of temporary state folders.
PRIVATE_PREFIX = "triptych_"


def clear_remains(folder: StateFolder, unload_timeout_s: float) -> None:
    """Ends the previous server of this folder and removes its files and segments, and those of other dead servers.

    Args:
        folder: claimed.
        unload_timeout_s: the server of a killed supervisor has got SIGTERM and may take this long for its models.
    """
    previous = folder.read()
    if previous is not None:
        if previous.server is not None:
            previous.server.wait(unload_timeout_s)
        kill_remains(previous.segment_prefix, previous.front, previous.server)
    folder.clear()
    folder.remove_serving()
    folder.remove_temporary()
    remove_abandoned()
    remove_abandoned_folders()
    remove_environment_folders()


def remove_abandoned_folders(parent: Path | None = None) -> None:
    """Removes the temporary state folders of dead supervisors: those of a killed `triptych run` or reload.

    One without a state file holds the log of a failed start, which its error names.
    """
    for left in (parent or Path(tempfile.gettempdir())).glob(f"{PRIVATE_PREFIX}????????"):
        folder = StateFolder(left)
        state = folder.read()
        if state is None or state.is_alive():
            continue
        with contextlib.suppress(OpsError, OSError):  # another process does the same, or it is another user's
            folder.claim()
            kill_remains(state.segment_prefix, state.front, state.server)
            shutil.rmtree(left, ignore_errors=True)
            folder.release()


def refuse_own_files(folder: StateFolder, served: Path) -> None:
    """Raises:
    WrongUsage: the repository is what a server of this folder was pointed at, which each start removes.
    """
    state_dir = folder.folder.resolve()
    inside = served.relative_to(state_dir).parts if served.is_relative_to(state_dir) else ()
    if inside and inside[0].startswith(folder.serving.name):
        raise WrongUsage(
            f"{served} belongs to the server of {state_dir} and is made anew at each start. Name a model repository or "
            "a release with --repository."
        )
