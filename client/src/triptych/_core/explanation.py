"""Explanations: the request to `explainer`, its answer, and the drawing of the heat map. Performs no I/O."""

from __future__ import annotations

import io
import struct
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych._core.calls import infer_observed
from triptych._core.protocol import InferRequest, RequestedOutput, Tensor, bytes_tensor, elements
from triptych._core.session import Options, Session, open_context
from triptych._core.steps import Read, Steps
from triptych.errors import ContractMismatch, InvalidInput, UnreadableImage
from triptych.results import Explanation, Label

if TYPE_CHECKING:
    from PIL import Image

    from triptych._images.photo import ImageLike

MODEL = "explainer"
OUTPUTS = tuple(map(RequestedOutput, ("heat_map", "explained", "score", "label", "crop_ratio")))

# Opacity of the heat map at its maximum.
_OPACITY = 0.65
# Brightness outside of the square that the network received.
_DIMMED = 0.45
_WARM, _HOT = np.array([255.0, 214.0, 10.0]), np.array([214.0, 24.0, 24.0])
_ADVICE = "Serve the model repository of this client's release, or install the triptych-client of the server's."


def explain(
    session: Session, options: Options, image: ImageLike, attribute: str, label: Label | int | None
) -> Steps[Explanation]:
    """Reads one photo and requests the heat map of a label, or of the best one."""
    inputs = _inputs(attribute, label)
    started_s = time.perf_counter()
    content = yield Read(image)
    context = open_context(session, options)
    request = InferRequest(MODEL, "image", (content,), OUTPUTS, context.request_id, inputs, source="internal")
    answer, timing = yield from infer_observed(context, request, "explain", started_s)
    try:
        heat = answer.tensors["heat_map"]
        heat_map = np.frombuffer(heat.content, "<f4").reshape(heat.shape[-2:])
        (explained,), (score,), (crop_ratio,) = (
            np.frombuffer(answer.tensors[name].content, dtype).tolist()
            for name, dtype in (("explained", "<i4"), ("score", "<f4"), ("crop_ratio", "<f4"))
        )
        (line,) = elements(answer.tensors["label"].content)
        return Explanation(
            attribute=attribute,
            label=Label.from_line(line.decode(), score=score, index=explained),
            heat_map=heat_map,
            crop_ratio=crop_ratio,
            model=MODEL,
            model_version=answer.model_version or None,
            request_id=request.request_id,
            timing=timing,
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise ContractMismatch(
            f"Model {MODEL} returned something else than a heat map ({error!r}). {_ADVICE}",
            model=MODEL,
            request_id=request.request_id,
        ) from error


def _inputs(attribute: str, label: Label | int | None) -> dict[str, Tensor]:
    if not isinstance(attribute, str) or not attribute:
        raise InvalidInput(f"attribute is {attribute!r}; expected text: 'category', or one the server's model knows.")
    inputs = {"attribute": bytes_tensor([attribute.encode()], (1, 1))}
    if label is None:
        return inputs
    index = label.index if isinstance(label, Label) else label
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < 2**31:
        raise InvalidInput(f"label is {label!r}; expected a Label that `recognize` gave, or its index.")
    return {**inputs, "class_index": Tensor("INT32", (1, 1), struct.pack("<i", index))}


def draw_heat_map(photo: bytes, explanation: Explanation) -> Image.Image:
    """Draws the heat map over the upright photo: the photo in grey, evidence for the label in yellow to red.

    The photo is grey so that the colours of the heat map stand out from those of the product. The border that the
    network did not receive is darker.

    Args:
        photo: the encoded photo that was explained.
        explanation: the result of `Client.explain` for this photo.

    Raises:
        UnreadableImage: Pillow cannot decode the photo.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(photo)) as opened:
            image = ImageOps.exif_transpose(opened).convert("L").convert("RGB")
    except Exception as error:  # decoders raise what they like
        raise UnreadableImage(f"unreadable image: it cannot be drawn on ({error}).") from error
    left, top, right, bottom = explanation.seen(image.width, image.height)
    heat = np.maximum(explanation.heat_map, 0.0)
    grown: Any = Image.fromarray(heat).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    # The smallest divisor is 1e-6: a map without evidence for the label stays empty.
    strength = np.clip(np.asarray(grown) / max(float(heat.max()), 1e-6), 0.0, 1.0)[..., None]
    pixels = np.asarray(image, np.float32) * _DIMMED
    square = np.asarray(image, np.float32)[top:bottom, left:right]
    colour = _WARM + (_HOT - _WARM) * strength
    pixels[top:bottom, left:right] = square + (colour - square) * (_OPACITY * strength)
    return Image.fromarray(pixels.round().astype(np.uint8))
