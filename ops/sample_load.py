"""A short load on a server through the `triptych` command: photos new, seen and none at all; a catalogue, searches."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ops.errors import OpsError
from ops.serve_view import SAMPLE_PHOTOS

IN_FLIGHT = 4
# Of 20 photos a round, how many are sent as they are and so come from the answer cache from the second round on.
SEEN = 6
SEED = 6
ROUND_TIMEOUT_S = 120


class SampleLoad:
    """Rounds of photos against one server; the folder they are sent from goes when it is left.

    Args:
        target: the server's gRPC address.
        catalogue_key_file: of its catalogue, which the sample photos are put into.
    """

    def __init__(self, target: str, catalogue_key_file: Path) -> None:
        self._photos = sorted(SAMPLE_PHOTOS.glob("*.jpg"))
        if not self._photos:
            raise OpsError(f"No sample photos in {SAMPLE_PHOTOS}. Fetch them with `make photos`.")
        self._program = Path(sys.executable).with_name("triptych")
        self._target = target
        self._key_file = catalogue_key_file
        self._random = random.Random(SEED)
        self._folder = Path(tempfile.mkdtemp(prefix="triptych_load_"))
        self._has_catalogue = False

    def __enter__(self) -> SampleLoad:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def run_for(self, seconds: float, is_stopped: Callable[[], bool]) -> int:
        """Sends rounds until the time is up; returns how many photos were sent."""
        deadline_s, sent = time.monotonic() + seconds, 0
        while time.monotonic() < deadline_s and not is_stopped():
            sent += self.run_round()
        return sent

    def run_round(self) -> int:
        """Sends every photo once, and searches with two; returns how many were sent.

        Raises:
            OpsError: the command is not installed, or the server did not answer.
        """
        if not self._has_catalogue:
            self._run("catalogue", "import", str(SAMPLE_PHOTOS), "--journal", str(self._folder / "import.journal"),
                      "--catalogue-key-file", str(self._key_file))  # fmt: skip
            self._has_catalogue = True
        sent = self._lay_out()
        # Some photos are refused, as the one that is none must be.
        self._run("recognize", str(self._folder), "--in-flight", str(IN_FLIGHT), ends=(0, 1))
        photo = str(self._random.choice(self._photos))
        self._run("search", photo)
        self._run("search", photo, "--filter", "no_such_field=1", ends=(1,))
        return sent + 2

    def _run(self, *arguments: str, ends: tuple[int, ...] = (0,)) -> None:
        try:
            done = subprocess.run(
                [str(self._program), *arguments, "--target", self._target],
                capture_output=True,
                text=True,
                timeout=ROUND_TIMEOUT_S,
                check=False,
                start_new_session=True,  # Ctrl-C reaches the caller alone, who ends after this round
            )
        except OSError as error:
            raise OpsError(f"Cannot run {self._program} ({error.strerror}). Install it with `make setup`.") from error
        if done.returncode not in ends:
            raise OpsError(
                f"`triptych {arguments[0]}` ended with exit code {done.returncode}, expected "
                f"{' or '.join(map(str, ends))}: {done.stderr.strip() or done.stdout.strip()}"
            )

    def _lay_out(self) -> int:
        seen = set(self._random.sample(range(len(self._photos)), SEEN))
        for number, photo in enumerate(self._photos):
            # A JPEG may have bytes after its end: the same picture, and to the answer cache a new one.
            tail = b"" if number in seen else self._random.randbytes(8)
            (self._folder / photo.name).write_bytes(photo.read_bytes() + tail)
        (self._folder / "no_photo.jpg").write_bytes(b"not a photo")
        return len(self._photos) + 1
