"""A torch tensor is no photo; the error says how it becomes one."""

from __future__ import annotations

import re

import pytest

from triptych import InvalidInput
from triptych._images.photo import read_photo

torch = pytest.importorskip("torch", reason="torch is not installed: `make setup` installs it")


@pytest.mark.parametrize("part", ["a torch.Tensor float32[3,4,5]", ".permute(1, 2, 0).cpu().numpy()"])
def test_tensor_is_refused_with_its_kind_and_the_mend(part: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_photo(torch.zeros(3, 4, 5))
    assert part in str(caught.value)


def test_tensor_becomes_a_photo_when_converted_as_the_sentence_says() -> None:
    tensor = torch.linspace(0, 1, 60).reshape(3, 4, 5)
    with pytest.raises(InvalidInput) as caught:
        read_photo(tensor)
    (expression,) = re.findall(r"tensor\..*\(\)(?=\.$)", str(caught.value))
    pixels = eval(expression, {"tensor": tensor})
    assert pixels.shape == (4, 5, 3)
    assert pixels.max() == 255
    assert read_photo(pixels)
