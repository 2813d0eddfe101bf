from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from export.errors import TrainingError
from export.training.tuning.frozen_layers import PartlyFrozenTrunk, freeze_layers
from export.training.tuning.loop import CHECKPOINT, TuningData, TuningSettings, recall_1, tune

CLASSES, PHOTOS, SIDE_PX = 3, 90, 32


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = x + nn.functional.relu(self.conv(x))
        return added


class Net(nn.Module):
    """Blocks in a list, an activation that is used twice, and what is no block at all."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.ReLU()
        self.blocks = nn.ModuleList([Block() for _ in range(3)])
        self.last = nn.Conv2d(8, 6, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.stem(images)))
        for block in self.blocks:
            x = block(x)
        features: torch.Tensor = self.act(self.last(x)).mean(dim=(2, 3))
        return features


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    torch.manual_seed(7)


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, SIDE_PX, SIDE_PX)


@pytest.mark.parametrize("unfreeze", [1, 2, 4, 5, None])
def test_partition_gives_the_features_of_the_whole_trunk(unfreeze: int | None) -> None:
    trunk, some = Net().eval(), images()
    part = freeze_layers(trunk, some, unfreeze)
    assert part.blocks == 5
    torch.testing.assert_close(part.run_tuned(part.run_frozen(some)), trunk(some))


def test_partition_tunes_the_last_blocks_alone() -> None:
    trunk = Net().eval()
    part = freeze_layers(trunk, images(), 2)
    part.freeze()
    learned = {name for name, weight in trunk.named_parameters() if weight.requires_grad}
    assert learned == {"last.weight", "last.bias", "blocks.2.conv.weight", "blocks.2.conv.bias"}


def test_partition_is_refused_when_there_are_fewer_blocks() -> None:
    with pytest.raises(TrainingError, match="has 5 blocks"):
        freeze_layers(Net().eval(), images(), 6)


class Skips(Net):
    """Its last layer also reads what the stem gave: it cannot be entered in between."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stem = self.stem(images)
        x = self.blocks[0](stem)
        features: torch.Tensor = self.last(x).mean(dim=(2, 3)) + stem.mean(dim=(2, 3))[:, :6]
        return features


def test_freeze_layers_refuses_when_the_tuned_layers_read_more_than_one_output() -> None:
    with pytest.raises(TrainingError, match="need more than one earlier output"):
        freeze_layers(Skips().eval(), images(), 1)


def make_photos(part: PartlyFrozenTrunk) -> TuningData:
    """Coloured noise: which channel is bright is the class; one attribute is known for half of the photos."""
    random = np.random.default_rng(0)
    targets = random.integers(CLASSES, size=PHOTOS)
    pictures = random.normal(size=(PHOTOS, 3, SIDE_PX, SIDE_PX)).astype(np.float32)
    pictures[np.arange(PHOTOS), targets] += 0.6
    with torch.inference_mode():
        entered = part.run_frozen(torch.from_numpy(pictures)).numpy().copy()

    def activations(rows: np.ndarray[Any, Any], epoch: int | None) -> torch.Tensor:
        return torch.from_numpy(entered[rows])

    half = np.where(np.arange(PHOTOS) % 2, targets > 0, -1).astype(np.int64)
    rows = np.arange(PHOTOS)
    return TuningData(activations, {"category": targets, "half": half}, rows[:60], rows[60:], "these photos")


def zero_heads() -> dict[str, tuple[Any, Any]]:
    return {
        "category": (np.zeros((CLASSES, 6), np.float32), np.zeros(CLASSES, np.float32)),
        "half": (np.zeros((2, 6), np.float32), np.zeros(2, np.float32)),
    }


TUNING = TuningSettings(
    unfreeze=2, epochs=6, batch=10, learning_rate=0.02, head_learning_rate=0.05, ema=0.8, patience=99
)


def make_part() -> PartlyFrozenTrunk:
    torch.manual_seed(7)
    trunk = Net().eval()
    return freeze_layers(trunk, images(), TUNING.unfreeze)


