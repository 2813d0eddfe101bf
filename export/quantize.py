"""`quantize`: the float32 embedder of a repository replaced by the best INT8 one, where one pays."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from export import placement, quantization
from export.contract import LABELS, Shape, read_configs, shaped
from export.errors import QuantisationRefused, RepositoryError
from export.evaluation_photos import read_evaluation
from export.layout import CLASSIFIER_ONNX, EMBEDDER_ONNX, TRANSFORM, model_file, refuse_earlier_layout
from export.photo_parity import answer_photos, answer_pixels, compare, encode_all, refuse_when_under
from export.progress import find_photos, step
from export.reference import read_pixels
from export.serving_package import require_same_package
from export.verification import LIMITS, check_contract, open_session
from triptych_models.recognition.transform import Transform

MAX_CALIBRATION_PHOTOS = 100
MAX_EVALUATION_PHOTOS = 400
MIN_EVALUATION_PHOTOS = 100


@dataclass(frozen=True)
class Settings:
    """What one run of `quantize` was asked for."""

    repository: Path
    photos: Path
    calibration: Path
    evaluation: Path


def quantize(settings: Settings, console: Console) -> dict[str, Any]:
    """Replaces the placed float32 embedder by the best INT8 candidate.

    Raises:
        QuantisationRefused: no candidate is accurate and pays, with every figure; the repository is as it was.
        RepositoryError: nothing is placed there in float32, or with another version of the serving package.
    """
    started = time.monotonic()
    refuse_earlier_layout(settings.repository)
    manifest = placement.read_manifest(settings.repository)
    if manifest is None or manifest["precision"] != "fp32":
        got = f"holds {manifest['precision']}" if manifest else "holds nothing whole"
        raise RepositoryError(f"{settings.repository} {got}; expected float32. Run `python -m export place` first.")
    require_same_package(settings.repository)
    files = {name: (settings.repository / name).read_bytes() for name in manifest["files"]}
    transform = Transform(**json.loads(files[TRANSFORM]))
    labels = files[model_file("classifier", LABELS)].decode().splitlines()
    embedder_onnx, classifier_onnx = files[EMBEDDER_ONNX], files[CLASSIFIER_ONNX]
    int8_onnx, figures = best_int8(
        embedder_onnx, classifier_onnx, transform, labels, settings.calibration, settings.evaluation, console
    )
    configs = shaped(read_configs(settings.repository), Shape(**manifest["shape"]))
    check_contract(int8_onnx, configs["embedder"])
    with step(console, "Comparing photos in every encoding"):
        parity = compare(
            encode_all(find_photos(settings.photos)),
            transform,
            answer_pixels(embedder_onnx, classifier_onnx),
            answer_photos(int8_onnx, classifier_onnx, transform, configs),
        )
        refuse_when_under(parity, LIMITS["int8"].min_photo_cosine)
    manifest = {name: value for name, value in manifest.items() if name != "files"}
    manifest["inputs"]["precision"] = manifest["precision"] = "int8"
    manifest |= {"quantisation": figures, "photo_parity": parity.as_dict()}
    with step(console, "Placing"):
        placement.place_files(settings.repository, {**files, EMBEDDER_ONNX: int8_onnx}, manifest)
    elapsed_s = time.monotonic() - started
    console.print(f"Placed {figures['chosen']}: {len(int8_onnx) / 1e6:.1f} MB, {elapsed_s:.0f} s.")
    return {"placed": True, "seconds": elapsed_s, "manifest": placement.read_manifest(settings.repository)}


def best_int8(
    embedder_onnx: bytes,
    classifier_onnx: bytes,
    transform: Transform,
    labels: Sequence[str],
    calibration: Path,
    evaluation: Path,
    console: Console,
) -> tuple[bytes, dict[str, Any]]:
    """The best candidate's file, and the figures of all for the manifest.

    Raises:
        QuantisationRefused: no candidate is accurate and pays.
    """
    calibrating = spread(calibration, MAX_CALIBRATION_PHOTOS)
    photos, truth = read_evaluation(evaluation, labels, MAX_EVALUATION_PHOTOS, without=calibrating)
    if len(photos) < MIN_EVALUATION_PHOTOS:
        raise QuantisationRefused(
            f"{evaluation} has {len(photos)} photos that are not calibrated on; {quantization.MIN_TOP1_AGREEMENT:.0%} "
            f"agreement can be shown on {MIN_EVALUATION_PHOTOS} or more. Pass others with --calibration and "
            "--evaluation. Nothing was placed."
        )
    judged = quantization.Evaluation(read_pixels(photos, transform), np.array(truth), open_session(classifier_onnx))
    pixels = read_pixels(calibrating, transform)
    files, figures = {}, []
    for recipe in quantization.RECIPES:
        with step(console, str(recipe)):
            candidate = quantization.quantise(embedder_onnx, recipe, pixels)
            measured = quantization.measure(embedder_onnx, candidate, recipe, judged)
        console.print(f"    {quantization.describe(measured)}")
        files[measured.recipe] = candidate
        figures.append(measured)
    chosen = quantization.choose(figures)
    return files[chosen.recipe], {
        "chosen": chosen.recipe,
        "calibration_photos": len(calibrating),
        "evaluation_photos": len(photos),
        "labelled_photos": int((judged.truth >= 0).sum()),
        "candidates": [one.as_dict() for one in figures],
    }


def spread(folder: Path, limit: int) -> list[Path]:
    """Photos of a folder and its folders, evenly, at most `limit`."""
    photos = sorted(folder.rglob("*.jpg")) or find_photos(folder)
    return photos[:: max(1, -(-len(photos) // limit))]
