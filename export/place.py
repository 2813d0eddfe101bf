"""`place`: a backbone -> two verified ONNX files, labels, photo transform, warm-up photo and profiles, in one go."""

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

from export import placement
from export.contract import MODELS, TEMPLATE, Configs, Shape, label_file, read_configs, shape_of, shaped
from export.drift import REFERENCE, reference_file
from export.errors import RepositoryError
from export.layout import CLASSIFIER_ONNX, CONFIG, EMBEDDER_ONNX, MODELS_FOLDER, TRANSFORM, model_file
from export.profiles import CpuSizing, render_profiles
from export.progress import find_photos, step
from export.serving_package import package_digest, package_files, require_same_package
from export.sources import Choice, load
from export.warmup import warmup_files

if TYPE_CHECKING:
    from export.backbones import Backbone
    from export.training.trained import Trained

_VERSIONED = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "pillow")


@dataclass(frozen=True)
class Settings:
    """What one run of `place` was asked for.

    Attributes:
        evaluation: folder of labelled photos for accuracy, for int8; None is `photos`.
        heads: trained folder (`python -m export train`) whose heads, and backbone where it was tuned, are placed.
    """

    repository: Path
    photos: Path
    sizing: CpuSizing
    force: bool = False
    choice: Choice = field(default_factory=Choice)
    precision: str = "fp32"
    profiles: tuple[str, ...] = ("cpu",)
    calibration: Path | None = None
    evaluation: Path | None = None
    heads: Path | None = None


def place(settings: Settings, console: Console) -> dict[str, Any]:
    """Places what was chosen, unless the same is there already.

    Returns:
        What was done, ready for JSON: `placed`, `seconds`, and the manifest.

    Raises:
        ExportError: what was wrong and what to do next; the repository is as it was.
    """
    started = time.monotonic()
    settings, trained = _read_trained(settings)
    configs = read_configs(settings.repository)
    if _is_own(settings.repository):
        require_same_package(settings.repository)
    if trained is not None:
        from export.trained_heads import set_threshold

        set_threshold(configs["classifier"], trained)
    photos = find_photos(settings.photos)
    inputs = _inputs(settings, configs, photos)
    manifest = placement.read_manifest(settings.repository)
    if manifest is not None and inputs["source"] and manifest["inputs"] == inputs and not settings.force:
        console.print(f"Already placed in {settings.repository} and intact: {manifest['backbone']['name']}.")
        return {"placed": False, "seconds": time.monotonic() - started, "manifest": manifest}
    with step(console, "Loading weights"):
        backbone = _load(settings.choice, trained, photos)
    shape = _shape(backbone)
    files, facts = _build(backbone, photos, shaped(configs, shape), settings, console)
    if trained is not None:
        from export.trained_heads import check_trained, facts_of

        check_trained(files[EMBEDDER_ONNX], files[CLASSIFIER_ONNX], trained)
        facts |= facts_of(trained)
    files |= _repository_files(settings.repository, shaped(configs, shape))
    with step(console, "Placing"):
        _make_folder(settings.repository)
        placement.place_files(settings.repository, files, {"inputs": inputs, **facts})
    elapsed_s = time.monotonic() - started
    _tell(settings, backbone, configs, files, elapsed_s, console)
    return {"placed": True, "seconds": elapsed_s, "manifest": placement.read_manifest(settings.repository)}


def _read_trained(settings: Settings) -> tuple[Settings, Trained | None]:
    """The trained folder, and the settings with its backbone where that was tuned."""
    if settings.heads is None:
        return settings, None
    from export.trained_heads import tuned_choice
    from export.training.trained import read_trained

    trained = read_trained(settings.heads)
    return replace(settings, choice=tuned_choice(settings.choice, trained)), trained


def _load(choice: Choice, trained: Trained | None, photos: Sequence[Path]) -> Backbone:
    backbone = load(choice, photos)
    if trained is None:
        return backbone
    from export.trained_heads import with_heads

    return with_heads(backbone, trained)


def _tell(
    settings: Settings,
    backbone: Backbone,
    configs: Configs,
    files: dict[str, bytes],
    elapsed_s: float,
    console: Console,
) -> None:
    from export.explanation import unexplainable

    shape = _shape(backbone)
    size_mb = sum(map(len, files.values())) / 1e6
    console.print(
        f"Placed {backbone.name} ({settings.precision}, {shape.side_px} px, {shape.features} features, "
        f"{_describe_classes(shape)}) in {settings.repository}: {len(files)} files, {size_mb:.1f} MB, "
        f"{elapsed_s:.0f} s."
    )
    if (reason := unexplainable(files)) is not None:
        console.print(f"{reason} `explainer` refuses photos with that sentence; everything else is served.")
    if _is_own(settings.repository) and shape != shape_of(configs):
        console.print(
            "config.pbtxt, which is committed, keeps the default's dims: serve a profile "
            f"({', '.join(settings.profiles)}), or place into a folder of its own with --repository."
        )


