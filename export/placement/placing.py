"""Places a backbone: builds and verifies its ONNX files and writes them, with all other files, in one step."""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf import text_format
from rich.console import Console

from export.errors import RepositoryError
from export.placement.companion_files import (
    REFERENCE,
    is_checkout_repository,
    label_files,
    reference_file,
    repository_files,
    version_files,
    warmup_files,
)
from export.profiles.cpu import CpuSizing
from export.profiles.rendering import render_profiles
from export.progress import step
from export.repository.configs import Configs, Shape, read_configs, read_shape, reshape_configs
from export.repository.layout import CLASSIFIER_ONNX, EMBEDDER_ONNX, TRANSFORM
from export.repository.manifest import place_files, read_manifest, sha256
from export.repository.serving_package import package_digest, require_same_package
from export.repository.writable import require_writable
from export.sources.loading import BackboneChoice, load_backbone
from export.verification.photos import find_photos

if TYPE_CHECKING:
    from export.placement.trained_heads import TrainedHeads
    from export.sources.backbones import Backbone

_EXPORT = Path(__file__).resolve().parents[1]
# The rooms whose code decides what is placed: a change in one of them makes the next run place again.
_DECIDING_ROOMS = ("graphs", "placement", "profiles", "repository", "sources", "verification")

# Of the files of the default weights, 37 MB, in a staging folder beside those that they replace.
_DEFAULT_BYTES = 64_000_000

PRECISIONS = ("fp32", "fp16", "int8")

_VERSIONED = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "pillow")


@dataclass(frozen=True)
class Settings:
    """Settings of one run of `build`.

    Attributes:
        evaluation: folder of labelled photos on which int8 is measured; None is `photos`.
        heads: trained folder (`triptych train`) whose heads, and backbone if it was fine-tuned, are placed.
    """

    repository: Path
    photos: Path
    sizing: CpuSizing
    force: bool = False
    choice: BackboneChoice = field(default_factory=BackboneChoice)
    precision: str = "fp32"
    profiles: tuple[str, ...] = ("cpu",)
    calibration: Path | None = None
    evaluation: Path | None = None
    heads: Path | None = None


def place(settings: Settings, console: Console) -> dict[str, Any]:
    """Places the chosen backbone, unless the repository already contains the result of the same inputs.

    Returns:
        A report for JSON: `placed`, `seconds`, and the manifest.

    Raises:
        ExportError: the message has the reason and the next step; the repository is unchanged.
    """
    started = time.monotonic()
    require_writable(settings.repository, _estimate_bytes(settings), "--repository")
    trained = None if settings.heads is None else _read_heads(settings.heads)
    if trained is not None:
        settings = replace(settings, choice=trained.choose_backbone(settings.choice))
    stated = read_configs(settings.repository)
    if is_checkout_repository(settings.repository):
        require_same_package(settings.repository)
    if trained is not None:
        trained.set_threshold(stated["classifier"])
    photos = find_photos(settings.photos)
    inputs = _inputs(settings, stated, photos)
    manifest = read_manifest(settings.repository)
    if manifest is not None and inputs["source"] and manifest["inputs"] == inputs and not settings.force:
        console.print(f"{manifest['backbone']['name']} is already placed in {settings.repository} and unchanged.")
        return {"placed": False, "seconds": time.monotonic() - started, "manifest": manifest}
    with step(console, "Loading weights"):
        backbone = load_backbone(settings.choice, photos)
        if trained is not None:
            backbone = trained.add_to(backbone)
    configs = reshape_configs(stated, backbone.shape)
    files, facts = _build_files(backbone, photos, configs, settings, console)
    if trained is not None:
        trained.check(files[EMBEDDER_ONNX], files[CLASSIFIER_ONNX])
        facts |= trained.facts()
    files |= repository_files(settings.repository, configs)
    with step(console, "Placing"):
        _make_folder(settings.repository)
        place_files(settings.repository, files, {"inputs": inputs, **facts})
    elapsed_s = time.monotonic() - started
    _report_placed(settings, backbone, read_shape(stated), files, elapsed_s, console)
    return {"placed": True, "seconds": elapsed_s, "manifest": read_manifest(settings.repository)}


def _read_heads(folder: Path) -> TrainedHeads:
    from export.placement.trained_heads import TrainedHeads
    from export.training.heads.trained_folder import read_trained_folder

    return TrainedHeads(read_trained_folder(folder))


def _report_placed(
    settings: Settings,
    backbone: Backbone,
    stated: Shape,
    files: dict[str, bytes],
    elapsed_s: float,
    console: Console,
) -> None:
    from export.graphs.activation_map import read_unexplainable_reason

    shape = backbone.shape
    size_mb = sum(map(len, files.values())) / 1e6
    console.print(
        f"Placed {backbone.name} ({settings.precision}, {shape.side_px} px, {shape.features} features, "
        f"{_describe_classes(shape)}) in {settings.repository}: {len(files)} files, {size_mb:.1f} MB, "
        f"{elapsed_s:.0f} s."
    )
    if (reason := read_unexplainable_reason(files)) is not None:
        console.print(f"{reason} The model `explainer` returns this message as an error; all other models work.")
    if is_checkout_repository(settings.repository) and shape != stated:
        console.print(
            "The committed config.pbtxt files keep the dims of the default backbone: serve one of the profiles "
            f"{', '.join(settings.profiles)}, or place into another folder with --repository."
        )


