"""Proves that what will be served computes what was trained. Every refusal is a sentence with the numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from export.backbones import PhotoTransform
from export.errors import VerificationError

BATCH_SIZES = (1, 2, 32)

# fp32 on two runtimes differs by the order of summation; 3e-4 is 20 times what was seen on features up to 6 (1.5e-5).
FEATURES_ATOL = 3e-4
MIN_COSINE = 0.9999
# Softmax maps logits, a sum of 1,280 products, to 0-1; 1e-5 is 10 times what was seen.
SCORES_ATOL = 1e-5

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Parity:
    """Worst figures of torch against ONNX Runtime, and of a photo alone against the same photo in a batch."""

    photos: int
    features_max_abs_error: float
    embedding_min_cosine: float
    scores_max_abs_error: float
    batch_max_abs_error: float

    def as_dict(self) -> dict[str, float]:
        """Plain numbers for the manifest."""
        return asdict(self)


def check_contract(onnx_bytes: bytes, config: ModelConfig) -> None:
    """The ONNX file and `config.pbtxt` name the same tensors, dtypes and dims, and the batch is free.

    Raises:
        VerificationError: naming the first difference.
        onnx.checker.ValidationError: not a valid ONNX file.
    """
    model = onnx.load_model_from_string(onnx_bytes)
    onnx.checker.check_model(model, full_check=True)
    for role, values, tensors in (
        ("input", model.graph.input, config.input),
        ("output", model.graph.output, config.output),
    ):
        in_onnx = {value.name: _signature(value) for value in values}
        in_config = {
            tensor.name: (_ONNX_TYPE[tensor.data_type], ("batch", *(int(dim) for dim in tensor.dims)))
            for tensor in tensors
        }
        if in_onnx != in_config:
            raise VerificationError(
                f"{config.name}: the {role}s of the ONNX file are {in_onnx}, config.pbtxt says {in_config}. "
                "Change the dims in config.pbtxt to those of the network."
            )


_ONNX_TYPE = {
    DataType.TYPE_UINT8: onnx.TensorProto.DataType.Name(onnx.TensorProto.UINT8),
    DataType.TYPE_FP32: onnx.TensorProto.DataType.Name(onnx.TensorProto.FLOAT),
}


def _signature(value: onnx.ValueInfoProto) -> tuple[str, tuple[str | int, ...]]:
    tensor = value.type.tensor_type
    dims = tuple(dim.dim_param or int(dim.dim_value) for dim in tensor.shape.dim)
    return onnx.TensorProto.DataType.Name(tensor.elem_type), dims


def read_pixels(photos: list[Path], transform: PhotoTransform, count: int) -> npt.NDArray[np.uint8]:
    """uint8[count,S,S,3]: the photos by torchvision's reference transform, then their mirror images, in turn."""
    reference = v2.Compose(
        [
            v2.Resize(round(transform.side_px / transform.crop_ratio), v2.InterpolationMode(transform.interpolation)),
            v2.CenterCrop(transform.side_px),
        ]
    )
    originals = []
    for photo in photos:
        with Image.open(photo) as image:
            originals.append(np.asarray(reference(image.convert("RGB"))))
    mirrored = [pixels[:, ::-1] for pixels in originals]
    cycle = originals + mirrored
    return np.stack([cycle[index % len(cycle)] for index in range(count)])


def verify_parity(
    embedder: nn.Module,
    classifier: nn.Module,
    embedder_onnx: bytes,
    classifier_onnx: bytes,
    photos: list[Path],
    transform: PhotoTransform,
) -> Parity:
    """Runs real photos through torch and through ONNX Runtime at each of `BATCH_SIZES`.

    Raises:
        VerificationError: over a tolerance, with the figure.
    """
    pixels = read_pixels(photos, transform, max(BATCH_SIZES))
    with torch.inference_mode():
        features, embedding = (output.numpy() for output in embedder(torch.from_numpy(pixels)))
        scores, retail = (output.numpy() for output in classifier(torch.from_numpy(features)))
    run_embedder = _session(embedder_onnx)
    run_classifier = _session(classifier_onnx)

    features_error = scores_error = batch_error = 0.0
    cosine = 1.0
    batches = {size: run_embedder.run(None, {"pixels": pixels[:size]}) for size in BATCH_SIZES}
    for size, (ort_features, ort_embedding) in batches.items():
        features_error = max(features_error, _max_abs(ort_features, features[:size]))
        cosine = min(cosine, float((ort_embedding * embedding[:size]).sum(axis=1).min()))
        batch_error = max(batch_error, _max_abs(ort_features, batches[max(BATCH_SIZES)][0][:size]))
        ort_scores, ort_retail = run_classifier.run(None, {"features": features[:size]})
        scores_error = max(scores_error, _max_abs(ort_scores, scores[:size]), _max_abs(ort_retail, retail[:size]))
    parity = Parity(len(photos), features_error, cosine, scores_error, batch_error)
    _refuse_when_over(parity)
    return parity


def _session(onnx_bytes: bytes) -> ort.InferenceSession:
    return ort.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])


def _max_abs(left: Array, right: Array) -> float:
    return float(np.abs(left - right).max())


def _refuse_when_over(parity: Parity) -> None:
    for what, got, limit in (
        ("features differ between torch and ONNX Runtime by", parity.features_max_abs_error, FEATURES_ATOL),
        ("scores differ between torch and ONNX Runtime by", parity.scores_max_abs_error, SCORES_ATOL),
        ("features of one photo differ between batch sizes by", parity.batch_max_abs_error, FEATURES_ATOL),
        (
            "embeddings differ between torch and ONNX Runtime by a cosine of 1 -",
            1 - parity.embedding_min_cosine,
            1 - MIN_COSINE,
        ),
    ):
        # `not <=` and not `>`: a NaN is a refusal too.
        if not got <= limit:
            raise VerificationError(f"The {what} {got:.2g}, the limit is {limit:.2g}. Nothing was placed.")
