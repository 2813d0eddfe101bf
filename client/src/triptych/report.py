"""How the command shows results: rows of a table for people, one JSON object a line for programs. Prints nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triptych.errors import TriptychError
    from triptych.results import Recognition


class Table:
    """A table whose columns are known before the first answer, so that rows appear as they come; labels go last."""

    def __init__(self, photos: Sequence[str]) -> None:
        self._width = max(len("PHOTO"), *(len(printable(photo)) for photo in photos))

    def header(self) -> str:
        """The column titles."""
        return f"{'PHOTO':{self._width}}  {'MS':>6}  {'RETAIL':>6}  {'SCORE':>6}  LABEL"

    def rows(self, photo: str, recognition: Recognition, latency_ms: float) -> str:
        """The best label on the photo's own line, each alternative on a line below."""
        first = f"{printable(photo):{self._width}}  {latency_ms:>6.1f}  {recognition.retail_score:>6.3f}"
        starts = [first, *[" " * len(first)] * (len(recognition.labels) - 1)]
        return "\n".join(
            f"{start}  {label.score:>6.3f}  {label}" for start, label in zip(starts, recognition.labels, strict=True)
        )


def json_result(photo: str, recognition: Recognition, latency_ms: float) -> str:
    """One recognised photo as one line of JSON."""
    return json.dumps(
        {
            "photo": photo,
            "labels": [
                {"name": label.name, "category": label.category, "score": label.score, "index": label.index}
                for label in recognition.labels
            ],
            "retail_score": _shortened(recognition.retail_score),
            "embedding": [_shortened(value) for value in recognition.embedding.tolist()],
            "model": recognition.model,
            "model_version": recognition.model_version,
            "request_id": recognition.request_id,
            "latency_ms": round(latency_ms, 1),
        }
    )


def json_failure(photo: str, error: TriptychError) -> str:
    """One failed photo as one line of JSON."""
    return json.dumps(
        {
            "photo": photo,
            "error": {
                "class": type(error).__name__,
                "message": str(error),
                "retryable": error.retryable,
                "request_id": error.request_id,
            },
        }
    )


def printable(photo: str) -> str:
    """A file's name as a terminal may show it: control and undecodable characters escaped."""
    return photo if photo.isprintable() else photo.encode("unicode_escape").decode("ascii")


def _shortened(value: float) -> float:
    """Nine significant digits bring a float32 back exactly; as a float64 it would print seventeen."""
    return float(f"{value:.9g}")
