"""The tensors as `config.pbtxt` states them, and the same for a backbone of another size.

Owns: reading configs, and which dims follow the backbone: the side of `pixels`, the length of `features` and
`embedding`, the number of `category_scores`; and the outputs that follow trained heads, `<attribute>_scores` each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from export.errors import RepositoryError
from export.layout import CONFIG, MODELS_FOLDER, model_file, refuse_earlier_layout

# The checkout's own: its configs are what a new repository is made of.
TEMPLATE = Path(__file__).resolve().parents[1] / "model_repository"

RECOGNITION = ("preprocess", "embedder", "classifier", "recognizer")
# A repository that was placed before these came is given them.
CATALOGUE = ("index", "catalogue", "searcher")
EXPLANATION = ("activation_map", "explainer")
MODELS = (*RECOGNITION, *CATALOGUE, *EXPLANATION)

# Parameter of a model that must know how long an embedding is, and has no tensor that says so.
DIMENSION = "dimension"

SCORES = "_scores"
CATEGORY = "category"
LABELS = "labels.txt"

Configs = dict[str, ModelConfig]


def label_file(attribute: str) -> str:
    """Where the names of an attribute's classes are, beside the config that has its scores."""
    return LABELS if attribute == CATEGORY else f"{attribute}_{LABELS}"


@dataclass(frozen=True)
class Shape:
    """What a backbone and its heads decide about the tensors.

    Attributes:
        classes: of `category_scores`.
        heads: attribute -> classes, for each further output `<attribute>_scores`, in their order.
    """

    side_px: int
    features: int
    classes: int
    heads: dict[str, int] = field(default_factory=dict)

    def dims(self) -> dict[str, list[int]]:
        """Tensor name -> dims, without the batch."""
        return {
            "pixels": [self.side_px, self.side_px, 3],
            "features": [self.features],
            "embedding": [self.features],
            "category_scores": [self.classes],
            **{f"{attribute}{SCORES}": [classes] for attribute, classes in self.heads.items()},
        }


def read_config(repository: Path, model: str) -> ModelConfig:
    """The model's `config.pbtxt`, parsed by Triton's own schema.

    Raises:
        RepositoryError: there is no such file, or it has a key Triton does not know.
    """
    file = repository / model_file(model, CONFIG)
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
        RepositoryError: it has some of the models only, or one that Triton would not read; or its layout is an
            earlier one.
    """
    refuse_earlier_layout(repository)
    is_new = not any(_has(repository, model) for model in MODELS)
    if is_new and repository.is_dir() and any(repository.iterdir()):
        raise RepositoryError(
            f"{repository} holds files and no model of {', '.join(MODELS)}. "
            "Pass a model repository, or a new or empty folder, with --repository."
        )
    source = TEMPLATE if is_new else repository
    configs = {model: read_config(source, model) for model in RECOGNITION}
    for model in (*CATALOGUE, *EXPLANATION):
        configs[model] = read_config(source if _has(source, model) else TEMPLATE, model)
    return configs


def _has(repository: Path, model: str) -> bool:
    return (repository / MODELS_FOLDER / model).exists()


def shaped(configs: Mapping[str, ModelConfig], shape: Shape) -> Configs:
    """Copies whose dims, also of warm-up data, are the backbone's, with an output for each of its heads."""
    dims = shape.dims()
    copies = {}
    for model, config in configs.items():
        copy = ModelConfig()
        copy.CopyFrom(config)
        if model in ("classifier", "recognizer"):
            _set_heads(copy, shape.heads)
        for name, tensor in _tensors(copy):
            if name in dims and -1 not in tensor.dims:  # type: ignore[attr-defined]
                tensor.dims[:] = dims[name]  # type: ignore[attr-defined]
        if DIMENSION in copy.parameters:
            copy.parameters[DIMENSION].string_value = str(shape.features)
        copies[model] = copy
    return copies


def _set_heads(config: ModelConfig, heads: Mapping[str, int]) -> None:
    """The outputs of further attributes, of the model and, in an ensemble, of the step that makes them."""
    kept = [output for output in config.output if not _is_head(output.name)]
    del config.output[:]
    config.output.extend(kept)
    for attribute, classes in heads.items():
        added = config.output.add(name=f"{attribute}{SCORES}", data_type=DataType.TYPE_FP32, dims=[classes])
        if not config.HasField("ensemble_scheduling"):  # the labels of an ensemble are those of its steps
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


def shape_of(configs: Mapping[str, ModelConfig]) -> Shape:
    """The backbone's size that the configs state."""
    dims = {name: list(tensor.dims) for config in configs.values() for name, tensor in _tensors(config)}  # type: ignore[attr-defined]
    heads = {
        output.name.removesuffix(SCORES): int(output.dims[0])
        for output in configs["classifier"].output
        if _is_head(output.name)
    }
    return Shape(int(dims["pixels"][0]), int(dims["features"][0]), int(dims["category_scores"][0]), heads)


def _tensors(config: ModelConfig) -> Iterator[tuple[str, object]]:
    for tensor in (*config.input, *config.output):
        yield tensor.name, tensor
    for sample in config.model_warmup:
        yield from sample.inputs.items()
