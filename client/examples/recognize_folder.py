"""Recognises every photo of a folder and compares with the true class, where the file's name ends in its index.

Run as `python client/examples/recognize_folder.py FOLDER [TARGET]`.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

from triptych import Client, TriptychError


def main(folder: str, target: str) -> int:
    """Prints a table; exit code 1 when a photo could not be recognised or none was found."""
    photos = sorted(Path(folder).glob("*.jpg"))
    if not photos:
        print(f"error: no *.jpg in {folder}. Fetch the samples with `make photos`.", file=sys.stderr)
        return 1
    latencies_ms = []
    right = 0
    with Client(target) as client:
        names = {label.index: str(label) for label in client.recognize(photos[0], top_k=1000).labels}
        print(f"{'':2} {'PHOTO':<22} {'RECOGNISED AS':<46} {'SCORE':>5} {'RETAIL':>6} {'MS':>5}  TRUE CLASS")
        for photo in photos:
            started_s = time.perf_counter()
            recognition = client.recognize(photo, top_k=1)
            latencies_ms.append((time.perf_counter() - started_s) * 1e3)
            top = recognition.labels[0]
            true_index = int(photo.stem.rpartition("_")[2])
            right += top.index == true_index
            print(
                f"{'ok' if top.index == true_index else '--':2} {photo.name:<22} {top!s:<46} {top.score:>5.2f} "
                f"{recognition.retail_score:>6.2f} {latencies_ms[-1]:>5.1f}  {names[true_index]}"
            )
    print(
        f"\n{right} of {len(photos)} right; median {statistics.median(latencies_ms):.1f} ms a photo, one at a time "
        f"(the first was sent twice: its second answer came from the cache)."
    )
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        sys.exit(main(sys.argv[1], (sys.argv[2:] or [os.environ.get("TRIPTYCH_TARGET", "127.0.0.1:8001")])[0]))
    except TriptychError as failure:
        sys.exit(f"error: {failure}")
