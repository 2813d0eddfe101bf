from __future__ import annotations

import numpy as np
import pytest
import torch

from export.training.tuning.mixup import mix_batch

PHOTOS, SIDE_PX = 6, 14


def numbered() -> torch.Tensor:
    """float32[N,3,S,S]: photo n is n everywhere."""
    return torch.arange(PHOTOS, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(PHOTOS, 3, SIDE_PX, SIDE_PX).clone()


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
@pytest.mark.parametrize("seed", range(8))
def test_mean_of_a_mixed_photo_is_the_shares_of_both(mixup: float, cutmix: float, seed: int) -> None:
    inputs = numbered()
    mixed = mix_batch(inputs, mixup, cutmix, np.random.default_rng(seed))
    own, other = torch.arange(PHOTOS, dtype=torch.float32), mixed.partner.float()
    torch.testing.assert_close(mixed.inputs.mean(dim=(1, 2, 3)), mixed.share * own + (1 - mixed.share) * other)
    torch.testing.assert_close(inputs, numbered(), rtol=0, atol=0)


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_puts_one_box_of_the_other_into_each_photo(seed: int) -> None:
    mixed = mix_batch(numbered(), 0.0, 1.0, np.random.default_rng(seed))
    for number in range(PHOTOS):
        values = set(mixed.inputs[number].flatten().tolist())
        assert values <= {float(number), float(mixed.partner[number])}
        foreign = mixed.inputs[number, 0] != number
        rows, columns = foreign.any(dim=1), foreign.any(dim=0)
        assert int(foreign.sum()) == int(rows.sum()) * int(columns.sum()), "one box"


def test_nothing_is_mixed_when_neither_has_a_strength() -> None:
    mixed = mix_batch(numbered(), 0.0, 0.0, np.random.default_rng(0))
    assert mixed.share == 1
    torch.testing.assert_close(mixed.inputs, numbered(), rtol=0, atol=0)
