"""The small files placed beside the ONNX files: labels, warm-up photos, the drift reference, configs and code."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from PIL import Image

from export.arrays import Pixels
from export.repository.configs import CHECKOUT_REPOSITORY, MODELS, Configs, label_file, read_configs
from export.repository.layout import CONFIG, MODELS_FOLDER, model_file
from export.repository.serving_package import package_files
from export.sources.backbones import Backbone
from export.verification.encodings import encode
from export.verification.onnx_session import open_session, run_in_batches

# Mean embedding of the verification photos; the serving package measures drift from it.
REFERENCE = model_file("embedder", "1/reference.json")

# The models that take a photo; Triton warms the others up with zeros.
_MODELS = ("preprocess", "recognizer")


def label_files(backbone: Backbone) -> dict[str, bytes]:
    """Label files, beside each config that names them, where Triton looks for them."""
    return {
        model_file(model, label_file(attribute)): ("\n".join(lines) + "\n").encode()
        for attribute, lines in backbone.labels_by_attribute.items()
        for model in ("classifier", "recognizer")
    }


def repository_files(repository: Path, configs: Configs) -> dict[str, bytes]:
    """The serving package and the config.pbtxt files with the dims of the backbone.

    Empty for the repository of the checkout, whose committed files stay unchanged.
    """
    if is_checkout_repository(repository):
        return {}
    files = version_files() | package_files()
    stated = read_configs(repository)
    for model in MODELS:
        name = model_file(model, CONFIG)
        existing = repository / name if (repository / name).is_file() else CHECKOUT_REPOSITORY / name
        text = text_format.MessageToString(configs[model])
        files[name] = existing.read_bytes() if stated[model] == configs[model] else text.encode()
    return files


def version_files() -> dict[str, bytes]:
    """Path inside a repository -> content, for the sources in the version folders of the checkout's models."""
    sources = [
        *CHECKOUT_REPOSITORY.glob(f"{MODELS_FOLDER}/*/1/*.py"),
        *CHECKOUT_REPOSITORY.glob(f"{MODELS_FOLDER}/*/1/*.txt"),
    ]
    return {source.relative_to(CHECKOUT_REPOSITORY).as_posix(): source.read_bytes() for source in sorted(sources)}


def is_checkout_repository(repository: Path) -> bool:
    return repository.resolve() == CHECKOUT_REPOSITORY


def reference_file(embedder_onnx: bytes, pixels: Pixels) -> bytes:
    """The drift reference as JSON: the number of `photos` and their `mean_embedding`.

    It is meaningful if the photos are several hundred of the shop's own (`--photos`): the mean of 1,200 clothing photos
    has a cosine distance of 0.40 from the mean of 20 ImageNet samples; the mean of 20 of them, 0.04 from that of all.
    """
    (embeddings,) = run_in_batches(open_session(embedder_onnx), ["embedding"], pixels)
    mean = [round(float(value), 8) for value in embeddings.mean(axis=0, dtype=np.float64)]
    return (json.dumps({"photos": len(pixels), "mean_embedding": mean}) + "\n").encode()


def warmup_files() -> dict[str, bytes]:
    """Warm-up photos: path inside the repository -> content.

    A JPEG in Triton's file format for a STRING element: 4 bytes of length, little-endian, then the content.
    """
    photo = encode(Image.linear_gradient("L").resize((1024, 768)).convert("RGB"), "JPEG")
    return {model_file(model, "warmup/photo"): struct.pack("<I", len(photo)) + photo for model in _MODELS}
