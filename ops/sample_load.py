"""A short load on a server through the `triptych` command: new photos, seen ones, and one that is none."""

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
    """Rounds of photos against one server; the folder they are sent from goes when it is left."""

    def __init__(self, target: str) -> None:
        self._photos = sorted(SAMPLE_PHOTOS.glob("*.jpg"))
        if not self._photos:
            raise OpsError(f"No sample photos in {SAMPLE_PHOTOS}. Fetch them with `make photos`.")
        self._program = Path(sys.executable).with_name("triptych")
        self._target = target
        self._random = random.Random(SEED)
        self._folder = Path(tempfile.mkdtemp(prefix="triptych_load_"))

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
        """Sends every photo once; returns how many.

        Raises:
            OpsError: the command is not installed, or the server did not answer.
        """
        sent = self._lay_out()
        command = [str(self._program), "recognize", str(self._folder), "--target", self._target]
        try:
            done = subprocess.run(
                [*command, "--in-flight", str(IN_FLIGHT)],
                capture_output=True,
                text=True,
                timeout=ROUND_TIMEOUT_S,
                check=False,
                start_new_session=True,  # Ctrl-C reaches the caller alone, who ends after this round
            )
        except OSError as error:
            raise OpsError(f"Cannot run {self._program} ({error.strerror}). Install it with `make setup`.") from error
        # 1: some photos were refused, as the one that is none must be.
        if done.returncode not in (0, 1):
            raise OpsError(f"`triptych recognize` ended with exit code {done.returncode}: {done.stderr.strip()}")
        return sent

    def _lay_out(self) -> int:
        seen = set(self._random.sample(range(len(self._photos)), SEEN))
        for number, photo in enumerate(self._photos):
            # A JPEG may have bytes after its end: the same picture, and to the answer cache a new one.
            tail = b"" if number in seen else self._random.randbytes(8)
            (self._folder / photo.name).write_bytes(photo.read_bytes() + tail)
        (self._folder / "no_photo.jpg").write_bytes(b"not a photo")
        return len(self._photos) + 1
