"""The tensors as `config.pbtxt` states them, and the same for a backbone of another size.

Owns: reading configs, and which dims follow the backbone: the side of `pixels`, the length of `features` and
`embedding`, the number of `category_scores`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.errors import RepositoryError

# The checkout's own: its code and configs are what a new repository is made of.
TEMPLATE = Path(__file__).resolve().parents[1] / "model_repository"

RECOGNITION = ("preprocess", "embedder", "classifier", "recognizer")
# A repository that was placed before these came is given them.
CATALOGUE = ("index", "catalogue", "searcher")
MODELS = (*RECOGNITION, *CATALOGUE)

# Parameter of a model that must know how long an embedding is, and has no tensor that says so.
DIMENSION = "dimension"

Configs = dict[str, ModelConfig]


@dataclass(frozen=True)
class Shape:
    """What a backbone decides about the tensors."""

    side_px: int
    features: int
    classes: int

    def dims(self) -> dict[str, list[int]]:
        """Tensor name -> dims, without the batch."""
        return {
            "pixels": [self.side_px, self.side_px, 3],
            "features": [self.features],
            "embedding": [self.features],
            "category_scores": [self.classes],
        }


def read_config(repository: Path, model: str) -> ModelConfig:
    """The model's `config.pbtxt`, parsed by Triton's own schema.

    Raises:
        RepositoryError: there is no such file, or it has a key Triton does not know.
    """
    file = repository / model / "config.pbtxt"
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), ModelConfig())
    except OSError as error:
        raise RepositoryError(
            f"Cannot read {file} ({error.strerror}). Pass the model repository's folder with --repository."
        ) from error
    except text_format.ParseError as error:
        raise RepositoryError(f"{file} is not a Triton model configuration: {error}") from error


def read_configs(repository: Path) -> Configs:
    """The configs of a repository, or of the checkout's own where there is none yet.

    Raises:
        RepositoryError: it has some of the models only, or one that Triton would not read.
    """
    is_new = not any((repository / model).exists() for model in MODELS)
    if is_new and repository.is_dir() and any(repository.iterdir()):
        raise RepositoryError(
            f"{repository} holds files and no model of {', '.join(MODELS)}. "
            "Pass a model repository, or a new or empty folder, with --repository."
        )
    source = TEMPLATE if is_new else repository
    configs = {model: read_config(source, model) for model in RECOGNITION}
    for model in CATALOGUE:
        configs[model] = read_config(source if (source / model).exists() else TEMPLATE, model)
    return configs


def shaped(configs: Mapping[str, ModelConfig], shape: Shape) -> Configs:
    """Copies whose dims, also of warm-up data, are the backbone's."""
    dims = shape.dims()
    copies = {}
    for model, config in configs.items():
        copy = ModelConfig()
        copy.CopyFrom(config)
        for name, tensor in _tensors(copy):
            if name in dims and -1 not in tensor.dims:  # type: ignore[attr-defined]
                tensor.dims[:] = dims[name]  # type: ignore[attr-defined]
        if DIMENSION in copy.parameters:
            copy.parameters[DIMENSION].string_value = str(shape.features)
        copies[model] = copy
    return copies


def shape_of(configs: Mapping[str, ModelConfig]) -> Shape:
    """The backbone's size that the configs state."""
    dims = {name: list(tensor.dims) for config in configs.values() for name, tensor in _tensors(config)}  # type: ignore[attr-defined]
    return Shape(int(dims["pixels"][0]), int(dims["features"][0]), int(dims["category_scores"][0]))


def _tensors(config: ModelConfig) -> Iterator[tuple[str, object]]:
    for tensor in (*config.input, *config.output):
        yield tensor.name, tensor
    for sample in config.model_warmup:
        yield from sample.inputs.items()
