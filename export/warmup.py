"""Warm-up data: what Triton runs through a model before it says ready."""

from __future__ import annotations

import io
import struct

from PIL import Image

from export.layout import model_file

# The models that take a photo; the steps after them warm up on zeros, which Triton makes itself.
_MODELS = ("preprocess", "recognizer")


def warmup_files() -> dict[str, bytes]:
    """Path inside the repository -> content."""
    photo = _warmup_photo()
    return {model_file(model, "warmup/photo"): photo for model in _MODELS}


def _warmup_photo() -> bytes:
    """A JPEG as Triton reads a STRING element from a file: its length in four little-endian bytes, then itself."""
    encoded = io.BytesIO()
    Image.linear_gradient("L").resize((1024, 768)).convert("RGB").save(encoded, "JPEG")
    return struct.pack("<I", encoded.tell()) + encoded.getvalue()
