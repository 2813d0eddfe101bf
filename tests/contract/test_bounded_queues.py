"""Every queue of every profile has a limit: Triton's, or the model's own, or a reason that is checked here."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelQueuePolicy

from export.profiles.cpu import size_for
from export.profiles.rendering import PROFILES, render_profiles
from export.repository.configs import read_configs
from triptych_models.catalogue.model import CatalogueModel
from triptych_models.explanation.model import ActivationMap
from triptych_models.search.model import SearchModel
from triptych_models.triton.lanes import MAX_WAITING
from triptych_models.triton.model import Model

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"

# Models that refuse in their own queues.
OWN_QUEUES: dict[str, type[Model]] = {
    "index": SearchModel,
    "activation_map": ActivationMap,
    "catalogue": CatalogueModel,
}
# Where the recogniser is an ensemble, a full queue of a later step would leave requests without an answer on a server
# before 26.02 (triton-inference-server/core#466), and the step may be a native backend, which runs no code of ours.
# The step before it has the limit; a request waits 60 s at most.
LATER_STEPS = {"embedder", "classifier"}
MAX_WAIT_US = 60_000_000


def configs_of(profile: str) -> dict[str, ModelConfig]:
    configs = dict(read_configs(REPOSITORY))
    if profile:
        for path, text in render_profiles(read_configs(REPOSITORY), size_for(2), [profile]).items():
            config = text_format.Parse(text, ModelConfig())
            configs[Path(path).parts[1]] = config
    return configs


def later_steps(configs: dict[str, ModelConfig]) -> set[str]:
    ensembles = [config for config in configs.values() if config.platform == "ensemble"]
    return {step.model_name for config in ensembles for step in list(config.ensemble_scheduling.step)[1:]}


def unbounded(configs: dict[str, ModelConfig]) -> list[str]:
    """Models whose queue has no limit and no reason."""
    found = []
    for name, config in configs.items():
        policy = config.dynamic_batching.default_queue_policy
        is_excused = (
            name in LATER_STEPS & later_steps(configs)
            and policy.timeout_action == ModelQueuePolicy.REJECT
            and 0 < policy.default_timeout_microseconds <= MAX_WAIT_US
        )
        has_own = name in OWN_QUEUES and not config.HasField("dynamic_batching") and config.backend == "python"
        if not (config.platform == "ensemble" or policy.max_queue_size or has_own or is_excused):
            found.append(name)
    return found


@pytest.mark.parametrize("profile", ["", *PROFILES])
def test_every_model_has_a_bounded_queue(profile: str) -> None:
    configs = configs_of(profile)
    assert set(configs) >= {
        "index",
        "catalogue",
        "embedder",
        "classifier",
        "preprocess",
        "recognizer",
        "activation_map",
    }
    assert unbounded(configs) == []


@pytest.mark.parametrize("profile", ["", *PROFILES])
def test_no_later_step_of_an_ensemble_has_a_limit_in_triton(profile: str) -> None:
    configs = configs_of(profile)
    limited = {name for name, one in configs.items() if one.dynamic_batching.default_queue_policy.max_queue_size}
    assert limited & later_steps(configs) == set()


@pytest.mark.parametrize("name", ["preprocess", "recognizer", "embedder", "classifier"])
def test_queue_without_a_limit_is_found(name: str) -> None:
    configs = configs_of("cpu")
    configs[name].dynamic_batching.default_queue_policy.ClearField("max_queue_size")
    assert unbounded(configs) == [name]


def test_queue_before_a_models_own_queue_is_found() -> None:
    configs = configs_of("cpu")
    configs["index"].dynamic_batching.priority_levels = 2
    assert unbounded(configs) == ["index"]


def test_own_queues_are_those_of_the_models_and_bounded() -> None:
    assert {model.role for model in OWN_QUEUES.values()} == set(OWN_QUEUES)
    assert all(model.lanes > 0 for model in OWN_QUEUES.values())
    assert 0 < MAX_WAITING <= 128
