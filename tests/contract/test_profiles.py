"""Every hardware profile has the tensors of `config.pbtxt`, and names files that are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup, ModelQueuePolicy

from export.profiles.adjustments import QUEUE_SIZE_PER_CORE
from export.profiles.cpu import size_for
from export.profiles.gpu import TORCH_MODEL
from export.profiles.rendering import PROFILES, render_profiles
from export.repository.configs import MODELS, Configs, Shape, read_configs, reshape_configs
from export.repository.layout import MODELS_FOLDER, model_file
from triptych._core.protocol import PRIORITY_LEVELS
from triptych_models.recognition.network import WARM_UP

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
STEPS = ("preprocess", "embedder", "classifier")
# The default's, and one in which no size is the default's.
SHAPES = {"default": Shape(224, 1280, 1000), "other": Shape(299, 2048, 37)}


def rendered(profile: str, shape: Shape) -> Configs:
    texts = render_profiles(reshape_configs(read_configs(REPOSITORY), shape), size_for(2), [profile])
    assert set(texts) == {model_file(model, f"configs/{profile}.pbtxt") for model in MODELS}
    return {name.split("/")[1]: text_format.Parse(text, ModelConfig()) for name, text in texts.items()}


def tensors(of: object) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {t.name: (DataType.Name(t.data_type), tuple(int(dim) for dim in t.dims)) for t in of}  # type: ignore[attr-defined]


def observed(profile: str, model: str, shape: Shape) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What `classifier` is handed beside its inputs, to count it, where nothing of ours runs the network."""
    is_counting = model == "classifier" and profile in ("cpu-native", "gpu")
    return {"embedding": ("TYPE_FP32", (shape.features,))} if is_counting else {}


@pytest.mark.parametrize("profile", ["cpu-native", "gpu"])
def test_native_profile_hands_the_embedding_to_a_classifier_in_python(profile: str) -> None:
    configs = rendered(profile, SHAPES["default"])
    assert (configs["embedder"].backend, configs["classifier"].backend) == ("onnxruntime", "python")
    assert {tensor.name for tensor in configs["classifier"].input if tensor.optional} == {"timing", "embedding"}
    (step,) = [step for step in configs["recognizer"].ensemble_scheduling.step if step.model_name == "classifier"]
    assert set(step.input_map) == {"features", "timing", "embedding"}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("profile", PROFILES)
def test_profile_has_the_tensors_of_config_in_the_backbones_size(profile: str, shape: Shape) -> None:
    base = read_configs(REPOSITORY)
    for model, config in rendered(profile, shape).items():
        expected = reshape_configs(base, shape)[model]
        assert config.name == model
        inputs = tensors(expected.input) | observed(profile, model, shape)
        if model == "classifier" and profile == "cpu":
            del inputs["timing"]  # no ensemble ends in it
        assert tensors(config.input) == inputs
        assert tensors(config.output) == tensors(expected.output)
        assert config.max_batch_size >= min(base["recognizer"].max_batch_size, base[model].max_batch_size)
        for sample in config.model_warmup:
            for name, tensor in sample.inputs.items():
                assert tuple(tensor.dims) == tensors(config.input)[name][1]
            assert sample.batch_size <= config.max_batch_size
        assert "1280" not in text_format.MessageToString(config) or shape.features == 1280


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_names_files_that_are_there(profile: str) -> None:
    for model, config in rendered(profile, SHAPES["default"]).items():
        folder = REPOSITORY / MODELS_FOLDER / model
        for output in config.output:
            assert not output.label_filename or (folder / output.label_filename).is_file()
        for sample in config.model_warmup:
            for tensor in sample.inputs.values():
                assert not tensor.input_data_file or (folder / "warmup" / tensor.input_data_file).is_file()
        if config.backend == "python":
            assert (folder / "1" / (config.default_model_filename or "model.py")).is_file()
        if config.backend == "onnxruntime":
            assert (folder / "1/model.onnx").is_file()


