"""Reads `config.pbtxt` files and adapts them to the shape of a backbone and its heads.

The backbone determines the side of `pixels`, the length of `features` and `embedding`, and the number of
`category_scores`; each trained head adds one output `<attribute>_scores`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from export.errors import RepositoryError
from export.repository.layout import CONFIG, MODELS_FOLDER, model_file, refuse_earlier_layout

# The model repository of this checkout; new repositories start from its configs.
CHECKOUT_REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"

RECOGNITION = ("preprocess", "embedder", "classifier", "recognizer")
# Repositories placed by earlier versions lack these models; placing adds them.
CATALOGUE = ("index", "catalogue", "searcher")
EXPLANATION = ("activation_map", "explainer")
MODELS = (*RECOGNITION, *CATALOGUE, *EXPLANATION)

# Parameter of models that need the length of the embedding but have no tensor of that length.
DIMENSION = "dimension"

SCORES = "_scores"
CATEGORY = "category"
LABELS = "labels.txt"

Configs = dict[str, ModelConfig]


def label_file(attribute: str) -> str:
    """File with the class names of an attribute, beside the config that declares its scores."""
    return LABELS if attribute == CATEGORY else f"{attribute}_{LABELS}"


@dataclass(frozen=True)
class Shape:
    """The sizes of tensors that a backbone and its heads determine.

    Attributes:
        classes: number of `category_scores`.
        heads: attribute -> number of classes, for each further output `<attribute>_scores`, in order.
    """

    side_px: int
    features: int
    classes: int
    heads: dict[str, int] = field(default_factory=dict)

    def dims(self) -> dict[str, list[int]]:
        """Tensor name -> dims, without the batch dimension."""
        return {
            "pixels": [self.side_px, self.side_px, 3],
            "features": [self.features],
            "embedding": [self.features],
            "category_scores": [self.classes],
            **{f"{attribute}{SCORES}": [classes] for attribute, classes in self.heads.items()},
        }


def read_config(repository: Path, model: str) -> ModelConfig:
    """The `config.pbtxt` of a model, parsed with Triton's protobuf schema.

    Raises:
        RepositoryError: the file cannot be read, or has a key that Triton does not know.
    """
    return parse_config(repository / model_file(model, CONFIG))


def parse_config(file: Path) -> ModelConfig:
    """A `config.pbtxt` or a profile, parsed with Triton's protobuf schema.

    Raises:
        RepositoryError: the file cannot be read, or has a key that Triton does not know.
    """
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), ModelConfig())
    except OSError as error:
        raise RepositoryError(
            f"Cannot read {file} ({error.strerror}). Pass the folder of a model repository with --repository."
        ) from error
    except text_format.ParseError as error:
        raise RepositoryError(f"{file} is not a Triton model configuration: {error}") from error


def read_configs(repository: Path) -> Configs:
    """The configs of a repository; those of the checkout if the repository does not exist yet.

    Raises:
        RepositoryError: some models are missing, a config is not valid, or the layout is of an earlier version.
    """
    refuse_earlier_layout(repository)
    is_new = not any(_has(repository, model) for model in MODELS)
    if is_new and repository.is_dir() and any(repository.iterdir()):
        raise RepositoryError(
            f"{repository} contains files but none of the models {', '.join(MODELS)}. "
            "Pass a model repository, or a new or empty folder, with --repository."
        )
    source = CHECKOUT_REPOSITORY if is_new else repository
    configs = {model: read_config(source, model) for model in RECOGNITION}
    for model in (*CATALOGUE, *EXPLANATION):
        configs[model] = read_config(source if _has(source, model) else CHECKOUT_REPOSITORY, model)
    return configs


def _has(repository: Path, model: str) -> bool:
    return (repository / MODELS_FOLDER / model).exists()


def reshape_configs(configs: Mapping[str, ModelConfig], shape: Shape) -> Configs:
    """Copies of the configs with the dims of a backbone, also for warm-up data, and one output per head."""
    dims = shape.dims()
    copies = copy.deepcopy(dict(configs))
    for model, config in copies.items():
        if model in ("classifier", "recognizer"):
            _set_heads(config, shape.heads)
        for name, tensor in _tensors(config):
            if name in dims and -1 not in tensor.dims:
                tensor.dims[:] = dims[name]
        if DIMENSION in config.parameters:
            config.parameters[DIMENSION].string_value = str(shape.features)
    return copies


def _set_heads(config: ModelConfig, heads: Mapping[str, int]) -> None:
    """Sets the outputs of further attributes, in the model and, for an ensemble, in its classifier step."""
    kept = [output for output in config.output if not _is_head(output.name)]
    del config.output[:]
    config.output.extend(kept)
    for attribute, classes in heads.items():
        added = config.output.add(name=f"{attribute}{SCORES}", data_type=DataType.TYPE_FP32, dims=[classes])
        if not config.HasField("ensemble_scheduling"):  # an ensemble takes the labels of its steps
            added.label_filename = label_file(attribute)
    for step in config.ensemble_scheduling.step:
        if step.model_name != "classifier":
            continue
        for name in [name for name in step.output_map if _is_head(name)]:
            del step.output_map[name]
        for attribute in heads:
            step.output_map[f"{attribute}{SCORES}"] = f"{attribute}{SCORES}"


def _is_head(name: str) -> bool:
    return name.endswith(SCORES) and name != f"{CATEGORY}{SCORES}"


def read_shape(configs: Mapping[str, ModelConfig]) -> Shape:
    """The shape that the configs declare."""
    dims = {name: list(tensor.dims) for config in configs.values() for name, tensor in _tensors(config)}
    heads = {
        output.name.removesuffix(SCORES): int(output.dims[0])
        for output in configs["classifier"].output
        if _is_head(output.name)
    }
    return Shape(int(dims["pixels"][0]), int(dims["features"][0]), int(dims["category_scores"][0]), heads)


def _tensors(config: ModelConfig) -> Iterator[tuple[str, Any]]:
    for tensor in (*config.input, *config.output):
        yield tensor.name, tensor
    for sample in config.model_warmup:
        yield from sample.inputs.items()
