"""The client stops where the server would."""

from __future__ import annotations

from pathlib import Path

from export.repository.configs import read_config
from triptych._images.photo import MAX_IMAGE_BYTES

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"


def test_client_takes_photos_up_to_the_limit_of_the_server() -> None:
    parameters = read_config(REPOSITORY, "preprocess").parameters
    assert int(parameters["max_image_bytes"].string_value) == MAX_IMAGE_BYTES
