"""The logs of the last runs of the server, each under a name of its own; `server.log` is another name of the last."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from ops.server.files.private_files import PRIVATE_FILE, move_folder_aside

KEPT = 5
# In the supervisor's log, the begin of what it says about a start that failed, after the time.
FAILED_START = "error: The start failed: "
_NAME = re.compile(r"server-(\d+)\.log")
_NEXT_ENTRY = re.compile(r"\n(?=\d{4}-\d\d-\d\dT)")


def list_logs(folder: Path) -> list[Path]:
    """Returns the logs of the runs of a server, the oldest first."""
    found = {int(name[1]): path for path in folder.glob("server-*.log") if (name := _NAME.fullmatch(path.name))}
    return [found[number] for number in sorted(found)]


def begin_log(current: Path) -> Path:
    """Returns the empty log of the next run, which is also called `current` from now on; removes the oldest.

    Raises:
        OSError: it cannot be created; names the file.
    """
    logs = list_logs(current.parent)
    number = int(_NAME.fullmatch(logs[-1].name)[1]) + 1 if logs else 1  # type: ignore[index]
    move_folder_aside(current)
    if current.exists() and not (logs and current.samefile(logs[-1])):  # of an earlier version
        logs.append(current.replace(_log(current, number)))
        number += 1
    begun = _log(current, number)
    os.close(os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
    staged = current.with_name(f"{current.name}.tmp")
    staged.unlink(missing_ok=True)
    staged.hardlink_to(begun)
    staged.replace(current)
    for old in logs[: -(KEPT - 1)]:
        with contextlib.suppress(OSError):
            old.unlink()
    return begun


def find_previous(current: Path) -> Path:
    """Returns the log of the run before that of `current`; a name without a file if there is none."""
    logs = [log for log in list_logs(current.parent) if not (current.exists() and log.samefile(current))]
    return logs[-1] if logs else _log(current, 0)


def read_failed_start(supervisor_log: Path) -> str | None:
    """Returns why the last start failed, from the supervisor's log; None if it did not."""
    try:
        _, found, said = supervisor_log.read_text(errors="replace").rpartition(f" {FAILED_START}")
    except OSError:
        return None
    return _NEXT_ENTRY.split(said)[0].strip() if found else None


def _log(current: Path, number: int) -> Path:
    return current.with_name(f"server-{number}.log")
