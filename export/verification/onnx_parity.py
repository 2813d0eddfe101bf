"""Checks that the ONNX files have the tensors of the configs and compute the same as torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from export.arrays import Floats, Pixels
from export.errors import VerificationError
from export.verification.onnx_session import open_session
from export.verification.reference import read_pixels
from triptych_models.recognition.transform import Transform

# Two runtimes sum in different orders; 3e-4 is 20 times the difference measured on features up to 6 (1.5e-5).
FEATURES_ATOL = 3e-4
# The limit grows in proportion for larger features: float32 has seven significant digits.
FEATURES_SCALE = 10.0


@dataclass(frozen=True)
class Limits:
    """Limits on the difference between an ONNX file and the network in torch.

    Attributes:
        features_atol, scores_atol: infinite for precisions below float32, which are checked by cosine only.
        min_photo_cosine: cosine from the encoded photo on, including decoding at a reduced size.
    """

    min_cosine: float
    min_photo_cosine: float
    features_atol: float = math.inf
    scores_atol: float = math.inf


LIMITS = {
    # Clients read scores with at most four digits.
    "fp32": Limits(0.9999, 0.995, FEATURES_ATOL, 1e-4),
    # An 11-bit mantissa gives errors of 1e-3 per number; errors of many layers average out.
    "fp16": Limits(0.999, 0.995),
    "int8": Limits(0.99, 0.985),
}


@dataclass(frozen=True)
class Parity:
    """Worst differences between torch and ONNX Runtime, and between a single photo and the same photo in a batch."""

    photos: int
    batch_sizes: tuple[int, ...]
    features_max_abs: float
    features_max_abs_error: float
    embedding_min_cosine: float
    scores_max_abs_error: float
    batch_max_abs_error: float


def check_tensors(onnx_bytes: bytes, config: ModelConfig) -> None:
    """Checks that the ONNX file and `config.pbtxt` have the same tensors, dtypes and dims, and a dynamic batch.

    Optional inputs are ignored: the serving package handles them outside the ONNX file.

    Raises:
        VerificationError: the ONNX file is not valid, or its tensors differ.
    """
    model = onnx.load_model_from_string(onnx_bytes)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise VerificationError(f"{config.name}: not a valid ONNX file: {error}. Nothing was placed.") from error
    for role, values, tensors in (
        ("input", model.graph.input, [tensor for tensor in config.input if not tensor.optional]),
        ("output", model.graph.output, config.output),
    ):
        in_onnx = {value.name: _signature(value) for value in values}
        in_config = {
            tensor.name: (_ONNX_TYPE[tensor.data_type], ("batch", *(int(dim) for dim in tensor.dims)))
            for tensor in tensors
        }
        if in_onnx != in_config:
            raise VerificationError(
                f"{config.name}: the {role}s of the ONNX file are {in_onnx}, config.pbtxt has {in_config}. "
                "Nothing was placed."
            )


_ONNX_TYPE = {
    DataType.TYPE_UINT8: onnx.TensorProto.DataType.Name(onnx.TensorProto.UINT8),
    DataType.TYPE_FP32: onnx.TensorProto.DataType.Name(onnx.TensorProto.FLOAT),
}


def _signature(value: onnx.ValueInfoProto) -> tuple[str, tuple[str | int, ...]]:
    tensor = value.type.tensor_type
    dims = tuple(dim.dim_param or int(dim.dim_value) for dim in tensor.shape.dim)
    return onnx.TensorProto.DataType.Name(tensor.elem_type), dims


def sample_pixels(photos: Sequence[Path], transform: Transform, count: int) -> Pixels:
    """uint8[count,S,S,3]: the photos by the reference transform, then their mirror images, repeated as needed."""
    originals = list(read_pixels(photos[:count], transform))
    cycle = originals + [pixels[:, ::-1] for pixels in originals]
    return np.stack([cycle[index % len(cycle)] for index in range(count)])


def verify_parity(
    embedder: nn.Module,
    classifier: nn.Module,
    embedder_onnx: bytes,
    classifier_onnx: bytes,
    pixels: Pixels,
    limits: Limits,
) -> Parity:
    """Compares torch and ONNX Runtime on the same pixels, with batches of 1, 2 and all photos.

    Raises:
        VerificationError: a difference is over its limit.
    """
    with torch.inference_mode():
        features, embedding = (output.numpy() for output in embedder(torch.from_numpy(pixels)))
        scores = [output.numpy() for output in classifier(torch.from_numpy(features))]
    run_embedder = open_session(embedder_onnx)
    run_classifier = open_session(classifier_onnx)

    features_error = scores_error = batch_error = 0.0
    cosine = 1.0
    sizes = tuple(sorted({1, 2, len(pixels)}))
    batches = {size: run_embedder.run(["features", "embedding"], {"pixels": pixels[:size]}) for size in sizes}
    for size, (ort_features, ort_embedding) in batches.items():
        features_error = max(features_error, _max_abs(ort_features, features[:size]))
        cosine = min(cosine, float((ort_embedding * embedding[:size]).sum(axis=1).min()))
        batch_error = max(batch_error, _max_abs(ort_features, batches[len(pixels)][0][:size]))
        ort_scores = run_classifier.run(None, {"features": features[:size]})
        for got, expected in zip(ort_scores, scores, strict=True):
            scores_error = max(scores_error, _max_abs(got, expected[:size]))
    largest = float(np.abs(features).max())
    parity = Parity(len(pixels), sizes, largest, features_error, cosine, scores_error, batch_error)
    _refuse_when_over(parity, limits)
    return parity


def _max_abs(left: Floats, right: Floats) -> float:
    return float(np.abs(left - right).max())


def _refuse_when_over(parity: Parity, limits: Limits) -> None:
    features_atol = max(1.0, parity.features_max_abs / FEATURES_SCALE) * limits.features_atol
    between = "differ between torch and ONNX Runtime by"
    checks = (
        (f"embeddings {between} a cosine of 1 -", 1 - parity.embedding_min_cosine, 1 - limits.min_cosine),
        (f"features {between}", parity.features_max_abs_error, features_atol),
        ("features of one photo differ between batch sizes by", parity.batch_max_abs_error, features_atol),
        (f"scores {between}", parity.scores_max_abs_error, limits.scores_atol),
    )
    for what, got, limit in checks:
        # `not <=` instead of `>`: NaN must fail the check.
        if not got <= limit:
            raise VerificationError(f"The {what} {got:.2g}, the limit is {limit:.2g}. Nothing was placed.")
