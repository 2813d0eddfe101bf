"""`python -m tests.faults.decode_hostile SEED [START]`: hostile photos through the pure decoder, as lines of JSON.

In a process of its own, so that whoever reads the lines sees a crash or a hang, and behind which photo.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.hostile_photos import hostile_photos
from tests.faults.photo_parts import HostilePhoto
from triptych_models.errors import InvalidPhoto
from triptych_models.recognition.preprocessing import Limits, preprocess
from triptych_models.recognition.transform import Transform

TRANSFORM = Transform(side_px=224, crop_ratio=0.875, interpolation="bicubic")
LIMITS = Limits(max_image_bytes=20_000_000, max_image_pixels=50_000_000)


def decode(photo: HostilePhoto) -> dict[str, object]:
    """What came of it, in how much processor time and how much memory above what the process had."""
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak starts again at what is resident now
    before_bytes = _status_bytes("VmRSS")
    started_s = time.process_time()
    try:
        pixels = preprocess(photo.content, TRANSFORM, LIMITS)
        fate, sentence = "ANSWERED", "" if pixels.shape == (224, 224, 3) else f"shape {pixels.shape}"
    except InvalidPhoto as refusal:
        fate, sentence = "REFUSED", str(refusal)
    except BaseException as error:
        fate, sentence = "CRASHED", f"{type(error).__name__}: {error}"
    return {
        "fate": fate,
        "sentence": sentence,
        "cpu_s": time.process_time() - started_s,
        "memory_bytes": _status_bytes("VmHWM") - before_bytes,
    }


def digest_of(photos: Sequence[HostilePhoto]) -> str:
    """Of all their bytes: the same for the same seed and encoders."""
    digest = hashlib.sha256()
    for photo in photos:
        digest.update(len(photo.content).to_bytes(8, "big") + photo.content)
    return digest.hexdigest()


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/self/status has no {field}")


def main(seed: int, start: int) -> None:
    photos = hostile_photos(seed)
    print(json.dumps({"digest": digest_of(photos)}), flush=True)
    for number, photo in enumerate(photos):
        if number >= start:
            print(json.dumps({"number": number, "kind": photo.kind, "name": photo.name, "due": photo.fate}), flush=True)
            print(json.dumps(decode(photo)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
