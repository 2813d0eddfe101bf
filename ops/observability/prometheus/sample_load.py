"""A short load through the `triptych` command: new, repeated and invalid photos, a catalogue import, searches."""

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
from ops.supervision.serve_view import SAMPLE_PHOTOS

IN_FLIGHT = 4
# Photos of each round that are sent unchanged; from the second round on, the answer cache answers them.
SEEN = 6
SEED = 6
ROUND_TIMEOUT_S = 120


class SampleLoad:
    """Sends rounds of photos to one server from a temporary folder.

    Args:
        target: gRPC address of the server.
        catalogue_key_file: key of its catalogue, into which the sample photos are imported.
    """

    def __init__(self, target: str, catalogue_key_file: Path) -> None:
        self._photos = sorted(SAMPLE_PHOTOS.glob("*.jpg"))
        if not self._photos:
            raise OpsError(f"There are no sample photos in {SAMPLE_PHOTOS}. Download them with `make photos`.")
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
        """Sends rounds for this time; returns the number of photos."""
        deadline_s, sent = time.monotonic() + seconds, 0
        while time.monotonic() < deadline_s and not is_stopped():
            sent += self.run_round()
        return sent

    def run_round(self) -> int:
        """Sends every photo once and two searches; returns the number of photos.

        Raises:
            OpsError: the command is not installed, or it failed.
        """
        if not self._has_catalogue:
            self._run("catalogue", "import", str(SAMPLE_PHOTOS), "--journal", str(self._folder / "import.journal"),
                      "--catalogue-key-file", str(self._key_file))  # fmt: skip
            self._has_catalogue = True
        sent = self._write_photos()
        # Exit code 1: the server refuses the invalid photo.
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
                start_new_session=True,  # Ctrl-C reaches only the caller, which ends after this round
            )
        except OSError as error:
            raise OpsError(f"Cannot run {self._program} ({error.strerror}). Install it with `make setup`.") from error
        if done.returncode not in ends:
            raise OpsError(
                f"`triptych {arguments[0]}` ended with exit code {done.returncode}, expected "
                f"{' or '.join(map(str, ends))}: {done.stderr.strip() or done.stdout.strip()}"
            )

    def _write_photos(self) -> int:
        seen = set(self._random.sample(range(len(self._photos)), SEEN))
        for number, photo in enumerate(self._photos):
            # Bytes after the end of a JPEG leave the picture unchanged and make it new to the answer cache.
            tail = b"" if number in seen else self._random.randbytes(8)
            (self._folder / photo.name).write_bytes(photo.read_bytes() + tail)
        (self._folder / "no_photo.jpg").write_bytes(b"not a photo")
        return len(self._photos) + 1
