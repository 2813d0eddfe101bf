"""Recognises the test photos of a trained folder (`triptych train`) and compares with their labels.

Run as `python client/examples/recognize_split.py TRAINED CATALOGUE [TARGET]`. The accuracy is that of
TRAINED/metrics.json where the trained heads are what is served.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

from triptych import Client, TriptychError

# A photo more or less in a thousand: another build of the network may decide a tie otherwise.
MAX_DIFFERENCE = 0.003


def main(trained: str, photos: str, target: str) -> int:
    """Prints a line an attribute; exit code 1 when a figure differs from the training's."""
    folder = Path(photos) if Path(photos).is_dir() else Path(photos).parent
    rows = list(csv.DictReader((Path(trained) / "split.csv").read_text(encoding="utf-8").splitlines()))
    reported = json.loads((Path(trained) / "metrics.json").read_text(encoding="utf-8"))
    rows = [row for row in rows if row["split"] == "test"]
    with Client(target) as client:
        found = [item.result() for item in client.recognize_many([folder / row["photo"] for row in rows], top_k=1)]
    differs = False
    for attribute, figures in reported.items():
        pairs = [
            (row[attribute], str((one.labels if attribute == "category" else one.attributes[attribute])[0]))
            for row, one in zip(rows, found, strict=True)
            if row[attribute]
        ]
        pairs = [(truth, got) for truth, got in pairs if truth in figures["classes"]]
        accuracy = sum(truth == got for truth, got in pairs) / len(pairs) if pairs else float("nan")
        expected = figures["test"]["accuracy"]
        differs |= bool(pairs) and abs(accuracy - expected) > MAX_DIFFERENCE
        print(f"{attribute}: served {accuracy:.4f}, in training {expected:.4f}, {len(pairs)} photos")
    return 1 if differs else 0


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: recognize_split.py TRAINED CATALOGUE [TARGET]")
    server = sys.argv[3] if len(sys.argv) == 4 else os.environ.get("TRIPTYCH_TARGET", "127.0.0.1:8001")
    try:
        sys.exit(main(sys.argv[1], sys.argv[2], server))
    except (TriptychError, OSError) as error:
        sys.exit(f"error: {error}")
