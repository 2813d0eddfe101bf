"""Replaces the placed float32 embedder with the best INT8 one, if one is accurate and faster."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from export.errors import RepositoryError
from export.graphs.precision import choose_int8
from export.progress import step
from export.repository.configs import LABELS, Shape, read_configs, reshape_configs
from export.repository.layout import CLASSIFIER_ONNX, EMBEDDER_ONNX, TRANSFORM, model_file, refuse_earlier_layout
from export.repository.manifest import place_files, read_manifest
from export.repository.serving_package import require_same_package
from export.verification.onnx_parity import LIMITS, check_tensors
from export.verification.photo_parity import compare, encode_all, predict_photos, predict_pixels, require_parity
from export.verification.photos import find_photos
from triptych_models.recognition.transform import Transform


def quantize(repository: Path, photos: Path, calibration: Path, evaluation: Path, console: Console) -> dict[str, Any]:
    """Replaces the placed float32 embedder with the best INT8 candidate; the arguments are folders.

    Raises:
        QuantizationRefused: no candidate is accurate and faster; the repository is unchanged.
        RepositoryError: no float32 embedder is placed, or the serving package there is another version.
    """
    started = time.monotonic()
    refuse_earlier_layout(repository)
    manifest = read_manifest(repository)
    if manifest is None or manifest["precision"] != "fp32":
        got = f"contains {manifest['precision']}" if manifest else "contains no complete placement"
        raise RepositoryError(f"{repository} {got}; expected float32. Run `triptych build` first.")
    require_same_package(repository)
    files = {name: (repository / name).read_bytes() for name in manifest["files"]}
    transform = Transform(**json.loads(files[TRANSFORM]))
    labels = files[model_file("classifier", LABELS)].decode().splitlines()
    embedder_onnx, classifier_onnx = files[EMBEDDER_ONNX], files[CLASSIFIER_ONNX]
    int8_onnx, figures = choose_int8(
        embedder_onnx, classifier_onnx, transform, labels, calibration, evaluation, console
    )
    configs = reshape_configs(read_configs(repository), Shape(**manifest["shape"]))
    check_tensors(int8_onnx, configs["embedder"])
    with step(console, "Comparing encoded photos"):
        parity = compare(
            encode_all(find_photos(photos)),
            transform,
            predict_pixels(embedder_onnx, classifier_onnx),
            predict_photos(int8_onnx, classifier_onnx, transform, configs),
        )
        require_parity(parity, LIMITS["int8"].min_photo_cosine)
    manifest = {name: value for name, value in manifest.items() if name != "files"}
    manifest["inputs"]["precision"] = manifest["precision"] = "int8"
    manifest |= {"quantization": figures, "photo_parity": asdict(parity)}
    with step(console, "Placing"):
        place_files(repository, {**files, EMBEDDER_ONNX: int8_onnx}, manifest)
    elapsed_s = time.monotonic() - started
    console.print(f"Placed {figures['chosen']}: {len(int8_onnx) / 1e6:.1f} MB, {elapsed_s:.0f} s.")
    return {"placed": True, "seconds": elapsed_s, "manifest": read_manifest(repository)}