@pytest.mark.parametrize(("profile", "on_gpu"), [("gpu", {"embedder"}), ("gpu-torch", {"embedder", "classifier"})])
def test_gpu_profile_runs_the_network_on_the_gpu_and_more_photos_at_once(profile: str, on_gpu: set[str]) -> None:
    configs = rendered(profile, SHAPES["default"])
    for model in ("embedder", "classifier"):
        kind = ModelInstanceGroup.KIND_GPU if model in on_gpu else ModelInstanceGroup.KIND_CPU
        assert [group.kind for group in configs[model].instance_group] == [kind]
        assert max(sample.batch_size for sample in configs[model].model_warmup) == configs[model].max_batch_size == 64
    assert configs["recognizer"].platform == "ensemble"


def test_tensorrt_builds_one_engine_for_every_batch_that_can_come() -> None:
    config = rendered("gpu", SHAPES["other"])["embedder"]
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    (name,), (dims,) = zip(*((tensor.name, list(tensor.dims)) for tensor in config.input), strict=True)
    for bound, batch in (("min", 1), ("max", config.max_batch_size)):
        stated = accelerator.parameters[f"trt_profile_{bound}_shapes"]
        assert stated == f"{name}:" + "x".join(map(str, [batch, *dims]))
    assert accelerator.parameters["trt_engine_cache_path"] == accelerator.parameters["trt_timing_cache_path"]
    assert accelerator.parameters["precision_mode"] == "FP16"


def test_torch_profile_serves_the_torch_code_in_every_step() -> None:
    configs = rendered("gpu-torch", SHAPES["default"])
    assert {configs[model].default_model_filename for model in STEPS} == {TORCH_MODEL}
    assert configs["preprocess"].parameters.keys() == read_configs(REPOSITORY)["preprocess"].parameters.keys()


def test_network_warms_up_with_the_batch_the_profile_prefers() -> None:
    preferred = rendered("cpu", SHAPES["default"])["recognizer"].dynamic_batching.preferred_batch_size
    assert {(photos, False) for photos in preferred} <= set(WARM_UP)


@pytest.mark.parametrize("profile", ["", *PROFILES])
def test_queues_take_the_interactive_first_and_refuse_when_they_are_full(profile: str) -> None:
    configs = rendered(profile, SHAPES["default"]) if profile else read_configs(REPOSITORY)
    queued = (*STEPS, "recognizer")
    batching = {name: config.dynamic_batching for name, config in configs.items() if name in queued}
    assert len(batching) == len(queued)
    gates = {"preprocess", "recognizer"}  # where a full queue may refuse: not within an ensemble
    if configs["recognizer"].platform == "ensemble":
        del batching["recognizer"]
    else:
        gates |= {"embedder", "classifier"}
    for name, queue in batching.items():
        levels = sorted(PRIORITY_LEVELS.values())
        assert (queue.priority_levels, queue.default_priority_level) == (levels[-1], levels[0]), name
        assert not queue.priority_queue_policy, "both have the default"
        policy = queue.default_queue_policy
        assert policy.timeout_action == ModelQueuePolicy.REJECT
        assert policy.allow_timeout_override
        assert policy.default_timeout_microseconds >= 60_000_000, "a caller's timeout counts only below it"
        # A request of the client's 32 photos in flight, and a second one's, are no overload.
        assert (policy.max_queue_size >= 64) if name in gates else (policy.max_queue_size == 0), name
    assert PRIORITY_LEVELS["interactive"] < PRIORITY_LEVELS["bulk"]


@pytest.mark.parametrize("profile", ["cpu", "cpu-native", "gpu"])
def test_queue_grows_with_the_cores(profile: str) -> None:
    model = "recognizer" if profile == "cpu" else "preprocess"
    sizes = []
    for cores in (2, 8):
        text = render_profiles(read_configs(REPOSITORY), size_for(cores), [profile])[
            model_file(model, f"configs/{profile}.pbtxt")
        ]
        sizes.append(text_format.Parse(text, ModelConfig()).dynamic_batching.default_queue_policy.max_queue_size)
    assert sizes == [2 * QUEUE_SIZE_PER_CORE, 8 * QUEUE_SIZE_PER_CORE]


def test_placed_repository_has_the_default_profiles() -> None:
    profiles = json.loads((REPOSITORY / "manifest.json").read_text())["inputs"]["profiles"]
    assert profiles == ["cpu", "cpu-native", "gpu"]
