"""Paths inside a model repository and a release: `models/`, which Triton serves, beside the serving package.

All paths are relative to the folder that contains both. Must import neither torch nor ONNX nor Triton's schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from export.errors import RepositoryError

MODELS_FOLDER = "models"
PACKAGE = "triptych_models"
CONFIG = "config.pbtxt"


def model_file(model: str, name: str) -> str:
    """Path of a model's file inside the repository: `models/embedder/1/model.onnx`."""
    return f"{MODELS_FOLDER}/{model}/{name}"


EMBEDDER_ONNX = model_file("embedder", "1/model.onnx")
CLASSIFIER_ONNX = model_file("classifier", "1/model.onnx")
TRANSFORM = model_file("preprocess", "1/transform.json")


def find_configs(folder: Path) -> list[Path]:
    """The `config.pbtxt` of each model of a repository or a release.

    Raises:
        RepositoryError: the layout is of an earlier version.
    """
    refuse_earlier_layout(folder)
    return sorted(folder.glob(f"{MODELS_FOLDER}/*/{CONFIG}"))


def refuse_earlier_layout(folder: Path) -> None:
    """Raises:
    RepositoryError: `folder` itself contains the model folders, as in earlier versions.
    """
    if any(folder.glob(f"{MODELS_FOLDER}/*/{CONFIG}")) or not any(folder.glob(f"*/{CONFIG}")):
        return
    above = folder.resolve().parent
    if (above / PACKAGE).is_dir():
        raise RepositoryError(
            f"{folder} contains only the models. Name the folder that also contains {PACKAGE}: {above}."
        )
    raise RepositoryError(
        f"{folder} has an earlier layout: its models are in the folder itself, expected in "
        f"{MODELS_FOLDER}/. Place into a new folder with `triptych build --repository`; make a release again "
        "with `triptych release`."
    )


def list_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Path inside `folder` and resolved file, sorted, without bytecode and hidden files."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and "__pycache__" not in name.parts and not path.name.startswith("."):
            yield name.as_posix(), path.resolve()