def _inputs(settings: Settings, configs: Configs, photos: Sequence[Path]) -> dict[str, Any]:
    """All inputs that determine the placed files; unchanged inputs need no second run."""
    code = {
        file.relative_to(_EXPORT).as_posix(): sha256(file.read_bytes())
        for room in _DECIDING_ROOMS
        for file in sorted((_EXPORT / room).glob("*.*"))
    }
    code |= {name: sha256(content) for name, content in version_files().items()}
    code["package"] = package_digest()
    # The dims follow from the backbone, which `source` identifies.
    blank = reshape_configs(configs, Shape(0, 0, 0))
    return {
        "source": settings.choice.fingerprint(),
        "heads": sha256((settings.heads / "training.json").read_bytes()) if settings.heads else None,
        "precision": settings.precision,
        # The drift reference is the mean embedding of these photos.
        "photos": sha256("".join(sha256(photo.read_bytes()) for photo in photos).encode()),
        "profiles": list(settings.profiles),
        "code": sha256(json.dumps(code).encode()),
        "configs": sha256("".join(map(text_format.MessageToString, blank.values())).encode()),
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONED},
        "sizing": asdict(settings.sizing),
    }


def _build_files(
    backbone: Backbone, photos: Sequence[Path], configs: Configs, settings: Settings, console: Console
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of the backbone, and the facts for the manifest."""
    from export.graphs.activation_map import explanation_files
    from export.graphs.building import build_graphs, check_graphs, check_photos
    from export.verification.onnx_parity import sample_pixels

    with step(console, "Building the ONNX files"):
        graphs = build_graphs(backbone, with_programs="gpu-torch" in settings.profiles)
    with step(console, "Verifying the ONNX files"):
        parity = {"fp32": asdict(check_graphs(graphs, configs, photos, "fp32"))}
    with step(console, "Extracting the activation map"):
        # Always float32: explanations are rare, and the map must be that of the original network.
        pixels = sample_pixels(photos, backbone.transform, configs["embedder"].max_batch_size)
        explanation = explanation_files(backbone.name, graphs.embedder_onnx, graphs.classifier.linears, pixels)
    quantization = None
    if settings.precision != "fp32":
        from export.graphs.precision import convert

        calibration, evaluation = settings.calibration or settings.photos, settings.evaluation or settings.photos
        with step(console, f"Converting to {settings.precision}"):
            graphs, quantization = convert(graphs, settings.precision, calibration, evaluation, console)
            parity[settings.precision] = asdict(check_graphs(graphs, configs, photos, settings.precision))
    with step(console, "Comparing encoded photos"):
        photo_parity = check_photos(graphs, configs, photos, settings.precision)
    reference = reference_file(graphs.embedder_onnx, sample_pixels(photos, backbone.transform, len(photos)))
    files = {**graphs.files(), **explanation, REFERENCE: reference, **_text_files(backbone, configs, settings)}
    facts = {
        "backbone": {"name": backbone.name, "licence": backbone.licence, "source": backbone.source},
        "precision": settings.precision,
        "shape": asdict(backbone.shape),
        "parity": parity,
        "photo_parity": asdict(photo_parity),
    }
    return files, facts if quantization is None else {**facts, "quantization": quantization}


def _text_files(backbone: Backbone, configs: Configs, settings: Settings) -> dict[str, bytes]:
    """Labels, photo transform and profiles, and the warm-up photos."""
    transform = json.dumps(asdict(backbone.transform), indent=2) + "\n"
    profiles = render_profiles(configs, settings.sizing, settings.profiles)
    return {
        **label_files(backbone),
        TRANSFORM: transform.encode(),
        **{name: text.encode() for name, text in profiles.items()},
        **warmup_files(),
    }


def _estimate_bytes(settings: Settings) -> int:
    """Of what is placed: embedder and activation map each have about the size of the weights."""
    choice = settings.choice
    named = (choice.checkpoint, choice.onnx, Path(choice.weights))
    weights_bytes = max((file.stat().st_size for file in named if file is not None and file.is_file()), default=0)
    return max(_DEFAULT_BYTES, 2 * weights_bytes)


def _describe_classes(shape: Shape) -> str:
    heads = "".join(f", {classes} of {attribute}" for attribute, classes in shape.heads.items())
    return f"{shape.classes} classes{heads}"


def _make_folder(repository: Path) -> None:
    try:
        repository.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RepositoryError(
            f"Cannot create the folder {repository} ({error.strerror}). Choose another --repository."
        ) from error
