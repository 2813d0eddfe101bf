"""Golden requests: photos in a release with the predictions of its own files.

A server that loads the release must return the same predictions. This module draws the photos, so they are free of
third-party rights. They cover frequent decoder faults: colour, EXIF orientation, transparency.
"""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from export.errors import ReleaseError
from export.repository.configs import LABELS
from export.repository.layout import CLASSIFIER_ONNX, EMBEDDER_ONNX, model_file
from export.repository.serving_package import read_decoder
from export.verification.encodings import encode, make_exif
from export.verification.onnx_session import open_session
from triptych_models.recognition.preprocessing import preprocess

MODEL = "recognizer"
LABELS_SHOWN = 5

# Least cosine between any two profiles (worst photo). A crop that is off by half a pixel gives 0.985.
EMBEDDING_MIN_COSINE = 0.995
# Score difference at that cosine; wrong weights, labels or colours change the best score much more.
SCORE_MAX_ABS_ERROR = 0.05


def make_photos() -> dict[str, bytes]:
    """File name -> encoded photo. The photos show ImageNet classes, so that a wrong prediction is visible."""
    turned = make_exif(6)  # stored rotated by 90 degrees
    clock = _draw_clock().transpose(Image.Transpose.ROTATE_90)
    return {
        "golden-clock.jpg": encode(clock, "JPEG", quality=90, exif=turned),
        "golden-crossword.png": encode(_draw_crossword(), "PNG"),
        "golden-honeycomb.jpg": encode(_draw_honeycomb(), "JPEG", quality=40),
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
    """A crossword with transparent white fields."""
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
    """A photo large enough for DCT-scaled decoding."""
    image = Image.new("RGB", (1200, 1000), "black")
    pen = ImageDraw.Draw(image)
    for column, x_px in enumerate(range(-50, 1300, 150)):
        for y_px in range(-50, 1100, 130):
            centre = x_px, y_px + 65 * (column % 2), 67
            pen.regular_polygon(centre, 6, fill="orange", outline="saddlebrown")
    return image


def compute_answers(repository: Path, photos: dict[str, bytes]) -> dict[str, Any]:
    """Predictions of the files of a repository, computed without a server by the serving package and ONNX Runtime.

    Returns:
        The `golden` part of a manifest; embeddings are base64 of float32[D], little-endian.

    Raises:
        ReleaseError: the transform or a network is missing.
        RepositoryError: the repository has another version of the serving package.
    """
    try:
        labels = (repository / model_file(MODEL, LABELS)).read_text(encoding="utf-8").splitlines()
        embedder, classifier = (
            open_session((repository / name).read_bytes(), threads=1) for name in (EMBEDDER_ONNX, CLASSIFIER_ONNX)
        )
        transform, limits = read_decoder(repository)
    except OSError as error:
        raise ReleaseError(
            f"Golden requests need {error.filename}, which cannot be read ({error.strerror}). "
            "Place it with `make build`."
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
