"""Lower precision for verified float32 graphs: FP16 by conversion, INT8 by the best quantization candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from rich.console import Console

from export.errors import QuantizationRefused
from export.graphs import quantization
from export.graphs.building import Graphs
from export.progress import quiet, step
from export.verification.onnx_session import open_session
from export.verification.photos import find_photos, read_evaluation
from export.verification.reference import read_pixels
from triptych_models.recognition.transform import Transform

MAX_CALIBRATION_PHOTOS = 100
MAX_EVALUATION_PHOTOS = 400
MIN_EVALUATION_PHOTOS = 100


def convert(
    built: Graphs, precision: str, calibration: Path, evaluation: Path, console: Console
) -> tuple[Graphs, dict[str, Any] | None]:
    """The graphs in a lower precision, and for INT8 the measurements of every candidate.

    Args:
        built: in float32.
        precision: "fp16" or "int8".
        calibration: folder of photos that INT8 ranges are taken from.
        evaluation: folder of photos, labelled where possible, on which INT8 is measured.
        console: reports progress.

    Raises:
        QuantizationRefused: no INT8 candidate is accurate and faster on this machine.
    """
    if precision == "fp16":
        embedder_onnx, classifier_onnx = to_fp16(built.embedder_onnx), to_fp16(built.classifier_onnx)
        return replace(built, embedder_onnx=embedder_onnx, classifier_onnx=classifier_onnx), None
    embedder_onnx, figures = choose_int8(
        built.embedder_onnx,
        built.classifier_onnx,
        built.backbone.transform,
        built.backbone.category_labels,
        calibration,
        evaluation,
        console,
    )
    return replace(built, embedder_onnx=embedder_onnx), figures


def to_fp16(onnx_bytes: bytes) -> bytes:
    """Converts weights and arithmetic to float16, for GPUs; inputs and outputs keep their types.

    Normalisation stays in float32: sums of squares overflow float16, whose maximum is 65,504.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load_model_from_string(onnx_bytes)
    kept = [node.name for node in model.graph.node if node.op_type in ("ReduceL2", "LpNormalization", "Softmax")]
    with quiet():  # warnings about weights below the smallest float16; the checks measure the effect
        converted = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    # The converter appends its casts; ONNX requires every node after its inputs.
    sorted_model = OnnxModel(converted)
    sorted_model.topological_sort()
    return sorted_model.model.SerializeToString()  # type: ignore[no-any-return]


def choose_int8(
    embedder_onnx: bytes,
    classifier_onnx: bytes,
    transform: Transform,
    labels: Sequence[str],
    calibration: Path,
    evaluation: Path,
    console: Console,
) -> tuple[bytes, dict[str, Any]]:
    """Makes and measures all INT8 candidates; returns the best file and all measurements for the manifest.

    Raises:
        QuantizationRefused: no candidate is accurate and faster, or there are too few photos to measure on.
    """
    calibration_photos = _sample_photos(calibration, MAX_CALIBRATION_PHOTOS)
    photos, truth = read_evaluation(evaluation, labels, MAX_EVALUATION_PHOTOS, without=calibration_photos)
    if len(photos) < MIN_EVALUATION_PHOTOS:
        raise QuantizationRefused(
            f"{evaluation} has {len(photos)} photos that are not used for calibration; an agreement of "
            f"{quantization.MIN_TOP1_AGREEMENT:.0%} needs {MIN_EVALUATION_PHOTOS} or more. Pass other folders with "
            "--calibration and --evaluation. Nothing was placed."
        )
    data = quantization.EvaluationData(read_pixels(photos, transform), np.array(truth), open_session(classifier_onnx))
    pixels = read_pixels(calibration_photos, transform)
    files, figures = {}, []
    for recipe in quantization.RECIPES:
        with step(console, str(recipe)):
            candidate = quantization.quantize_embedder(embedder_onnx, recipe, pixels)
            measured = quantization.measure(embedder_onnx, candidate, recipe, data)
        console.print(f"    {quantization.describe(measured)}")
        files[measured.recipe] = candidate
        figures.append(measured)
    chosen = quantization.choose_candidate(figures)
    return files[chosen.recipe], {
        "chosen": chosen.recipe,
        "calibration_photos": len(calibration_photos),
        "evaluation_photos": len(photos),
        "labelled_photos": int((data.truth >= 0).sum()),
        "candidates": [asdict(one) for one in figures],
    }


def _sample_photos(folder: Path, limit: int) -> list[Path]:
    """At most `limit` photos, evenly spaced over a folder and its subfolders."""
    photos = sorted(folder.rglob("*.jpg")) or find_photos(folder)
    return photos[:: max(1, -(-len(photos) // limit))]
