"""Golden requests: photos that a release carries, with the answers its own files give.

A server that is about to take the release is asked the same and must answer the same. The photos are drawn here, so
anybody may pass them on. Between them they go through what decoders get wrong: colour, EXIF turns, transparency.
"""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from PIL import Image, ImageDraw

from export.contract import LABELS
from export.decoder import read_decoder
from export.errors import ReleaseError
from export.layout import CLASSIFIER_ONNX, EMBEDDER_ONNX, model_file
from triptych_models.recognition.preprocessing import preprocess

MODEL = "recognizer"
LABELS_SHOWN = 5

# What all profiles promise against one another, whatever decodes and computes (worst photo). A crop half a pixel off
# gives 0.985.
EMBEDDING_MIN_COSINE = 0.995
# Softmax where the embedding is off by that cosine; wrong weights, labels or colours move the top score much further.
SCORE_MAX_ABS_ERROR = 0.05

_EXIF_ORIENTATION = 0x0112


def make_photos() -> dict[str, bytes]:
    """File name -> encoded photo. ImageNet's classes know what they show: a wrong answer differs from a right one."""
    turned = Image.Exif()
    turned[_EXIF_ORIENTATION] = 6  # stored a quarter to the left
    clock = _draw_clock().transpose(Image.Transpose.ROTATE_90)
    return {
        "golden-clock.jpg": _encode(clock, "JPEG", quality=90, exif=turned),
        "golden-crossword.png": _encode(_draw_crossword(), "PNG"),
        "golden-honeycomb.jpg": _encode(_draw_honeycomb(), "JPEG", quality=40),
    }


def _draw_clock() -> Image.Image:
    image = Image.new("RGB", (360, 420), "beige")
    pen = ImageDraw.Draw(image)
    pen.ellipse((20, 50, 340, 370), fill="white", outline="black", width=14)
    for hour in range(12):
        right, up = math.sin(math.pi * hour / 6), math.cos(math.pi * hour / 6)
        pen.line((180 + 130 * right, 210 - 130 * up, 180 + 150 * right, 210 - 150 * up), fill="black", width=8)
    pen.line((180, 210, 180, 100), fill="black", width=8)
    pen.line((180, 210, 250, 250), fill="black", width=10)
    return image


def _draw_crossword() -> Image.Image:
    """Its white fields are transparent."""
    image = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    for row in range(13):
        for column in range(13):
            box = column * 30 + 5, row * 30 + 5, column * 30 + 35, row * 30 + 35
            pen.rectangle(
                box, outline="black", fill="black" if (column * 7 + row * 5 + column * row) % 4 == 0 else None
            )
    return image


def _draw_honeycomb() -> Image.Image:
    """Large enough for a decoder to shrink it by its DCT."""
    image = Image.new("RGB", (1200, 1000), "black")
    pen = ImageDraw.Draw(image)
    for column, x_px in enumerate(range(-50, 1300, 150)):
        for y_px in range(-50, 1100, 130):
            centre = x_px, y_px + 65 * (column % 2), 67
            pen.regular_polygon(centre, 6, fill="orange", outline="saddlebrown")
    return image


def _encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def answer_photos(repository: Path, photos: dict[str, bytes]) -> dict[str, Any]:
    """What the files of `repository` answer, computed without a server: the serving package's decoder, then ONNX
    Runtime.

    Returns:
        The `golden` part of a manifest; embeddings are base64 of float32[D], little-endian.

    Raises:
        ReleaseError: the repository holds no such transform or network.
        RepositoryError: it holds another version of the serving package.
    """
    try:
        labels = (repository / model_file(MODEL, LABELS)).read_text(encoding="utf-8").splitlines()
        embedder, classifier = (_open(repository / name) for name in (EMBEDDER_ONNX, CLASSIFIER_ONNX))
        transform, limits = read_decoder(repository)
    except OSError as error:
        raise ReleaseError(
            f"Golden answers need {error.filename}, which cannot be read ({error.strerror}). "
            "Place it with `make export`."
        ) from error
    requests = []
    for name, photo in photos.items():
        features, embedding = embedder.run(
            ["features", "embedding"], {"pixels": preprocess(photo, transform, limits)[None]}
        )
        scores, retail = classifier.run(["category_scores", "retail_score"], {"features": features})
        best = np.argsort(-scores[0], kind="stable")[:LABELS_SHOWN]
        requests.append(
            {
                "photo": name,
                "labels": [{"index": int(n), "label": labels[n], "score": float(scores[0][n])} for n in best],
                "retail_score": float(retail[0, 0]),
                "embedding": base64.b64encode(embedding[0].astype("<f4").tobytes()).decode(),
            }
        )
    return {
        "model": MODEL,
        "embedding_min_cosine": EMBEDDING_MIN_COSINE,
        "score_max_abs_error": SCORE_MAX_ABS_ERROR,
        "requests": requests,
    }


def _open(onnx_file: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # the order of summation, and so the release's digest, must not depend on the load
    return ort.InferenceSession(onnx_file.read_bytes(), options, providers=["CPUExecutionProvider"])
