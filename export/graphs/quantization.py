"""Static INT8 quantization: makes candidates, measures them next to float32 on this machine, selects the best.

Owns the recipes, the measurements and the limits. The graphs use QDQ nodes, which ONNX Runtime and TensorRT both read.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationDataReader
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.arrays import Floats, Integers, Pixels
from export.errors import QuantizationRefused
from export.progress import quiet
from export.verification.onnx_session import open_session, run_in_batches
from export.verification.photo_parity import find_clear

MIN_COSINE = 0.99
MIN_TOP1_AGREEMENT = 0.99
MAX_ACCURACY_DROP = 0.005
# A smaller gain is within the variation between runs of the same file.
MIN_SPEEDUP = 1.05

ROUNDS = 30


@dataclass(frozen=True)
class Recipe:
    """Settings of one candidate.

    Attributes:
        bits: per weight; with 7, the 16-bit sums of older processors cannot overflow.
        float_layers: number of first convolutions that stay in float32; the last one then stays in float32 too.
    """

    per_channel: bool
    bits: int
    float_layers: int

    def __str__(self) -> str:
        channel = "per channel" if self.per_channel else "per tensor"
        kept = f", first {self.float_layers} and last layer in float" if self.float_layers else ""
        return f"{channel}, {self.bits} bits{kept}"


# Ranges are minimum and maximum: percentile and entropy calibration took 12 times as long and were less accurate
# (EfficientNet-Lite0, 110 photos: worst cosine 0.960 and 0.961; minimum and maximum: 0.976).
RECIPES = (
    Recipe(False, 8, 0),
    Recipe(True, 7, 0),
    Recipe(True, 8, 0),
    Recipe(True, 8, 6),
    Recipe(True, 8, 12),
)


@dataclass(frozen=True)
class CandidateResult:
    """Measurements of a candidate next to float32, on the same pixels in the same run.

    Attributes:
        top1_agreement: share of photos with the same best class, without photos whose two best float32 scores are
            within `photo_parity.TIE_SCORE`.
        accuracy_drop: float32 accuracy minus this accuracy on labelled photos; None without labelled photos.
        speedup: float32 time divided by this time, one photo on one thread, median of interleaved rounds.
        speedup_batch: the same for a batch of four.
    """

    recipe: str
    size_mb: float
    cosine_min: float
    cosine_mean: float
    top1_agreement: float
    top1_agreement_with_ties: float
    accuracy_drop: float | None
    speedup: float
    speedup_batch: float

    @property
    def is_accurate(self) -> bool:
        return (
            self.cosine_min >= MIN_COSINE
            and self.top1_agreement >= MIN_TOP1_AGREEMENT
            and (self.accuracy_drop is None or self.accuracy_drop <= MAX_ACCURACY_DROP)
        )

    @property
    def is_faster(self) -> bool:
        return self.speedup >= MIN_SPEEDUP


@dataclass(frozen=True)
class EvaluationData:
    """The pixels that candidates are measured on.

    Attributes:
        pixels: uint8[N,S,S,3].
        truth: int64[N], the true class; -1 if unknown.
        head: the float32 classifier.
    """

    pixels: Pixels
    truth: Integers
    head: ort.InferenceSession


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, pixels: Pixels) -> None:
        self._batches: Iterator[dict[str, Pixels]] = iter([{"pixels": pixels[i : i + 1]} for i in range(len(pixels))])

    def get_next(self) -> dict[str, Pixels] | None:
        return next(self._batches, None)


_QUANTIZED_OPERATORS = ["Conv", "Gemm", "MatMul", "Add", "GlobalAveragePool", "MaxPool", "Relu", "Clip", "Concat"]


def quantize_embedder(embedder_onnx: bytes, recipe: Recipe, calibration: Pixels) -> bytes:
    """The embedder with QDQ nodes around its convolutions and matrix products; inputs and outputs are unchanged."""
    with tempfile.TemporaryDirectory(prefix="triptych-int8-") as folder, quiet():  # advice of the quantizer
        float_file, prepared, int8_file = (Path(folder) / name for name in ("float.onnx", "prepared.onnx", "int8.onnx"))
        float_file.write_bytes(embedder_onnx)
        quant_pre_process(str(float_file), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(int8_file),
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_QUANTIZED_OPERATORS,
            per_channel=recipe.per_channel,
            reduce_range=recipe.bits == 7,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_kept_in_float(onnx.load(str(prepared)), recipe.float_layers),
            calibrate_method=CalibrationMethod.MinMax,
            # Without this limit, the activations of all layers for all photos are in memory at once.
            extra_options={"CalibMaxIntermediateOutputs": 8},
        )
        return int8_file.read_bytes()


def _kept_in_float(model: onnx.ModelProto, first: int) -> list[str]:
    products = [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    return products[:first] + products[-1:] if first else []


def measure(embedder_onnx: bytes, candidate: bytes, recipe: Recipe, evaluation: EvaluationData) -> CandidateResult:
    """Measures accuracy and speed of a candidate next to float32."""
    sessions = open_session(embedder_onnx, threads=1), open_session(candidate, threads=1)
    answers = [_predict(session, evaluation) for session in sessions]
    (scores, embedding), (int8_scores, int8_embedding) = answers
    cosines = (embedding * int8_embedding).sum(axis=1)
    best, int8_best = scores.argmax(axis=1), int8_scores.argmax(axis=1)
    is_clear = find_clear(scores)
    known = evaluation.truth >= 0
    drop = None
    if known.any():
        truth = evaluation.truth[known]
        drop = float((best[known] == truth).mean() - (int8_best[known] == truth).mean())
    return CandidateResult(
        recipe=str(recipe),
        size_mb=len(candidate) / 1e6,
        cosine_min=float(cosines.min()),
        cosine_mean=float(cosines.mean()),
        top1_agreement=float((best == int8_best)[is_clear].mean()) if is_clear.any() else 1.0,
        top1_agreement_with_ties=float((best == int8_best).mean()),
        accuracy_drop=drop,
        speedup=_speedup(sessions, evaluation.pixels[:1]),
        speedup_batch=_speedup(sessions, evaluation.pixels[:4]),
    )


def _predict(session: ort.InferenceSession, evaluation: EvaluationData) -> tuple[Floats, Floats]:
    features, embedding = run_in_batches(session, ["features", "embedding"], evaluation.pixels)
    return evaluation.head.run(["category_scores"], {"features": features})[0], embedding


def _speedup(sessions: tuple[ort.InferenceSession, ort.InferenceSession], pixels: Pixels) -> float:
    """Median ratio of two runs in interleaved rounds: other load on the machine affects both alike."""
    ratios = []
    for _ in range(ROUNDS):
        elapsed_s = []
        for session in sessions:
            started = time.perf_counter()
            session.run(["embedding"], {"pixels": pixels})
            elapsed_s.append(time.perf_counter() - started)
        ratios.append(elapsed_s[0] / elapsed_s[1])
    return statistics.median(ratios)


def choose_candidate(candidates: Sequence[CandidateResult]) -> CandidateResult:
    """The fastest candidate that is accurate and faster than float32.

    Raises:
        QuantizationRefused: there is none; the message has all measurements.
    """
    accepted = [one for one in candidates if one.is_accurate and one.is_faster]
    if accepted:
        return max(accepted, key=lambda one: one.speedup)
    rows = "\n".join(f"  {describe(one)}" for one in candidates)
    raise QuantizationRefused(
        f"No INT8 candidate is both accurate enough (cosine of every photo >= {MIN_COSINE}, best class the same for "
        f">= {MIN_TOP1_AGREEMENT:.0%}, accuracy drop <= {100 * MAX_ACCURACY_DROP:g} points) and at least "
        f"{MIN_SPEEDUP}x as fast as float32 on this machine:\n{rows}\nKeep --precision fp32, or calibrate on more "
        "of your own photos with --calibration. Nothing was placed."
    )


def describe(one: CandidateResult) -> str:
    """The measurements in one line."""
    drop = "unknown" if one.accuracy_drop is None else f"{100 * one.accuracy_drop:+.2f} points"
    return (
        f"{one.recipe}: cosine worst {one.cosine_min:.4f}, mean {one.cosine_mean:.4f}; same best class "
        f"{one.top1_agreement:.1%} ({one.top1_agreement_with_ties:.1%} with ties); accuracy drop {drop}; "
        f"{one.speedup:.2f}x (batch of 4: {one.speedup_batch:.2f}x); {one.size_mb:.1f} MB"
    )
