"""The model `explainer` of the fake server: a derived heat map, with label and score of `recognizer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from triptych._core.failures.codes import coded
from triptych._core.protocol import InferAnswer, InferRequest, Tensor, bytes_tensor, elements
from triptych.testing.fake_outputs import fake_embedding

_SIDE = 7
_CROP_RATIO = 0.875

Floats = npt.NDArray[np.float32]


def explain(
    request: InferRequest, classes: Mapping[str, Sequence[str]], score: Callable[[bytes, str, Sequence[str]], Floats]
) -> InferAnswer:
    """The answer to one photo; raises `TransportError` as a transport does."""
    (photo,) = request.photos
    (element,) = elements(request.inputs["attribute"].content)
    attribute = element.decode()
    if attribute not in classes:
        expected = ", ".join(classes)
        raise coded("class_unknown", f"`attribute` is {attribute!r}; expected one of {expected}.")
    lines = classes[attribute]
    scores = score(photo, attribute, lines)
    chosen = int(scores.argmax())
    if "class_index" in request.inputs:
        chosen = int.from_bytes(request.inputs["class_index"].content, "little")
    if chosen >= len(lines):
        raise coded("class_unknown", f"`class_index` is {chosen}; expected 0 to {len(lines) - 1}.")
    heat = fake_embedding(photo + bytes([chosen % 256]), _SIDE * _SIDE).astype("<f4")
    return InferAnswer(
        "1",
        {
            "heat_map": Tensor("FP32", (1, _SIDE, _SIDE), heat.tobytes()),
            "explained": Tensor("INT32", (1, 1), np.array([chosen], "<i4").tobytes()),
            "score": Tensor("FP32", (1, 1), scores[chosen : chosen + 1].astype("<f4").tobytes()),
            "label": bytes_tensor([lines[chosen].encode()], (1, 1)),
            "crop_ratio": Tensor("FP32", (1, 1), np.array([_CROP_RATIO], "<f4").tobytes()),
        },
    )
