"""What stands in more than one file of the model repository says the same everywhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

import ops.repository
import triptych._core.recognition
import triptych_models
from export.profiles.cpu import CpuSizing, size_for
from export.profiles.rendering import render_profiles
from export.repository import layout
from export.repository.configs import read_config, read_configs
from export.repository.labels import SEPARATOR, read_retail_categories
from export.repository.layout import CLASSIFIER_ONNX, EMBEDDER_ONNX, MODELS_FOLDER, TRANSFORM, model_file
from export.verification.onnx_parity import check_tensors
from triptych import Label
from triptych._core.failures.codes import MEANINGS
from triptych_models.errors import Code
from triptych_models.placed_files import PlacedFiles

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = ROOT / "model_repository"
MODELS = sorted(folder.parent.name for folder in REPOSITORY.glob("models/*/config.pbtxt"))
STEPS = ("preprocess", "embedder", "classifier")
CLASSIFIER_LABELS = REPOSITORY / "models/classifier/labels.txt"


def tensors(of: object) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {t.name: (DataType.Name(t.data_type), tuple(int(dim) for dim in t.dims)) for t in of}  # type: ignore[attr-defined]


def test_repository_holds_the_models_of_the_design() -> None:
    recognition = {"preprocess", "embedder", "classifier", "recognizer"}
    assert set(MODELS) == recognition | {"index", "catalogue", "searcher"} | {"activation_map", "explainer"}


@pytest.mark.parametrize("model", MODELS)
def test_config_is_named_as_its_folder(model: str) -> None:
    assert read_config(REPOSITORY, model).name == model


@pytest.mark.parametrize("model", [model for model in MODELS if model != "catalogue"])
def test_config_batches(model: str) -> None:
    assert read_config(REPOSITORY, model).max_batch_size > 1


@pytest.mark.parametrize("model", STEPS)
def test_step_batches_dynamically_and_is_warmed_up(model: str) -> None:
    config = read_config(REPOSITORY, model)
    assert config.HasField("dynamic_batching")
    assert config.model_warmup


@pytest.mark.parametrize("model", ["embedder", "classifier"])
def test_onnx_file_agrees_with_config(model: str) -> None:
    check_tensors((REPOSITORY / model_file(model, "1/model.onnx")).read_bytes(), read_config(REPOSITORY, model))


def test_catalogue_takes_one_call_a_request() -> None:
    assert read_config(REPOSITORY, "catalogue").max_batch_size == 0


@pytest.mark.parametrize("model", ["recognizer", "searcher", "explainer"])
def test_ensemble_maps_every_tensor_to_its_own_name(model: str) -> None:
    for step in read_config(REPOSITORY, model).ensemble_scheduling.step:
        for mapping in (step.input_map, step.output_map):
            assert all(key == value for key, value in mapping.items()), step.model_name


@pytest.mark.parametrize("model", ["recognizer", "searcher", "explainer"])
def test_ensemble_tensors_are_those_of_its_steps(model: str) -> None:
    ensemble = read_config(REPOSITORY, model)
    made: dict[str, object] = {}
    for step in ensemble.ensemble_scheduling.step:
        config = read_config(REPOSITORY, step.model_name)
        assert config.max_batch_size >= ensemble.max_batch_size
        known = tensors(ensemble.input) | made
        for name, tensor in tensors(config.input).items():
            if name in step.input_map:
                assert known[name] == tensor, f"{step.model_name}.{name}"
        optional = {tensor.name for tensor in config.input if tensor.optional}
        assert set(step.input_map) | optional >= set(tensors(config.input))
        made |= tensors(config.output)
    for name, tensor in tensors(ensemble.output).items():
        assert made[name] == tensor


@pytest.mark.parametrize("model", MODELS)
def test_config_leaves_tritons_response_cache_off(model: str) -> None:
    # It ignores which outputs were asked for and keeps refusals as empty answers: docs/decisions/0002.
    assert not read_config(REPOSITORY, model).response_cache.enable


def test_labels_are_one_line_a_class_and_unique() -> None:
    lines = CLASSIFIER_LABELS.read_text().splitlines()
    (category_scores,) = [o for o in read_config(REPOSITORY, "classifier").output if o.name == "category_scores"]
    assert category_scores.label_filename == "labels.txt"
    assert [len(lines)] == list(category_scores.dims)
    assert len(set(lines)) == len(lines)


def test_labels_carry_the_retail_category_of_every_class_a_shop_sells() -> None:
    lines = CLASSIFIER_LABELS.read_text().splitlines()
    categories = read_retail_categories()
    assert len(categories) == 401
    assert len(set(categories.values())) == 31
    for index, line in enumerate(lines):
        label = Label.from_line(line, score=1.0, index=index)
        assert label.category == categories.get(index)
        assert "," not in label.name
        assert SEPARATOR not in label.name


def test_label_names_the_running_shoe_as_a_shop_would() -> None:
    assert CLASSIFIER_LABELS.read_text().splitlines()[770] == "Shoes / running shoe"


def test_transform_is_of_the_size_the_configs_say() -> None:
    side_px = json.loads((REPOSITORY / TRANSFORM).read_text())["side_px"]
    assert tensors(read_config(REPOSITORY, "preprocess").output)["pixels"] == ("TYPE_UINT8", (side_px, side_px, 3))


def test_manifest_lists_every_placed_file_with_its_digest() -> None:
    manifest = json.loads((REPOSITORY / "manifest.json").read_text())
    assert {EMBEDDER_ONNX, CLASSIFIER_ONNX, "models/classifier/labels.txt"} <= set(manifest["files"])
    assert all(name.startswith(f"{MODELS_FOLDER}/") for name in manifest["files"])
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((REPOSITORY / name).read_bytes()).hexdigest() == digest, name


def test_serving_package_reads_the_files_that_are_placed() -> None:
    files, listed = PlacedFiles(Path(MODELS_FOLDER)), json.loads((REPOSITORY / "manifest.json").read_text())["files"]
    read = (files.transform, files.embedder, files.classifier, files.reference, files.warm_up_photo, files.labels())
    explained = (files.feature_network, files.heads, files.explanation)
    assert {file.as_posix() for file in (*read, *explained)} <= set(listed)


def test_client_asks_for_tensors_that_recognizer_has() -> None:
    recognizer = read_config(REPOSITORY, triptych._core.recognition.MODEL)
    wire = {"TYPE_STRING": "BYTES", "TYPE_FP32": "FP32"}
    served_inputs = {name: wire[dtype] for name, (dtype, _) in tensors(recognizer.input).items()}
    served_outputs = {name: wire[dtype] for name, (dtype, _) in tensors(recognizer.output).items()}
    assert served_inputs == triptych._core.recognition.INPUTS
    assert served_outputs.items() >= triptych._core.recognition.OUTPUTS.items()


@pytest.mark.parametrize("code", Code, ids=lambda code: code.text)
def test_client_knows_every_code_with_the_status_that_it_travels_with(code: Code) -> None:
    assert MEANINGS[code.text].status == code.status.value


def test_client_knows_no_code_that_no_server_says() -> None:
    assert set(MEANINGS) == {code.text for code in Code}


def parse(text: str) -> ModelConfig:
    return text_format.Parse(text, ModelConfig())


@pytest.mark.parametrize("cores", [1, 2, 4, 16, 64])
def test_cpu_profile_of_embedder_differs_from_config_in_counts_threads_and_queue_alone(cores: int) -> None:
    profile = parse(
        render_profiles(read_configs(REPOSITORY), size_for(cores), ["cpu"])["models/embedder/configs/cpu.pbtxt"]
    )
    config = read_config(REPOSITORY, "embedder")
    assert profile.parameters["intra_op_threads"].string_value == str(min(cores, 8))
    profile.instance_group[0].count = config.instance_group[0].count
    profile.parameters["intra_op_threads"].CopyFrom(config.parameters["intra_op_threads"])
    profile.dynamic_batching.default_queue_policy.ClearField("max_queue_size")
    assert profile == config


@pytest.mark.parametrize("cores", [1, 2, 64])
def test_cpu_profile_of_recognizer_has_the_tensors_limits_and_labels_of_the_ensemble(cores: int) -> None:
    profile = parse(
        render_profiles(read_configs(REPOSITORY), size_for(cores), ["cpu"])["models/recognizer/configs/cpu.pbtxt"]
    )
    ensemble, preprocess = read_config(REPOSITORY, "recognizer"), read_config(REPOSITORY, "preprocess")
    assert profile.name == "recognizer"
    assert tensors(profile.input) == tensors(ensemble.input)
    assert tensors(profile.output) == tensors(ensemble.output)
    assert profile.max_batch_size == ensemble.max_batch_size
    assert profile.instance_group[0].count == cores
    for limit in ("max_image_bytes", "max_image_pixels"):
        assert profile.parameters[limit] == preprocess.parameters[limit]
    labelled = {output.name: output.label_filename for output in profile.output if output.label_filename}
    assert labelled == {"category_scores": "labels.txt"}
    assert (REPOSITORY / "models/recognizer/labels.txt").read_bytes() == CLASSIFIER_LABELS.read_bytes()


def test_placed_profiles_are_those_rendered_for_the_placed_cores() -> None:
    inputs = json.loads((REPOSITORY / "manifest.json").read_text())["inputs"]
    sizing = CpuSizing(**inputs["sizing"])
    for path, text in render_profiles(read_configs(REPOSITORY), sizing, inputs["profiles"]).items():
        assert (REPOSITORY / path).read_text() == text


def test_layout_has_the_same_names_wherever_it_is_written_down() -> None:
    """`export` and `ops` share no module, and the package no module with either."""
    files = PlacedFiles(Path(layout.MODELS_FOLDER))
    placed = (files.embedder, files.classifier, files.transform)
    assert tuple(file.as_posix() for file in placed) == (layout.EMBEDDER_ONNX, layout.CLASSIFIER_ONNX, layout.TRANSFORM)
    assert (ops.repository.MODELS, ops.repository.PACKAGE) == (layout.MODELS_FOLDER, layout.PACKAGE)
    assert triptych_models.__name__ == layout.PACKAGE
