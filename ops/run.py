"""`python -m ops run -- COMMAND`: a server on free ports for as long as a command runs."""

from __future__ import annotations

import os
import subprocess
import sys

from ops.errors import WrongUsage
from ops.local_server import LocalServer
from ops.settings import Settings


def run_beside(settings: Settings, command: list[str]) -> int:
    """Starts a server, runs `command` with its addresses in the environment, stops the server.

    Returns:
        The command's exit code; 128 + the signal's number when a signal ended it, as a shell says it.

    Raises:
        OpsError: the server could not be started.
        WrongUsage: there is no such command.
    """
    with LocalServer(settings) as server:
        print(f"Server ready after {server.ready_after_s:.1f} s; metrics at {server.metrics_url}", file=sys.stderr)
        addresses = {
            "TRIPTYCH_TARGET": server.grpc_target,
            "TRIPTYCH_HTTP_URL": server.http_url,
            "TRIPTYCH_METRICS_URL": server.metrics_url,
            "TRIPTYCH_SERVER_PID": str(server.pid),
            "TRIPTYCH_CATALOGUE_KEY_FILE": str(server.catalogue_key_file),
        }
        try:
            exit_code = subprocess.run(command, env={**os.environ, **addresses}, check=False).returncode
        except OSError as error:
            raise WrongUsage(f"Cannot run {command[0]} ({error.strerror}). Name a program after --.") from error
        except KeyboardInterrupt:
            exit_code = 130
    return exit_code if exit_code >= 0 else 128 - exit_code
