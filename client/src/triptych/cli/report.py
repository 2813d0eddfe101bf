"""Output of the command: tables for people, JSON lines for programs. Prints nothing."""

from __future__ import annotations

import json
import unicodedata
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from triptych._core.server_state import Health, Model, TensorInfo
    from triptych.errors import TriptychError
    from triptych.results import Label, Recognition

# Smallest width of a name in a narrow terminal; a label needs about the same.
_NARROWEST_NAME = 20
_AFTER_NAME = len("  12345.6  0.123   0.123  ") + 40
_ELLIPSIS = "…"


class Table:
    """A table whose column widths are known before the first answer, so that rows can be printed as answers arrive."""

    def __init__(self, names: Iterable[str], columns: int | None = None) -> None:
        """Sets the widths from the names of (the first) photos and the columns of the terminal, if there is one."""
        self._longest = None if columns is None else max(_NARROWEST_NAME, columns - _AFTER_NAME)
        self._width = max(map(cells, ("PHOTO", *map(self._name, names))))

    def header(self) -> str:
        """The column titles."""
        return f"{'PHOTO':{self._width}}  {'MS':>6}  {'RETAIL':>6}  {'SCORE':>6}  LABEL"

    def rows(self, photo: str, recognition: Recognition) -> str:
        """The best label on the line of the photo, each further label on a line below."""
        name = padded(self._name(photo), self._width)
        first = f"{name}  {recognition.timing.total_s * 1e3:>6.1f}  {recognition.retail_score:>6.3f}"
        if recognition.abstained:
            return f"{first}  {'-':>6}  (no label reaches --min-score)"
        starts = [first, *[" " * cells(first)] * (len(recognition.labels) - 1)]
        return "\n".join(
            f"{start}  {label.score:>6.3f}  {label}" for start, label in zip(starts, recognition.labels, strict=True)
        )

    def _name(self, photo: str) -> str:
        name = printable(photo)
        return name if self._longest is None else shortened(name, self._longest)


def models_table(models: Sequence[Model]) -> str:
    """Each model with its tensors; the reason in place of the tensors for a model that is not ready."""
    rows = [("MODEL", "VERSION", "STATE", "BATCH", "IN", "OUT")]
    for model in models:
        inputs = list(map(_tensor, model.inputs)) or [printable(model.reason) or "-"]
        own: tuple[str, ...] = (printable(model.name), model.version or "-", model.state or "-")
        own += (str(model.max_batch_size) if model.ready else "-",)
        for given, answered in zip_longest(inputs, map(_tensor, model.outputs), fillvalue=""):
            rows.append((*own, given, answered))  # type: ignore[arg-type]
            own = ("",) * len(own)
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(padded, row, widths)).rstrip() for row in rows)


def json_result(photo: str, recognition: Recognition) -> str:
    """One recognised photo as one line of JSON."""
    return json.dumps(
        {
            "photo": photo,
            "labels": _labels(recognition.labels),
            "attributes": {name: _labels(labels) for name, labels in recognition.attributes.items()},
            "retail_score": _exact(recognition.retail_score),
            "abstained": recognition.abstained,
            "embedding": [_exact(value) for value in recognition.embedding.tolist()],
            "model": recognition.model,
            "model_version": recognition.model_version,
            "request_id": recognition.request_id,
            "latency_ms": round(recognition.timing.total_s * 1e3, 1),
        }
    )


def json_failure(photo: str, error: TriptychError) -> str:
    """One failed photo as one line of JSON."""
    return json.dumps({"photo": photo, "error": failure_fields(error)})


def failure_fields(error: TriptychError) -> dict[str, Any]:
    """The fields of an error in JSON."""
    return {
        "class": type(error).__name__,
        "code": error.code,
        "message": str(error),
        "retryable": error.retryable,
        "request_id": error.request_id,
    }


def json_model(model: Model) -> str:
    """One model as one line of JSON."""
    return json.dumps(
        {
            "name": model.name,
            "version": model.version,
            "state": model.state,
            "ready": model.ready,
            "reason": model.reason,
            "max_batch_size": model.max_batch_size,
            "inputs": [{"name": one.name, "datatype": one.datatype, "shape": one.shape} for one in model.inputs],
            "outputs": [{"name": one.name, "datatype": one.datatype, "shape": one.shape} for one in model.outputs],
        }
    )


def json_health(target: str, health: Health) -> str:
    """A server's health as one line of JSON."""
    return json.dumps(
        {
            "target": target,
            "live": health.live,
            "ready": health.ready,
            "recognizer_ready": health.recognizer_ready,
            "server": health.server,
        }
    )


def printable(text: str) -> str:
    """Text that is safe for a terminal: control and undecodable characters are escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def cells(text: str) -> int:
    """Columns of a text in a terminal: East Asian characters have two, combining characters none."""
    return sum(_cells_of(character) for character in text)


def padded(text: str, width: int) -> str:
    """Text and spaces up to `width` columns."""
    return text + " " * (width - cells(text))


def shortened(text: str, width: int) -> str:
    """The end of a text that is too wide; the end of a path has the file's name."""
    if cells(text) <= width:
        return text
    while cells(text) > width - 1:
        text = text[1:]
    return _ELLIPSIS + text


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _labels(labels: Sequence[Label]) -> list[dict[str, Any]]:
    return [
        {"name": label.name, "category": label.category, "score": label.score, "index": label.index} for label in labels
    ]


def _tensor(tensor: TensorInfo) -> str:
    return f"{printable(tensor.name)} {tensor.datatype}[{','.join(map(str, tensor.shape))}]"


def _exact(value: float) -> float:
    """Nine significant digits restore a float32 exactly; a float64 would print seventeen."""
    return float(f"{value:.9g}")
