"""The preprocessor of profile `gpu-torch` shows the network the same colours as the other one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tests.faults.photo_parts import picture
from tests.faults.still_file_parts import avif, heic
from tests.unit.triptych_models.recognition.photos.photos_of_shops import encoded, rgb_profile
from triptych_models.recognition.preprocessing import Limits, preprocess
from triptych_models.recognition.torch_preprocessor import TorchPreprocessor
from triptych_models.recognition.transform import Transform

TRANSFORM = Transform(side_px=224, crop_ratio=0.875, interpolation="bicubic")
LIMITS = Limits(max_image_bytes=20_000_000, max_image_pixels=50_000_000)


def preprocessor() -> TorchPreprocessor:
    """Without a server: what its constructor reads from files is set here."""
    made = object.__new__(TorchPreprocessor)
    made.device, made.transform, made.limits = torch.device("cpu"), TRANSFORM, LIMITS
    return made


def pixels_of(photos: list[bytes]) -> npt.NDArray[np.int_]:
    model = preprocessor()
    return model._stack(photos, model._decode_jpegs(photos)).numpy().astype(int)


@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")  # of torchvision's decoders
def test_colours_and_formats_are_those_of_the_cpu_preprocessor() -> None:
    image = picture(300, 280)
    profile = rgb_profile("Adobe RGB")
    jpeg = encoded(image, "JPEG", profile)
    photos = [jpeg, encoded(image, "JPEG", None), avif(image), heic(image)]
    expected = np.stack([preprocess(photo, TRANSFORM, LIMITS) for photo in photos]).astype(int)
    found = pixels_of(photos)
    # torchvision decodes and resamples with other roundings.
    assert np.abs(found - expected).mean() <= 0.5
    assert np.abs(expected[0] - expected[1]).mean() > 5, "else the conversion could be left out"
