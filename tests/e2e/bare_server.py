"""The server with a command line of the test's choice, where `ops.server.local_server` would choose its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.server import launch, probe
from ops.server.ports import choose_ports
from ops.server.processes import ProcessIdentity, kill_remains, new_prefix, remove_segments
from ops.server.server_binary import WheelServer, find_server, prepare
from ops.settings import ADDRESS, REPOSITORY, Ports

PATIENCE_S = 60.0


@dataclass(frozen=True)
class BareServer:
    """Attributes:
    log_file: Triton's own log.
    """

    process: subprocess.Popen[bytes]
    ports: Ports
    log_file: Path

    def becomes_ready(self) -> bool:
        """False when it ends instead, or time is up."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s and self.process.poll() is None:
            if probe.is_ready(self.ports):
                return True
            time.sleep(0.05)
        return False


@contextmanager
def started(
    folder: Path, options: list[str], python: Path | None = None, repository: Path = REPOSITORY
) -> Iterator[BareServer]:
    """A server on loopback and free ports with these further options; killed at the end.

    Args:
        folder: for its log, its backend and its temporary files.
        options: the command line but addresses and ports.
        python: the folder of the `python3` whose packages the models see; None is this one's.
        repository: holds the package that the models import.
    """
    binary = find_server(repository)
    assert isinstance(binary, WheelServer)
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    backend, ports, prefix = prepare(binary, folder / "backend"), choose_ports(0, 0, 0), new_prefix()
    listening = [
        f"--{protocol}-{what}"
        for protocol in ("http", "grpc", "metrics")
        for what in (f"address={ADDRESS}", f"port={getattr(ports, protocol)}")
    ]
    command = launch.command_line(
        binary,
        backend,
        repository.absolute(),
        [*options, *listening, f"--backend-config=python,shm-region-prefix-name={prefix}"],
    )
    variables = {
        "PATH": os.pathsep.join([str(python or backend.programs), os.defpath]),
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, backend.library_dirs)),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": str(repository),
    }
    process = launch.start(command, variables, repository, folder / "server.log")
    identity = ProcessIdentity.of(process.pid)
    try:
        yield BareServer(process, ports, folder / "server.log")
    finally:
        kill_remains(prefix, identity)
        process.wait()
        remove_segments(prefix)
