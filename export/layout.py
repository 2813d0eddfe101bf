"""What lies where in a model repository and in a release: `models/`, which Triton is pointed at, beside the serving
package. Paths are relative to the folder that holds both. Light: imports neither torch nor ONNX nor Triton's schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from export.errors import RepositoryError

MODELS_FOLDER = "models"
PACKAGE = "triptych_models"
CONFIG = "config.pbtxt"


def model_file(model: str, name: str) -> str:
    """A model's file inside the repository: `models/embedder/1/model.onnx`."""
    return f"{MODELS_FOLDER}/{model}/{name}"


EMBEDDER_ONNX = model_file("embedder", "1/model.onnx")
CLASSIFIER_ONNX = model_file("classifier", "1/model.onnx")
TRANSFORM = model_file("preprocess", "1/transform.json")


def find_configs(folder: Path) -> list[Path]:
    """The `config.pbtxt` of each model of a repository or a release.

    Raises:
        RepositoryError: its layout is an earlier one.
    """
    refuse_earlier_layout(folder)
    return sorted(folder.glob(f"{MODELS_FOLDER}/*/{CONFIG}"))


def refuse_earlier_layout(folder: Path) -> None:
    """Raises:
    RepositoryError: model folders lie in `folder` itself.
    """
    if any(folder.glob(f"{MODELS_FOLDER}/*/{CONFIG}")) or not any(folder.glob(f"*/{CONFIG}")):
        return
    above = folder.resolve().parent
    if (above / PACKAGE).is_dir():
        raise RepositoryError(f"{folder} holds the models alone. Name the folder that also holds {PACKAGE}: {above}.")
    raise RepositoryError(
        f"{folder} is of an earlier layout: its models lie in the folder itself, expected in {MODELS_FOLDER}/. Place "
        "into a new folder with `python -m export place --repository`; make a release again with "
        "`python -m export release`."
    )


def list_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Path inside `folder` -> the file itself, in order, without byte code and hidden files. Links are followed."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and "__pycache__" not in name.parts and not path.name.startswith("."):
            yield name.as_posix(), path.resolve()