def _inputs(settings: Settings, configs: Configs, photos: Sequence[Path]) -> dict[str, Any]:
    """All that decides what will be placed: the same inputs need no second run."""
    code = {file.name: placement.sha256(file.read_bytes()) for file in sorted(Path(__file__).parent.glob("*.*"))}
    code |= {name: placement.sha256(content) for name, content in _version_files().items()}
    code["package"] = package_digest()
    # Dims follow the backbone, which `source` states.
    blank = shaped(configs, Shape(0, 0, 0))
    return {
        "source": settings.choice.fingerprint(),
        "heads": placement.sha256((settings.heads / "training.json").read_bytes()) if settings.heads else None,
        "precision": settings.precision,
        # The reference for drift is their mean.
        "photos": placement.sha256("".join(placement.sha256(photo.read_bytes()) for photo in photos).encode()),
        "profiles": list(settings.profiles),
        "code": placement.sha256(json.dumps(code).encode()),
        "configs": placement.sha256("".join(map(text_format.MessageToString, blank.values())).encode()),
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONED},
        "sizing": asdict(settings.sizing),
    }


def _build(
    backbone: Backbone, photos: Sequence[Path], configs: Configs, settings: Settings, console: Console
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files that follow from the backbone, and the facts for the manifest."""
    from export.building import build_graphs, check_graphs, check_photos
    from export.explanation import explanation_files
    from export.verification import sample_pixels

    with step(console, "Building the ONNX files"):
        graphs = build_graphs(backbone, with_programs="gpu-torch" in settings.profiles)
    with step(console, "Verifying the ONNX files"):
        parity = {"fp32": check_graphs(graphs, configs, photos, "fp32").as_dict()}
    with step(console, "Cutting the network at its last map"):
        # In float32 whatever is served: explaining is rare, and its map has to be the network's own.
        pixels = sample_pixels(photos, backbone.transform, configs["embedder"].max_batch_size)
        explanation = explanation_files(backbone.name, graphs.embedder_onnx, graphs.classifier.linears, pixels)
    quantisation = None
    if settings.precision != "fp32":
        from export.building import convert

        with step(console, f"Converting to {settings.precision}"):
            graphs, quantisation = convert(graphs, settings, photos, console)
            parity[settings.precision] = check_graphs(graphs, configs, photos, settings.precision).as_dict()
    with step(console, "Comparing photos in every encoding"):
        photo_parity = check_photos(graphs, configs, photos, settings.precision)
    reference = reference_file(graphs.embedder_onnx, sample_pixels(photos, backbone.transform, len(photos)))
    transform = json.dumps(asdict(backbone.transform), indent=2) + "\n"
    profiles = render_profiles(configs, settings.sizing, settings.profiles)
    files = {
        **graphs.files(),
        **explanation,
        REFERENCE: reference,
        **_label_files(backbone),
        TRANSFORM: transform.encode(),
        **{name: text.encode() for name, text in profiles.items()},
        **warmup_files(),
    }
    facts = {
        "backbone": {"name": backbone.name, "licence": backbone.licence, "source": backbone.source},
        "precision": settings.precision,
        "shape": asdict(_shape(backbone)),
        "parity": parity,
        "photo_parity": photo_parity.as_dict(),
    }
    return files, facts if quantisation is None else {**facts, "quantisation": quantisation}


def _shape(backbone: Backbone) -> Shape:
    heads = {attribute: len(head.labels) for attribute, head in backbone.further_heads.items()}
    return Shape(backbone.transform.side_px, backbone.head.in_features, len(backbone.category_labels), heads)


def _describe_classes(shape: Shape) -> str:
    heads = "".join(f", {classes} of {attribute}" for attribute, classes in shape.heads.items())
    return f"{shape.classes} classes{heads}"


def _label_files(backbone: Backbone) -> dict[str, bytes]:
    """Triton looks for labels beside the config that names them."""
    return {
        model_file(model, label_file(attribute)): ("\n".join(lines) + "\n").encode()
        for attribute, lines in backbone.labels_by_attribute.items()
        for model in ("classifier", "recognizer")
    }


def _repository_files(repository: Path, configs: Configs) -> dict[str, bytes]:
    """The serving package, as it was verified just now, and each config.pbtxt that says other dims. None for the
    checkout's own repository: what is committed there stays as it is.
    """
    if _is_own(repository):
        return {}
    files = _version_files() | package_files()
    stated = read_configs(repository)
    for model in MODELS:
        name = model_file(model, CONFIG)
        existing = repository / name if (repository / name).is_file() else TEMPLATE / name
        text = text_format.MessageToString(configs[model])
        files[name] = existing.read_bytes() if stated[model] == configs[model] else text.encode()
    return files


def _version_files() -> dict[str, bytes]:
    """Path inside a repository -> content, of what the checkout holds in the models' version folders."""
    sources = [*TEMPLATE.glob(f"{MODELS_FOLDER}/*/1/*.py"), *TEMPLATE.glob(f"{MODELS_FOLDER}/*/1/*.txt")]
    return {source.relative_to(TEMPLATE).as_posix(): source.read_bytes() for source in sorted(sources)}


def _is_own(repository: Path) -> bool:
    return repository.resolve() == TEMPLATE


def _make_folder(repository: Path) -> None:
    try:
        repository.mkdir(exist_ok=True)
    except OSError as error:
        raise RepositoryError(f"Cannot make the folder {repository} ({error.strerror}).") from error
