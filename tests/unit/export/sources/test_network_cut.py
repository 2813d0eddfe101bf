"""The head is found by what a network does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from export.errors import BackboneError
from export.sources.network_cut import cut_at_head

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def trunk(features: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, features, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Wrapped(nn.Module):
    """A network whose forward is a function of its parts."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for name in ("body", "scorer", "answer"):
            images = self.get_submodule(name)(images)
        return images


@pytest.mark.parametrize("bias", [True, False])
def test_head_is_the_last_linear_layer_whatever_its_name(bias: bool) -> None:
    network = Wrapped(scorer=nn.Linear(6, 5, bias=bias), body=trunk(6), answer=nn.Identity()).eval()
    expected = network(IMAGES)
    cut = cut_at_head(network, IMAGES, "toy")
    assert cut.head_name == "scorer"
    assert cut.trunk(IMAGES).shape == (2, 6)
    torch.testing.assert_close(cut.head(cut.trunk(IMAGES)), expected)


def test_head_may_be_a_convolution_that_is_pooled_afterwards() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    expected = network(IMAGES)
    cut = cut_at_head(network, IMAGES, "toy")
    assert (cut.head.in_features, cut.head.out_features) == (6, 5)
    torch.testing.assert_close(cut.head(cut.trunk(IMAGES)), expected)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (nn.Sequential(trunk(6), nn.Linear(6, 5), nn.Softmax(1)), "non-linear"),
        (nn.Sequential(trunk(6), nn.Linear(6, 5), nn.Tanh()), "non-linear"),
        (nn.Sequential(nn.Conv2d(3, 5, 1), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "non-linear"),
        (trunk(6), "no linear layer"),
        (nn.Sequential(trunk(6), *[nn.Linear(6, 6)] * 2), "runs 2 times"),
        (nn.Conv2d(3, 5, 1), r"returns \(2, 5, 16, 16\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(8, 5)), "does not accept images of 16 x 16 px"),
    ],
)
def test_cut_refuses_with_the_reason_when_there_is_no_linear_head(network: nn.Module, reason: str) -> None:
    with pytest.raises(BackboneError, match=reason):
        cut_at_head(network.eval(), IMAGES, "toy")