# Each with its own way to lose what is learned.
WAYS: dict[str, dict[str, Any]] = {
    "mixup": {"mixup": 0.2},
    "cutmix": {"mixup": 0.0, "cutmix": 1.0},
    "either": {"mixup": 0.2, "cutmix": 1.0},
    "unmixed": {"mixup": 0.0},
    "bfloat16": {"mixed_precision": True},
    "supcon": {"embedding_loss": "supcon"},
    "proxy-anchor": {"embedding_loss": "proxy-anchor"},
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_tuning_learns_and_leaves_frozen_weights_alone(tmp_path: Path, way: dict[str, Any]) -> None:
    part = make_part()
    frozen = {name: weight.clone() for name, weight in part.module.named_parameters() if name.startswith("stem")}
    tuned = part.module.last.weight.clone()  # type: ignore[union-attr, operator]
    history = tune(part, zero_heads(), make_photos(part), replace(TUNING, **way), tmp_path)
    first, best = history["epochs"][0], history["epochs"][history["best"]]
    assert best["accuracy"] > first["accuracy"] + 0.2
    for name, weight in part.module.named_parameters():
        if name in frozen:
            torch.testing.assert_close(weight, frozen[name], rtol=0, atol=0)
    assert not torch.equal(part.module.last.weight, tuned)  # type: ignore[arg-type, union-attr]


class Killed(Exception):
    """The process ends here."""


def test_tuning_resumes_after_a_kill_with_the_same_result(tmp_path: Path) -> None:
    whole = make_part()
    expected = tune(whole, zero_heads(), make_photos(whole), TUNING, tmp_path / "whole")

    def die(figures: dict[str, Any]) -> None:
        if figures["epoch"] == 3:
            raise Killed

    part = make_part()
    with pytest.raises(Killed):
        tune(part, zero_heads(), make_photos(part), TUNING, tmp_path / "killed", die)
    again, told = make_part(), []
    got = tune(again, zero_heads(), make_photos(again), TUNING, tmp_path / "killed", lambda f: told.append(f["epoch"]))
    assert told == [4, 5, 6]
    assert [e["accuracy"] for e in got["epochs"]] == [e["accuracy"] for e in expected["epochs"]]
    for one, other in zip(whole.module.parameters(), again.module.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_tuning_begins_anew_when_the_checkpoint_is_damaged_or_of_other_settings(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"PK cut short")
    part = make_part()
    short = TuningSettings(**{**TUNING.__dict__, "epochs": 1})
    assert len(tune(part, zero_heads(), make_photos(part), short, tmp_path)["epochs"]) == 2
    other = TuningSettings(**{**TUNING.__dict__, "epochs": 2})
    part = make_part()
    told: list[int] = []
    tune(part, zero_heads(), make_photos(part), other, tmp_path, lambda figures: told.append(figures["epoch"]))
    assert told == [0, 1, 2]


def test_tuning_ends_when_validation_is_not_better_for_some_epochs(tmp_path: Path) -> None:
    part = make_part()
    still = TuningSettings(unfreeze=2, epochs=50, batch=10, learning_rate=1e-9, head_learning_rate=1e-9, patience=2)
    history = tune(part, zero_heads(), make_photos(part), still, tmp_path)
    assert len(history["epochs"]) < 8


def test_tuning_is_refused_when_the_loss_is_no_number(tmp_path: Path) -> None:
    part = make_part()
    wild = TuningSettings(unfreeze=2, epochs=3, batch=10, learning_rate=1e30, head_learning_rate=1e30, clip=1e30)
    with pytest.raises(TrainingError, match="Lower --learning-rate"):
        tune(part, zero_heads(), make_photos(part), wild, tmp_path)


def test_photos_of_a_class_come_nearer_when_an_embedding_loss_pulls_them(tmp_path: Path) -> None:
    def spread(embedding_loss: str | None) -> float:
        """Mean cosine within a class less that between classes, on the validation photos."""
        part = make_part()
        photos = make_photos(part)
        tuning = replace(TUNING, embedding_loss=embedding_loss, embedding_weight=3.0, mixup=0.0)
        tune(part, zero_heads(), photos, tuning, tmp_path / str(embedding_loss))
        with torch.inference_mode():
            features = nn.functional.normalize(part.run_tuned(photos.activations(photos.validation, None)))
        cosines, targets = (features @ features.T).numpy(), photos.targets["category"][photos.validation]
        same = targets[:, None] == targets[None]
        return float(cosines[same].mean() - cosines[~same].mean())

    assert spread("supcon") > spread(None)


def test_recall_is_of_photos_that_share_their_class() -> None:
    features = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.6, 0.5], [-1.0, 0.0]], np.float32)
    # The nearest of 0 and 1 are each other, of 2 it is 3, of 3 it is 1; 4 is alone in its class.
    assert recall_1(features, np.array([0, 0, 1, 1, 2])) == pytest.approx(3 / 4)
    assert recall_1(features, np.arange(5)) == 0


def test_best_epoch_is_the_one_that_finds_best_when_an_embedding_loss_is_asked_for(tmp_path: Path) -> None:
    part = make_part()
    history = tune(part, zero_heads(), make_photos(part), replace(TUNING, embedding_loss="supcon"), tmp_path)
    recalls = [epoch["recall_1"] for epoch in history["epochs"]]
    assert recalls[history["best"]] == max(recalls) > recalls[0]


def test_cutmix_is_refused_when_inputs_have_no_image_axes(tmp_path: Path) -> None:
    part = make_part()
    photos = make_photos(part)
    channels_last = replace(photos, activations=lambda rows, epoch: photos.activations(rows, epoch).permute(0, 2, 3, 1))
    with pytest.raises(TrainingError, match=r"--cutmix needs inputs .* got the shape \[16, 16, 8\]"):
        tune(part, zero_heads(), channels_last, replace(TUNING, cutmix=1.0), tmp_path)
