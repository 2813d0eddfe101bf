"""`place`: weights -> two verified ONNX files, labels, photo transform, warm-up photo and sized configs, in one go."""

from __future__ import annotations

import importlib.metadata
import io
import json
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export import placement
from export.backbones import Backbone, default_weights_file, load_default
from export.drift import REFERENCE, reference_file
from export.errors import PhotosMissing
from export.labels import label_lines, read_retail_categories
from export.profiles import LABELS, CpuSizing, read_config, render_profiles

_VERSIONED = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "pillow")


@dataclass(frozen=True)
class Settings:
    """What one run of `place` was asked for."""

    repository: Path
    photos: Path
    sizing: CpuSizing
    force: bool


def place(settings: Settings, console: Console) -> None:
    """Places the default weights, unless the same are there already.

    Raises:
        ExportError: what was wrong and what to do next; the repository is as it was.
    """
    started = time.monotonic()
    configs = {model: read_config(settings.repository, model) for model in ("embedder", "classifier")}
    inputs = _inputs(settings)
    manifest = placement.read_manifest(settings.repository)
    if manifest is not None and manifest["inputs"] == inputs and not settings.force:
        console.print(f"Already placed in {settings.repository} and intact: {manifest['backbone']['name']}.")
        return
    photos = _find_photos(settings.photos)
    with _step(console, "Loading weights"):
        backbone = load_default()
    onnx_files, parity = _build_and_verify(backbone, photos, configs, console)
    files = onnx_files | _side_files(backbone, settings)
    facts = {
        "backbone": {"name": backbone.name, "licence": backbone.licence, "source": backbone.source},
        "parity": parity,
    }
    with _step(console, "Placing"):
        placement.place_files(settings.repository, files, {"inputs": inputs, **facts})
    size_mb = sum(map(len, files.values())) / 1e6
    console.print(
        f"Placed {backbone.name} in {settings.repository}: {len(files)} files, {size_mb:.1f} MB, "
        f"{time.monotonic() - started:.0f} s."
    )


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    started = time.monotonic()
    with console.status(f"{what} ..."):
        yield
    console.print(f"  {what:<28} {time.monotonic() - started:5.1f} s")


def _inputs(settings: Settings) -> dict[str, Any]:
    """All that decides what will be placed: the same inputs need no second run."""
    code = {file.name: placement.sha256(file.read_bytes()) for file in sorted(Path(__file__).parent.glob("*.*"))}
    configs = {
        config.parent.name: placement.sha256(config.read_bytes())
        for config in sorted(settings.repository.glob("*/config.pbtxt"))
    }
    return {
        "weights": placement.sha256(default_weights_file().read_bytes()),
        "code": placement.sha256(json.dumps(code).encode()),
        "configs": placement.sha256(json.dumps(configs).encode()),
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONED},
        "sizing": asdict(settings.sizing),
    }


def _find_photos(folder: Path) -> list[Path]:
    photos = sorted(folder.glob("*.jpg"))
    if not photos:
        raise PhotosMissing(
            f"No *.jpg in {folder}: the export is verified on real photos. "
            "Fetch the samples with `make photos`, or pass a folder of your own with --photos."
        )
    return photos


def _build_and_verify(
    backbone: Backbone, photos: list[Path], configs: dict[str, ModelConfig], console: Console
) -> tuple[dict[str, bytes], dict[str, float]]:
    from export import graphs, verification

    embedder = graphs.Embedder(backbone).eval()
    classifier = graphs.Classifier(backbone, read_retail_categories()).eval()
    with _step(console, "Building the ONNX files"):
        embedder_onnx = graphs.embedder_onnx(embedder, backbone.transform.side_px)
        classifier_onnx = graphs.classifier_onnx(classifier)
    with _step(console, f"Verifying on {len(photos)} photos"):
        verification.check_contract(embedder_onnx, configs["embedder"])
        verification.check_contract(classifier_onnx, configs["classifier"])
        parity = verification.verify_parity(
            embedder, classifier, embedder_onnx, classifier_onnx, photos, backbone.transform
        )
        pixels = verification.read_pixels(photos, backbone.transform, len(photos))
        reference = reference_file(embedder_onnx, pixels)
    files = {
        "embedder/1/model.onnx": embedder_onnx,
        "classifier/1/model.onnx": classifier_onnx,
        REFERENCE: reference,
    }
    return files, parity.as_dict()


def _side_files(backbone: Backbone, settings: Settings) -> dict[str, bytes]:
    labels = label_lines(backbone.class_names, read_retail_categories())
    label_file = "\n".join(labels) + "\n"
    texts = {
        # Triton looks for labels beside the config that names them.
        f"classifier/{LABELS}": label_file,
        f"recognizer/{LABELS}": label_file,
        "preprocess/1/transform.json": json.dumps(asdict(backbone.transform), indent=2) + "\n",
        **render_profiles(settings.repository, settings.sizing),
    }
    warmup_photo = _warmup_photo()
    return {name: text.encode() for name, text in texts.items()} | {
        f"{model}/warmup/photo": warmup_photo for model in ("preprocess", "recognizer")
    }


def _warmup_photo() -> bytes:
    """A JPEG as Triton reads a STRING element from a file: its length in four little-endian bytes, then itself."""
    encoded = io.BytesIO()
    Image.linear_gradient("L").resize((1024, 768)).convert("RGB").save(encoded, "JPEG")
    return struct.pack("<I", encoded.tell()) + encoded.getvalue()
